//! One run: a fresh instance, the handler called once, and what came of it put into words.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::ResourceTable;
use wasmtime::{Store, Trap, WasmBacktrace};
use wasmtime_wasi::{I32Exit, WasiCtx, WasiCtxView, WasiView};

use super::capability::Refusals;
use super::component::Loaded;
use super::determinism::Randomness;
use super::limits::{Effects, Memory, Output, Stop};
use super::recording::Transcript;
use super::text::cut;
use super::world::wharf::worker::types;
use super::{Call, Failure, Invocation};

/// What a store holds: the call, what came of it so far, and WASI once it is asked for.
pub struct Run {
    pub loaded: Arc<Loaded>,
    pub call: Call,
    pub effects: Effects,
    pub refusals: Refusals,
    pub output: Output,
    pub memory: Memory,
    pub randomness: Randomness,
    pub transcript: Transcript,
    wasi: Option<WasiCtx>,
    table: ResourceTable,
}

pub async fn invoke(loaded: &Arc<Loaded>, call: Call) -> Invocation {
    let began = Instant::now();
    let limits = &loaded.manifest.limits;
    let running = loaded.sandbox.ticker.running();
    let mut store = Store::new(&loaded.sandbox.engine, Run::new(loaded.clone(), call));
    let ended = match prepare(&mut store, loaded) {
        // A future that is dropped at the deadline takes the guest with it.
        Ok(()) => match tokio::time::timeout(limits.time, run(&mut store, loaded)).await {
            Ok(ended) => ended,
            Err(_) => Err(Failure::Deadline(limits.time)),
        },
        Err(error) => Err(Failure::Sandbox(format!("{error:#}"))),
    };
    drop(running);
    let fuel = limits.fuel.saturating_sub(store.get_fuel().unwrap_or_default());
    let run = store.into_data();
    let Refusals { denied, away, waiting } = run.refusals;
    let is_away = waiting.for_so_long().is_some_and(|waited| waited >= limits.time / 2);
    let unavailable = away.is_some() || is_away || matches!(ended, Err(Failure::Sandbox(_)));
    let (reads, reads_complete, secrets) = run.transcript.into_reads();
    Invocation {
        outcome: outcome(ended, denied.first(), away.as_ref()).map(|()| run.effects.into_list()),
        log: run.output.take(),
        denied,
        reads,
        reads_complete,
        secrets,
        unavailable,
        fuel,
        memory: run.memory.held(),
        duration: began.elapsed(),
    }
}

fn prepare(store: &mut Store<Run>, loaded: &Loaded) -> wasmtime::Result<()> {
    let limits = &loaded.manifest.limits;
    store.limiter(|run| &mut run.memory);
    store.set_fuel(limits.fuel)?;
    store.set_hostcall_fuel(limits.memory);
    // An endless loop gives way at every tick, so that the deadline's timer is seen.
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    Ok(())
}

async fn run(store: &mut Store<Run>, loaded: &Loaded) -> Result<(), Failure> {
    let worker = match loaded.pre.instantiate_async(&mut *store).await {
        Ok(worker) => worker,
        Err(error) => return Err(why(&error, store.data(), Phase::Start)),
    };
    let event = event(&store.data().call);
    match worker.call_handle(&mut *store, &event).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(types::Failure::Retry(reason))) => Err(Failure::Retry(shorten(&reason))),
        Ok(Err(types::Failure::Reject(reason))) => Err(Failure::Reject(shorten(&reason))),
        Err(error) => Err(why(&error, store.data(), Phase::Handle)),
    }
}

impl Run {
    fn new(loaded: Arc<Loaded>, call: Call) -> Self {
        let limits = &loaded.manifest.limits;
        Self {
            effects: Effects::new(limits),
            output: Output::new(limits.output),
            memory: Memory::new(limits.memory),
            randomness: Randomness::new(call.seed),
            refusals: Refusals::default(),
            transcript: Transcript::new(call.record),
            wasi: None,
            table: ResourceTable::new(),
            loaded,
            call,
        }
    }
}

/// Open handles of one run; far more than a handler needs, and no burden to the host.
const HANDLES: usize = 10_000;

