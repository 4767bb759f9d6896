//! Exchanges one component while events flow. Everything that can go wrong goes wrong beside the
//! running version; then one pointer changes. Whoever holds the old version finishes on it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::load::Offer;
use super::{Catalog, Registry, prepare, unknown, wider};
use crate::clock::Clock;
use crate::contract::Contracts;
use crate::ledger::{Ledger, Why};
use crate::manifest::{Manifest, Want};
use crate::name::ComponentId;
use crate::problem::Problem;
use crate::runtime::{Component, Sandbox};
use crate::telemetry::metrics::{self, Metrics};

/// Swaps components of a registry.
pub struct Swapper {
    pub registry: Arc<Registry>,
    pub sandbox: Sandbox,
    pub ledger: Ledger,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    /// Where the end of an old version is awaited, until the stop.
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
}

/// What came of an offer that was not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swapped {
    /// It is what runs already.
    Same,
    New(Report),
}

/// What a swap changed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    pub component: ComponentId,
    /// The digest that ran before; none when the component is new.
    pub from: Option<String>,
    pub to: String,
    /// Grants that the version before did not have.
    pub wider: Vec<String>,
    /// Migrations that were new, as `set/name`.
    pub applied: Vec<String>,
    /// What it wants and gets only after the next start.
    pub later: Vec<String>,
}

impl Swapper {
    /// One at a time; who reads the catalog never waits. A refusal changes nothing, and is
    /// remembered until the next offer of that component that is not refused.
    pub async fn swap(&self, offer: Offer, why: Why) -> Result<Swapped, Vec<Problem>> {
        let _turn = self.registry.turn.lock().await;
        let component = offer.manifest.name.clone();
        let swapped = self.checked(offer, why).await;
        let result = match &swapped {
            Ok(Swapped::Same) => "same",
            Ok(Swapped::New(_)) => "swapped",
            Err(_) => "refused",
        };
        let labels = [("component", component.as_str()), ("result", result)];
        self.metrics.count(metrics::SWAPS, &labels, 1);
        match &swapped {
            Ok(_) => self.registry.accepted(&component),
            Err(problems) => {
                let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
                self.registry.refuse(&component, self.clock.now(), lines.join("\n"));
            }
        }
        swapped
    }

    async fn checked(&self, offer: Offer, why: Why) -> Result<Swapped, Vec<Problem>> {
        let catalog = self.registry.snapshot();
        let before = catalog.component(&offer.manifest.name).cloned();
        if before.as_ref().is_some_and(|before| before.digest() == offer.digest) {
            return Ok(Swapped::Same);
        }
        let database = self.ledger.database();
        let problems = prepare::ungranted(&offer.manifest, &offer.migrations, database);
        if !problems.is_empty() {
            return Err(problems);
        }
        let running: Vec<_> = catalog.components().map(|running| running.manifest()).collect();
        warn_of_names(&offer.manifest, &running, &catalog.contracts);
        let offer = Arc::new(offer);
        let later = later(&offer.manifest, &running);
        let component = prepare::compile(&offer, &self.sandbox, database).await?;
        let applied = prepare::adopt(&offer, &running, &self.ledger, self.clock.now(), why).await?;
        let grants = &offer.manifest.grants;
        let report = Report {
            component: component.id().clone(),
            from: before.as_ref().map(|before| before.digest().to_owned()),
            to: offer.digest.clone(),
            wider: before
                .as_ref()
                .map(|before| wider::wider(&before.manifest().grants, grants))
                .unwrap_or_default(),
            applied,
            later,
        };
        for what in &report.later {
            tracing::warn!(component = %report.component, "{what}");
        }
        self.exchange(&catalog, component, before);
        Ok(Swapped::New(report))
    }

    fn exchange(&self, catalog: &Catalog, after: Component, before: Option<Arc<Component>>) {
        let (name, to) = (after.id().clone(), after.digest().to_owned());
        self.registry.current.store(Arc::new(catalog.with(after)));
        // One that is new may have parked deliveries from before.
        self.ledger.parked_changed().notify_one();
        let Some(before) = before else {
            tracing::info!(component = %name, digest = to, "added");
            return;
        };
        let (from, ended, stop) = (before.digest().to_owned(), before.ended(), self.stop.clone());
        tracing::info!(component = %name, from, to, "swapped");
        self.tasks.spawn(async move {
            let ended = stop.run_until_cancelled(ended.cancelled());
            if ended.await.is_some() {
                tracing::info!(component = %name, digest = from, "the old version is done");
            }
        });
    }
}

/// Bindings that nobody wanted until now: Dapr was told so at the start, and does not ask again.
fn later(offered: &Manifest, running: &[&Manifest]) -> Vec<String> {
    let wanted = offered.on.iter().filter_map(|want| match want {
        Want::Binding(name) => Some(name),
        Want::Event(_) | Want::Job(_) => None,
    });
    let new = wanted.filter(|name| !running.iter().any(|running| running.wants_binding(name)));
    let names: BTreeSet<_> = new.collect();
    let line = |name| format!("ticks of `{name}` begin at the next start: Dapr asks once");
    names.into_iter().map(line).collect()
}

/// What nobody publishes is most likely spelt wrongly; it is no reason to refuse.
fn warn_of_names(offered: &Manifest, running: &[&Manifest], contracts: &Contracts) {
    let others = running.iter().copied().filter(|running| running.name != offered.name);
    let all: Vec<_> = others.chain([offered]).collect();
    let unknown = unknown::names(&all, contracts);
    for problem in unknown.iter().filter(|problem| problem.file == offered.file) {
        tracing::warn!("{problem}");
    }
}
