//! Which deliveries are meant, in the words of the command line; the host understands the same.

use clap::Args;

use crate::delivery::DeliveryStatus;
use crate::name::ComponentId;

#[derive(Args)]
#[group(multiple = true)]
pub struct Filter {
    /// Only those of this component; `-` has what could not be read
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    component: Option<ComponentId>,
    /// Only those that are done, parked, dead or discarded
    #[arg(long, value_name = "STATUS")]
    status: Option<DeliveryStatus>,
    /// Only those that have an effect which Dapr refused for good
    #[arg(long)]
    refused: bool,
    /// Only those whose event came from this topic
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Only those of events of this type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only those whose error has this text in it
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// Only those whose event came in then or later: a time such as 2026-01-31T08:00:00Z, or how long
    /// ago, such as 90s, 30m or 2h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those whose event came in then or before, in the same words
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// Fields of a query.
pub type Asked = Vec<(&'static str, String)>;

impl Filter {
    pub fn asked(self) -> Asked {
        let fields = [
            ("component", self.component.map(|component| component.to_string())),
            ("status", self.status.map(|status| status.as_str().to_owned())),
            ("refused", self.refused.then(|| "true".to_owned())),
            ("topic", self.topic),
            ("type", self.event_type),
            ("error", self.error),
            ("since", self.since),
            ("until", self.until),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// A path with its query.
pub fn path(path: &str, asked: &[(&str, String)]) -> String {
    let mut query = form_urlencoded::Serializer::new(format!("{path}?"));
    query.extend_pairs(asked).finish()
}