impl WasiView for Run {
    /// Most handlers need no WASI, so its context is made when it is first used.
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| {
            self.table.set_max_capacity(HANDLES);
            super::capability::wasi(&self.output)
        });
        WasiCtxView { ctx, table: &mut self.table }
    }
}

fn event(call: &Call) -> types::Event {
    let event = &call.decoded.event;
    types::Event {
        id: event.id.clone(),
        source: event.source.clone(),
        ty: event.ty.to_string(),
        subject: event.subject.clone(),
        time: event.time.clone(),
        data: event.data.clone(),
        contract: event.contract.to_string(),
        attempt: call.attempt,
    }
}

/// A call that was denied or found the other side away must be seen: an invocation that has one
/// commits nothing, and says which.
fn outcome(
    ended: Result<(), Failure>,
    denied: Option<&String>,
    away: Option<&String>,
) -> Result<(), Failure> {
    let Some(why) = denied.or(away) else { return ended };
    let named = |reason: String| match reason.contains(why.as_str()) {
        true => reason,
        false => format!("{reason} ({why})"),
    };
    Err(match ended {
        Ok(()) if denied.is_some() => Failure::Denied(why.clone()),
        Ok(()) => Failure::Retry(named(UNREAD.to_owned())),
        Err(Failure::Retry(reason)) => Failure::Retry(named(reason)),
        Err(Failure::Reject(reason)) => Failure::Reject(named(reason)),
        Err(Failure::Trap(reason)) => Failure::Trap(named(reason)),
        Err(other) => other,
    })
}

/// What the handler decided without the read is not what it would have decided with it.
const UNREAD: &str = "a read was unavailable, and the handler returned ok without it";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Start,
    Handle,
}

/// wasmtime's error says where; the cause is below it, and a panic's text is on stderr.
fn why(error: &wasmtime::Error, run: &Run, phase: Phase) -> Failure {
    let limits = &run.loaded.manifest.limits;
    if let Some(Stop(failure)) = error.downcast_ref::<Stop>() {
        return failure.clone();
    }
    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::OutOfFuel) {
        return Failure::OutOfFuel(limits.fuel);
    }
    let panic = run.output.panic_text();
    if run.memory.exhausted && panic.as_deref().is_none_or(is_about_memory) {
        return Failure::OutOfMemory(limits.memory);
    }
    if phase == Phase::Start && is_hosts_fault(error) {
        return Failure::Sandbox(shorten(&format!("{error:#}")));
    }
    let mut text = panic.unwrap_or_else(|| match trap {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    });
    if let Some(function) = error.downcast_ref::<WasmBacktrace>().and_then(guest_function) {
        text = format!("{text}, in `{function}`");
    }
    Failure::Trap(shorten(&text))
}

/// No code of the guest had run yet: there was no room for its instance. A guest that fails in its
/// start code, or leaves there, does so every time.
fn is_hosts_fault(error: &wasmtime::Error) -> bool {
    !error.is::<Trap>() && !error.is::<I32Exit>() && !error.is::<WasmBacktrace>()
}

/// A guest may live without what it was refused, and panic later for another reason.
fn is_about_memory(panic: &str) -> bool {
    panic.contains("memory allocation of ")
}

/// The innermost function that is the guest's own. Only the backtrace's text is demangled.
fn guest_function(backtrace: &WasmBacktrace) -> Option<String> {
    let text = backtrace.to_string();
    let mut names = text.lines().filter_map(|line| line.split_once('!').map(|(_, name)| name));
    names.find(|name| !is_rusts_own(name)).map(|name| cut(&without_hashes(name), 200).to_owned())
}

/// What stands between a panic and the trap that it ends in.
fn is_rusts_own(name: &str) -> bool {
    let name = name.trim_start_matches(['<', '&', '_']);
    let of_crate = |library| {
        let rest = name.strip_prefix(library);
        rest.is_some_and(|rest: &str| rest.starts_with("::") || rest.starts_with('['))
    };
    ["std", "core", "alloc"].into_iter().any(of_crate)
        || ["rust", "abort", "panic", "imported_wasi", "wasi_"].iter().any(|s| name.starts_with(s))
}

