//! One loaded component: compiled, linked, its statements checked, and its permits counted.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::cache::{self, Compiled};
use super::engine::Shared;
use super::invoke::{self, Run};
use super::world::WorkerPre;
use super::{Call, Invocation, LoadError, capability};
use crate::grant::{self, Permitted};
use crate::manifest::{Database, Manifest, StatementKind};
use crate::name::ComponentId;

/// A component that can be invoked. Cheap to clone; an old version lives until its last
/// invocation is done.
#[derive(Clone)]
pub struct Component {
    pub(super) loaded: Arc<Loaded>,
}

pub(super) struct Loaded {
    pub(super) sandbox: Arc<Shared>,
    pub(super) manifest: Manifest,
    pub(super) pre: WorkerPre<Run>,
    pub(super) statements: HashMap<String, (StatementKind, Permitted)>,
    digest: String,
    cached: bool,
    permits: Arc<Semaphore>,
    /// Cancelled when the last holder lets go of this.
    ended: CancellationToken,
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

/// The right to one invocation, taken before anything is built for it.
pub struct Permit {
    _component: OwnedSemaphorePermit,
    _slot: OwnedSemaphorePermit,
}

impl Component {
    pub(super) fn load(
        sandbox: Arc<Shared>,
        manifest: Manifest,
        wasm: &[u8],
        digest: String,
        database: Database,
    ) -> Result<Self, LoadError> {
        check_memory(&sandbox, &manifest)?;
        let statements = statements(&manifest, database)?;
        let component = manifest.name.as_str();
        let compiled = cache::compile(&sandbox.engine, sandbox.config.cache.as_deref(), wasm);
        let Compiled { component: compiled, cached } = compiled.map_err(|error| {
            let reason = format!("{error:#}");
            LoadError::NotAComponent { component: component.into(), reason }
        })?;
        check_imports(&sandbox, &manifest, &compiled)?;
        let pre = sandbox.linker.instantiate_pre(&compiled).and_then(WorkerPre::new);
        let pre = pre.map_err(|error| {
            let reason = format!("{error:#}");
            LoadError::World { component: component.into(), reason }
        })?;
        let concurrency =
            usize::try_from(manifest.limits.concurrency).unwrap_or(Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(concurrency.min(Semaphore::MAX_PERMITS)));
        let ended = CancellationToken::new();
        let loaded = Loaded { sandbox, manifest, pre, statements, digest, cached, permits, ended };
        Ok(Self { loaded: Arc::new(loaded) })
    }

    pub fn id(&self) -> &ComponentId {
        &self.loaded.manifest.name
    }

    pub fn manifest(&self) -> &Manifest {
        &self.loaded.manifest
    }

    pub fn digest(&self) -> &str {
        &self.loaded.digest
    }

    /// Whether its compiled code was found in the cache.
    pub fn is_cached(&self) -> bool {
        self.loaded.cached
    }

    /// Cancelled when nobody holds this version any more: its last delivery is done.
    pub fn ended(&self) -> CancellationToken {
        self.loaded.ended.clone()
    }

    /// Invocations that run now.
    pub fn in_flight(&self) -> usize {
        let most = usize::try_from(self.loaded.manifest.limits.concurrency).unwrap_or(usize::MAX);
        most.min(Semaphore::MAX_PERMITS).saturating_sub(self.loaded.permits.available_permits())
    }

    /// Waits so long for the component and the sandbox to have room; `None` when they have not.
    pub async fn permit(&self, wait: Duration) -> Option<Permit> {
        let (component, slots) = (self.loaded.permits.clone(), self.loaded.sandbox.slots.clone());
        if let Ok(component) = component.clone().try_acquire_owned()
            && let Ok(slot) = slots.clone().try_acquire_owned()
        {
            return Some(Permit { _component: component, _slot: slot });
        }
        let both = async {
            let component = component.acquire_owned().await.ok()?;
            let slot = slots.acquire_owned().await.ok()?;
            Some(Permit { _component: component, _slot: slot })
        };
        tokio::time::timeout(wait, both).await.ok().flatten()
    }

    /// Runs the handler for one event in a fresh instance. Never fails itself: what goes wrong is
    /// the invocation's outcome. Dropping the future ends the guest.
    pub async fn invoke(&self, permit: Permit, call: Call) -> Invocation {
        let invocation = invoke::invoke(&self.loaded, call).await;
        drop(permit);
        invocation
    }
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Component");
        debug.field("id", self.id()).field("digest", &self.loaded.digest).finish_non_exhaustive()
    }
}

fn check_memory(sandbox: &Shared, manifest: &Manifest) -> Result<(), LoadError> {
    let (wanted, allowed) = (manifest.limits.memory, sandbox.config.max_memory);
    if wanted > allowed {
        return Err(LoadError::Memory { component: manifest.name.to_string(), wanted, allowed });
    }
    Ok(())
}

fn statements(
    manifest: &Manifest,
    database: Database,
) -> Result<HashMap<String, (StatementKind, Permitted)>, LoadError> {
    let mut statements = HashMap::new();
    let mut problems = Vec::new();
    for (name, statement) in &manifest.sql {
        match grant::statement(manifest, name, statement, database) {
            Ok(permitted) => {
                statements.insert(name.clone(), (statement.kind, permitted));
            }
            Err(more) => problems.extend(more),
        }
    }
    if problems.is_empty() { Ok(statements) } else { Err(LoadError::Statements(problems)) }
}

/// The linker would refuse some of these too, without saying what to do.
fn check_imports(
    sandbox: &Shared,
    manifest: &Manifest,
    compiled: &wasmtime::component::Component,
) -> Result<(), LoadError> {
    let why = |import: &str| match capability::refusal(import) {
        Some(why) => Some(why.into()),
        None => capability::ungranted(manifest, import).map(Cow::Owned),
    };
    let ty = compiled.component_type();
    match ty.imports(&sandbox.engine).find_map(|(name, _)| Some((name, why(name)?))) {
        Some((import, why)) => Err(LoadError::Import {
            component: manifest.name.to_string(),
            import: import.to_owned(),
            why,
        }),
        None => Ok(()),
    }
}
