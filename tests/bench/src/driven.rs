//! A contestant that gets its events from this process, and how it is seen that it has lost nothing.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::contestant::{Contestant, Database, Kind, Ports, Surroundings, Tables};
use crate::load::{Shape, Turn, drive};

pub struct Driven {
    pub contestant: Contestant,
    next: Cell<u64>,
    acknowledged: u64,
    refused: u64,
}

impl Driven {
    pub async fn start(
        kind: Kind,
        database: Database,
        around: &Surroundings<'_>,
    ) -> anyhow::Result<Self> {
        let contestant = Contestant::start(kind, database, around, Ports::embedded()?).await?;
        Ok(Self { contestant, next: Cell::new(0), acknowledged: 0, refused: 0 })
    }

    /// Events that it answered with SUCCESS.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Sends events for a while, and waits until what they caused is done, which counts.
    pub async fn turn(&mut self, shape: Shape, length: Duration) -> anyhow::Result<Turn> {
        let one = &self.contestant;
        let who = || format!("{} on {}", one.kind.name(), one.database.name());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, one.ports.ingress));
        let turn = drive(address, shape, &self.next, length).await;
        let mut turn = turn.with_context(|| format!("{}; it said:\n{}", who(), one.said()))?;
        let drained = Instant::now();
        one.drain().await?;
        turn.took += drained.elapsed();
        self.acknowledged += turn.events;
        self.refused += turn.refused;
        Ok(turn)
    }

    /// Fails unless there is a row for each event that was acknowledged, and no other. Gives how many
    /// were refused.
    pub async fn verify(&self) -> anyhow::Result<u64> {
        let one = &self.contestant;
        let (name, database) = (one.kind.name(), one.database.name());
        let rows = one.tables.count("audit_log").await?;
        let most = self.acknowledged + self.refused;
        if !(self.acknowledged..=most).contains(&rows) {
            bail!(
                "{name} on {database} has {rows} rows for {} acknowledged and {} refused events; it \
                 said:\n{}",
                self.acknowledged,
                self.refused,
                one.said(),
            );
        }
        if one.kind == Kind::WharfPublish {
            let messages = Tables::Sqlite(one.folder.join("data/dapr.db"));
            let published = messages
                .count("messages JOIN topics ON topics.id = messages.topic AND topics.topic = 'echoes'")
                .await?;
            if published < rows {
                bail!("{name} on {database} has published {published} events for {rows} rows");
            }
        }
        Ok(self.refused)
    }
}
