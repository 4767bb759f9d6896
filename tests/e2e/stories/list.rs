//! Which stories there are, in order of value.

use std::sync::Arc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use wharf_e2e::Yard;
use wharf_e2e::parts::Part;

use crate::parts;

/// A test with a folder of its own.
pub struct Story {
    pub name: &'static str,
    /// What it shows, for the table.
    pub tells: &'static str,
    pub needs: &'static [Part],
    /// After this it has failed.
    pub patience: Duration,
    pub play: fn(Arc<Yard>) -> LocalBoxFuture<'static, anyhow::Result<()>>,
}

const MINUTES_3: Duration = Duration::from_secs(180);

pub const STORIES: &[Story] = &[Story {
    name: "parts",
    tells: "daprd, scheduler, Kafka and Redis alone: events, jobs and state pass, also after a kill",
    needs: &[Part::Dapr, Part::Kafka, Part::Redis],
    patience: MINUTES_3,
    play: |yard| Box::pin(parts::play(yard)),
}];
