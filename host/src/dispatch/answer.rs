//! What a callback gets: daprd sends again what is not durable.

/// The answer to one event of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Every delivery is done, parked or dead: the ledger has it.
    Success,
    /// The ledger could not be written, or the host is stopping.
    Retry,
}

impl Answer {
    /// Dapr's word for it; any other spelling would count as RETRY.
    pub fn status(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Retry => "RETRY",
        }
    }

    /// Success only if all are.
    pub fn all(answers: impl IntoIterator<Item = Self>) -> Self {
        let retry = answers.into_iter().any(|answer| answer == Self::Retry);
        if retry { Self::Retry } else { Self::Success }
    }
}
