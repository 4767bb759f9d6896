//! wasmtime, set up so that a fresh instance per event costs microseconds: a pool of instances
//! whose memory and tables stay resident, fuel as the bill, epochs against endless loops.

mod ticker;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::Semaphore;
use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use self::ticker::Ticker;
use super::component::Component;
use super::invoke::Run;
use super::world::WorkerPre;
use super::{LoadError, capability, determinism};
use crate::manifest::{Database, Manifest};

/// How much the sandbox holds ready.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Invocations at once, over all components.
    pub invocations: u32,
    /// The most memory that any component may be allowed, in bytes.
    pub max_memory: usize,
    /// Where compiled code is kept; `None` compiles at every load. The folder is the host's alone.
    pub cache: Option<PathBuf>,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self { invocations: 256, max_memory: 256 << 20, cache: None }
    }
}

/// Loads components and holds what they share. Cheap to clone.
#[derive(Clone)]
pub struct Sandbox {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) linker: Linker<Run>,
    pub(super) config: SandboxConfig,
    pub(super) ticker: Ticker,
    /// One for each slot of the pool, so that an instance always finds one.
    pub(super) slots: Arc<Semaphore>,
}

/// What a component's bytes say about it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Inspection {
    /// By name.
    pub imports: Vec<Import>,
    /// By name.
    pub exports: Vec<String>,
    /// Why it does not fit the world, all imports being provided.
    pub fault: Option<String>,
}

/// What a component wants to be given.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Import {
    pub name: String,
    /// Why this host does not provide it.
    pub missing: Option<&'static str>,
    /// The section of `component.toml` that must grant something for it, where one must.
    pub grant: Option<&'static str>,
}

impl Import {
    /// Why a component with this manifest cannot have it: nothing is granted for it.
    pub fn ungranted(&self, manifest: &Manifest) -> Option<String> {
        capability::ungranted(manifest, &self.name)
    }
}

impl Sandbox {
    pub fn new(config: SandboxConfig) -> anyhow::Result<Self> {
        let engine = engine(&config)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(told)?;
        // Clocks and randomness of our own take the place of WASI's.
        linker.allow_shadowing(true);
        determinism::link(&mut linker).map_err(told)?;
        linker.allow_shadowing(false);
        capability::link(&mut linker).map_err(told)?;
        let ticker = Ticker::start(engine.clone()).context("cannot start the sandbox's ticker")?;
        let permits = usize::try_from(config.invocations).unwrap_or(Semaphore::MAX_PERMITS);
        let slots = Arc::new(Semaphore::new(permits));
        Ok(Self { shared: Arc::new(Shared { engine, linker, config, ticker, slots }) })
    }

    /// Compiles a component, or finds it compiled, and checks that it can run: its imports, its
    /// export, its statements for the database.
    /// Takes as long as compiling takes; call it where blocking is allowed.
    pub fn load(
        &self,
        manifest: Manifest,
        wasm: &[u8],
        digest: String,
        database: Database,
    ) -> Result<Component, LoadError> {
        Component::load(self.shared.clone(), manifest, wasm, digest, database)
    }

    /// What a component imports and exports, whether or not it could be loaded.
    pub fn inspect(&self, wasm: &[u8]) -> anyhow::Result<Inspection> {
        let engine = &self.shared.engine;
        let component = wasmtime::component::Component::new(engine, wasm)
            .map_err(told)
            .context("not a WebAssembly component")?;
        let ty = component.component_type();
        let imports: BTreeSet<_> = ty.imports(engine).map(|(name, _)| name.to_owned()).collect();
        let exports: BTreeSet<_> = ty.exports(engine).map(|(name, _)| name.to_owned()).collect();
        let import = |name: String| Import {
            missing: capability::refusal(&name),
            grant: capability::grant(&name),
            name,
        };
        let imports: Vec<_> = imports.into_iter().map(import).collect();
        let fault = if imports.iter().any(|import| import.missing.is_some()) {
            None
        } else {
            let linked = self.shared.linker.instantiate_pre(&component).and_then(WorkerPre::new);
            linked.err().map(|error| format!("{error:#}"))
        };
        Ok(Inspection { imports, exports: exports.into_iter().collect(), fault })
    }
}

/// wasmtime's errors are its own type; only their text goes further.
#[expect(clippy::needless_pass_by_value, reason = "stands in map_err")]
fn told(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

/// Where address space is limited the pool cannot be reserved. Instances are then made on demand,
/// several times slower; that is worth a warning, not a refusal to start.
fn engine(config: &SandboxConfig) -> anyhow::Result<Engine> {
    let mut pooled = settings();
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(config)));
    match Engine::new(&pooled) {
        Ok(engine) => Ok(engine),
        Err(error) => {
            tracing::warn!(
                error = format!("{error:#}"),
                "no pool of instances; the sandbox will be slow. \
                 Raise the limit on address space (ulimit -v) or lower `invocations`"
            );
            Engine::new(&settings()).map_err(told).context("cannot set up wasmtime")
        }
    }
}

fn settings() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        // WASI 0.2 does not need it, and it costs a third of an invocation.
        .concurrency_support(false)
        // Said explicitly, since RUST_BACKTRACE would otherwise make every event slower.
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable)
        // The same event and reads give the same effects, on any machine.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true);
    config
}

/// A component of one Rust crate is three core instances, one memory and two tables.
fn pool(config: &SandboxConfig) -> PoolingAllocationConfig {
    let slots = config.invocations;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(8))
        .max_core_instances_per_component(8)
        .total_memories(slots)
        .max_memories_per_component(1)
        .total_tables(slots.saturating_mul(4))
        .max_tables_per_component(4)
        .total_stacks(slots)
        .max_memory_size(config.max_memory)
        // Pages that an instance touched stay mapped for the next one; giving them back to the
        // kernel stops every core.
        .linear_memory_keep_resident(2 << 20)
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    pool
}