/// `audit[0f3c…]::handle` and `audit::handle::h0f3c…` are `audit::handle`.
fn without_hashes(name: &str) -> String {
    let is_hash = |hash: &str| hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    let name = match name.rsplit_once("::h") {
        Some((path, hash)) if is_hash(hash) => path,
        _ => name,
    };
    let mut pieces = name.split('[');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.split_once(']') {
            Some((hash, rest)) if is_hash(hash) => {
                plain.push_str(rest);
            }
            _ => plain.extend(["[", piece]),
        }
    }
    plain
}

/// Reasons come from the guest, and are kept with the delivery.
const REASON: usize = 4 << 10;

fn shorten(reason: &str) -> String {
    match cut(reason, REASON) {
        whole if whole.len() == reason.len() => whole.to_owned(),
        beginning => format!("{beginning}…"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_call_is_named_once_and_never_commits() {
        let text = "event type `x` is not granted".to_owned();
        let denied = Some(&text);
        assert_eq!(outcome(Ok(()), None, None), Ok(()));
        assert_eq!(outcome(Ok(()), denied, None), Err(Failure::Denied(text.clone())));
        let said = outcome(Err(Failure::Retry("no luck".into())), denied, None).unwrap_err();
        assert_eq!(said.to_string(), "no luck (event type `x` is not granted)");
        let twice = Failure::Reject(format!("failed: {text}"));
        assert_eq!(outcome(Err(twice.clone()), denied, None), Err(twice));
    }

    #[test]
    fn ok_without_a_read_that_was_away_commits_nothing() {
        let away = "the store is away".to_owned();
        let said = outcome(Ok(()), None, Some(&away)).unwrap_err();
        assert!(said.to_string().contains("unavailable") && said.to_string().contains(&away));
        let own = Failure::Retry("the read: the store is away".into());
        assert_eq!(outcome(Err(own.clone()), None, Some(&away)), Err(own));
    }

    /// `(module (import "a" "b" (func)) (func call 0) (start 1))`
    const STARTS: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x07\x01\x01a\x01b\0\0\
        \x03\x02\x01\0\x08\x01\x01\x0a\x06\x01\x04\0\x10\0\x0b";

    #[test]
    fn a_guest_that_fails_in_its_start_code_is_to_blame() {
        let engine = wasmtime::Engine::default();
        let module = wasmtime::Module::new(&engine, STARTS).unwrap();
        let start = |failing: fn() -> wasmtime::Result<()>| {
            let mut linker = wasmtime::Linker::new(&engine);
            linker.func_wrap("a", "b", failing).unwrap();
            linker.instantiate(Store::new(&engine, ()), &module).unwrap_err()
        };
        assert!(!is_hosts_fault(&start(|| Err(I32Exit(3).into()))));
        assert!(!is_hosts_fault(&start(|| Err(wasmtime::Error::msg("no more handles")))));
        assert!(!is_hosts_fault(&start(|| Err(Trap::UnreachableCodeReached.into()))));
        assert!(is_hosts_fault(&wasmtime::Error::msg("no room in the pool")));
    }

    #[test]
    fn a_panic_tells_whether_it_is_about_memory() {
        assert!(is_about_memory(
            "panicked at alloc.rs:1:2: memory allocation of 65536 bytes failed"
        ));
        assert!(!is_about_memory("panicked at src/lib.rs:1:2: cannot digest event-1"));
    }

    #[test]
    fn the_guests_function_is_told_from_rusts_own() {
        for own in
            ["std[d123b7a1a2ed1472]::sys::abort", "<core::fmt::Arguments>::new", "__rust_alloc"]
        {
            assert!(is_rusts_own(own), "{own}");
        }
        assert!(!is_rusts_own("stdout_of_mine::run"));
        assert_eq!(
            without_hashes("audit[d123b7a1a2ed1472]::row::<[u8; 4]>"),
            "audit::row::<[u8; 4]>"
        );
        assert_eq!(without_hashes("a::b::h5faaeb41252cf4f3"), "a::b");
    }

    #[test]
    fn reasons_are_cut_at_whole_characters() {
        let reason = shorten(&"ä".repeat(1_000_000));
        assert!(reason.len() <= REASON + 3 && reason.ends_with("ä…"));
    }
}
