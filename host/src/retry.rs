//! When a failed delivery is tried again. Dapr's retry policies cannot express these delays, so
//! the host keeps them itself.

use std::time::Duration;

/// The delays between attempts, as the contract gives them. Attempts = 1 + number of delays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySchedule {
    pub delays: Vec<Duration>,
}

impl RetrySchedule {
    /// How long to wait after so many failed attempts (1 or more); `None` when it is dead now.
    pub fn delay_after(&self, attempts: u32) -> Option<Duration> {
        let index = usize::try_from(attempts.max(1) - 1).unwrap_or(usize::MAX);
        self.delays.get(index).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_delays_make_four_attempts() {
        let schedule = RetrySchedule { delays: [1, 2, 4].map(Duration::from_secs).to_vec() };
        let delays: Vec<_> =
            (1..=5).map(|n| schedule.delay_after(n).map(|d| d.as_secs())).collect();
        assert_eq!(delays, [Some(1), Some(2), Some(4), None, None]);
    }
}
