//! The Dapr of a host: the sidecar beside it, or the embedded one inside.

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use tokio_util::sync::CancellationToken;

use crate::backend::Backend;
use crate::backend::dapr::Sidecar;
use crate::backend::embedded::{Embedded, Keep, Options};
use crate::clock::Clock;
use crate::config::{self, BackendKind, Config};
use crate::contract::Contracts;

/// Which Dapr a host has.
#[derive(Clone)]
pub enum Dapr {
    Sidecar(Arc<Sidecar>),
    Embedded(Embedded),
}

impl Dapr {
    /// As the configuration says. A sidecar is not waited for: it waits for the host.
    pub async fn open(
        config: &Config,
        contracts: &Contracts,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        match config.backend {
            BackendKind::Dapr => Ok(Self::Sidecar(Arc::new(Sidecar::new(&config.sidecar())?))),
            BackendKind::Embedded => embedded(config, contracts, clock).await.map(Self::Embedded),
        }
    }

    /// What effects are performed through.
    pub fn backend(&self) -> Arc<dyn Backend> {
        match self {
            Self::Sidecar(sidecar) => Arc::clone(sidecar) as _,
            Self::Embedded(embedded) => Arc::new(embedded.clone()),
        }
    }

    pub fn embedded(&self) -> Option<&Embedded> {
        match self {
            Self::Sidecar(_) => None,
            Self::Embedded(embedded) => Some(embedded),
        }
    }

    /// Lets the embedded Dapr deliver into the host. A sidecar does so by itself.
    pub fn start(&self, ingress: Router, keep: &Keep, stop: CancellationToken) {
        match self {
            Self::Sidecar(_) => {}
            Self::Embedded(embedded) => embedded.start(ingress, keep, stop),
        }
    }

    /// Closes what the embedded Dapr keeps.
    pub async fn close(&self) {
        match self {
            Self::Sidecar(_) => {}
            Self::Embedded(embedded) => embedded.close().await,
        }
    }
}

/// An embedded Dapr with everything that the contracts name.
pub async fn embedded(
    config: &Config,
    contracts: &Contracts,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Embedded> {
    let options = Options {
        path: config.dapr_file(),
        data: config.data.clone(),
        app_id: config.service.clone(),
        pubsubs: contracts.iter().map(|contract| contract.pubsub.clone()).collect(),
        state_stores: contracts.iter().flat_map(|one| one.state_stores.clone()).collect(),
        secret_stores: contracts.iter().flat_map(|one| one.secret_stores.clone()).collect(),
        bindings: contracts.iter().flat_map(|one| one.bindings.clone()).collect(),
        secret_variable: config::secret,
        notify_url: config.dapr.notify_url.clone(),
        app_token: config.ingress.token.clone(),
        api_token: config.dapr.token.clone(),
        clock: Arc::clone(clock),
        retention: Options::RETENTION,
    };
    let opened = Embedded::open(options).await;
    opened.with_context(|| {
        format!(
            "the embedded Dapr's {} cannot be opened; if it is broken, move it away: it \
             holds what was published and stored here, and the ledger is another file",
            config.dapr_file().display()
        )
    })
}
