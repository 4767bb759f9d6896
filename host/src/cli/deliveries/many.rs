//! The same for many deliveries: a batch for each request, until the host says that nothing is left.

use anyhow::Context as _;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::filter::{self, Asked};
use super::follow::Outcomes;
use crate::cli::client::AdminClient;
use crate::cli::{Finding, print};

/// What is done to deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Retry,
    Discard,
}

impl Deed {
    /// Its word in the admin API.
    pub fn path(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Discard => "discard",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Retry => "tried again",
            Self::Discard => "given up",
        }
    }
}

/// What came of it, for people and programs.
#[derive(Debug, Default, Serialize)]
pub struct Total {
    matched: u64,
    changed: u64,
    /// Those that allow it no more, each with the reason.
    passed: Vec<Value>,
    /// What those that were changed came to, where that was awaited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub became: Option<Outcomes>,
}

/// The host's answer to one request.
#[derive(Deserialize)]
struct Batch {
    matched: u64,
    changed: u64,
    deliveries: Vec<String>,
    passed: Vec<Value>,
    after: Option<i64>,
    at: String,
}

/// Goes through all that match now; what comes in meanwhile is left alone, so that it ends. Gives
/// those that were changed, too.
pub async fn run(
    client: &AdminClient,
    mut asked: Asked,
    deed: Deed,
) -> anyhow::Result<(Total, Vec<String>)> {
    let (mut total, mut changed) = (Total::default(), Vec::new());
    let bar = ProgressBar::new_spinner();
    let path = format!("/deliveries/{}", deed.path());
    let bounded = asked.iter().any(|(name, _)| *name == "until");
    loop {
        let answer = client.post(&filter::path(&path, &asked)).await;
        let answer = answer.with_context(|| match total.changed {
            0 => "nothing was changed".to_owned(),
            changed => format!("{changed} were {} before; run it again to go on", deed.done()),
        })?;
        let batch: Batch = serde_json::from_value(answer).context(
            "the host's answer is not understood; use the `wharf` of the host's version",
        )?;
        if !bounded && total.matched == 0 {
            asked.push(("until", batch.at));
        }
        total.matched += batch.matched;
        total.changed += batch.changed;
        changed.extend(batch.deliveries);
        total.passed.extend(batch.passed);
        let Some(after) = batch.after else { break };
        asked.retain(|(name, _)| *name != "after");
        asked.push(("after", after.to_string()));
        match bar.is_hidden() {
            true => print::note(format_args!("{} so far", total.matched)),
            false => bar.set_message(format!("{} so far", total.matched)),
        }
        bar.tick();
    }
    bar.finish_and_clear();
    Ok((total, changed))
}

impl Total {
    pub fn told(&self, deed: Deed, dry_run: bool) -> String {
        for passed in &self.passed {
            let error = passed.get("error").and_then(Value::as_str).unwrap_or_default();
            print::note(format_args!("error: {error}"));
        }
        let deliveries = |count| match count {
            1 => "1 delivery".to_owned(),
            count => format!("{count} deliveries"),
        };
        match (self.matched, dry_run) {
            (0, _) => "no delivery matches".to_owned(),
            (matched, true) => format!("{} would be {}", deliveries(matched), deed.done()),
            (_, false) => {
                let became = self.became.as_ref().map(|became| format!(": {}", became.told()));
                format!(
                    "{} {}{}",
                    deliveries(self.changed),
                    deed.done(),
                    became.unwrap_or_default()
                )
            }
        }
    }

    pub fn finding(&self) -> Finding {
        let dead = self.became.as_ref().map_or(0, |became| became.dead);
        match self.passed.is_empty() && dead == 0 {
            true => Finding::Nothing,
            false => Finding::Something,
        }
    }
}
