//! The sandbox against guests that misbehave: each ends its own invocation and nothing else.
//! A guest without a test of its name does not compile.

#[path = "sandbox/granted.rs"]
mod granted;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use wharf::effect::{Effect, Secret, SqlRow, SqlValue};
use wharf::event::{Arrival, Decoded, Event, WireEvent};
use wharf::manifest::{Database, Manifest};
use wharf::name::{ContractName, EventKey, EventType, StoreName};
use wharf::runtime::{
    Call, Component, Failure, Invocation, LoadError, ReadError, Reads, Sandbox, SandboxConfig,
    Waiting,
};
use wharf_tests::built;

use granted::{capabilities, errands};

macro_rules! has_a_test {
    ($guest:ident) => {
        const _: fn() = $guest;
    };
}
wharf_tests::foreach_guest!(has_a_test);

#[test]
fn trap() {
    let trap = load(built::TRAP, "");
    let fine = invoke(&trap, call("{}"));
    assert_eq!(fine.outcome, Ok(vec![]));
    assert_eq!(fine.log.len(), 1, "{:?}", fine.log);

    let panic = invoke(&trap, call("\"panic\""));
    let error = panic.outcome.unwrap_err().to_string();
    let place = "the handler trapped: panicked at tests/guests/trap/src/lib.rs:";
    assert!(error.starts_with(place), "{error}");
    assert!(error.contains("cannot digest event-1"), "{error}");
    assert!(error.contains("in `guest_trap::digest`"), "{error}");
    assert_eq!(panic.log[0].text, "looking at event-1");
    assert!(!panic.unavailable);

    for (data, says) in [("\"recurse\"", "in `guest_trap::recurse`"), ("\"exit\"", "exit")] {
        let invocation = invoke(&trap, call(data));
        let Err(Failure::Trap(why)) = invocation.outcome else { panic!("{invocation:?}") };
        assert!(why.contains(says), "{why}");
    }
    assert_eq!(invoke(&trap, call("{}")).outcome, Ok(vec![]));
}

#[test]
fn spin() {
    let limits = "[limits]\ntime = \"50ms\"\nfuel = 1_000_000_000_000\n";
    let spinning = load(built::SPIN, limits);
    let invocation = invoke(&spinning, call("{}"));
    assert_eq!(invocation.outcome, Err(Failure::Deadline(Duration::from_millis(50))));

    let thirsty = load(built::SPIN, "[limits]\ntime = \"10s\"\nfuel = 1_000_000\n");
    let invocation = invoke(&thirsty, call("{}"));
    assert_eq!(invocation.outcome, Err(Failure::OutOfFuel(1_000_000)));
    assert_eq!(invocation.fuel, 1_000_000);
}

/// One worker thread, and the guests that never return still give way to the others.
#[test]
fn a_guest_that_spins_does_not_stop_the_others() {
    let spinning = load(built::SPIN, "[limits]\ntime = \"500ms\"\nfuel = 1_000_000_000_000\n");
    let echo = load(built::ECHO_PUBLISH, ECHO);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = runtime.block_on(async {
        let finished = Mutex::new(Vec::new());
        let run = async |component: &Component, name| {
            let invocation = invoke_async(component, call("{}")).await;
            finished.lock().unwrap().push(name);
            invocation
        };
        let (_, echoed) = tokio::join!(run(&spinning, "spin"), run(&echo, "echo"));
        (finished.into_inner().unwrap(), echoed)
    });
    assert_eq!(first, ["echo", "spin"]);
    assert!(second.outcome.is_ok());
}

#[test]
fn grab_memory() {
    let grabbing = load(built::GRAB_MEMORY, "[limits]\nmemory = \"8MiB\"\n");
    let invocation = invoke(&grabbing, call("{}"));
    assert_eq!(invocation.outcome, Err(Failure::OutOfMemory(8 << 20)));
    assert!((4 << 20..=8 << 20).contains(&invocation.memory), "{}", invocation.memory);

    let cramped = load(built::GRAB_MEMORY, "[limits]\nmemory = \"1MiB\"\n");
    assert_eq!(invoke(&cramped, call("{}")).outcome, Err(Failure::OutOfMemory(1 << 20)));
}

#[test]
fn ungranted() {
    let other = "[grants]\npublish = [\"com.todo.granted.v1\"]\n[sql.s]\nquery = \"SELECT 1\"\n";
    let ungranted = load(built::UNGRANTED, other);
    let silent = invoke(&ungranted, call("{}"));
    let publish = "event type `com.todo.secret.v1` is not granted to `guest`; \
                   add it under [grants] publish in guests/component.toml";
    let execute = "execute statement `drop-everything` is not granted to `guest`; \
                   add it under [sql] in guests/component.toml";
    assert_eq!(silent.denied, [publish, execute]);
    assert_eq!(silent.outcome, Err(Failure::Denied(publish.into())));

    let honest = invoke(&ungranted, call("\"honest\""));
    let Err(Failure::Reject(reason)) = honest.outcome else { panic!("{honest:?}") };
    assert!(reason.contains(publish), "{reason}");
}

#[test]
fn flood_effects() {
    let flood = load(
        built::FLOOD_EFFECTS,
        "[grants]\npublish = [\"com.todo.flood.v1\"]\n[limits]\neffects = 70\nmemory = \"8MiB\"\n",
    );
    assert_eq!(invoke(&flood, call("{}")).outcome, Err(Failure::TooManyEffects(70)));
    let huge = invoke(&flood, call("\"huge\""));
    assert_eq!(huge.outcome, Err(Failure::EffectsTooLarge(8 << 20)));
}

#[test]
fn flood_output() {
    let flood = load(built::FLOOD_OUTPUT, "[limits]\noutput = \"4KiB\"\n");
    let invocation = invoke(&flood, call("{}"));
    assert_eq!(invocation.outcome, Ok(vec![]));
    let kept: usize = invocation.log.iter().map(|line| line.text.len()).sum();
    assert!((2 << 10..=5 << 10).contains(&kept), "{kept}");
    let levels: Vec<_> = invocation.log.iter().map(|line| &*line.level).collect();
    assert_eq!(levels.last(), Some(&"host"));
    assert!(levels.contains(&"stdout") && levels.contains(&"info"), "{levels:?}");
}

#[test]
fn garbage() {
    let garbage = load(
        built::GARBAGE,
        "[grants]\npublish = [\"com.todo.granted.v1\"]\ntables = { t = \"write\" }\n\
         [sql.insert]\nexecute = \"INSERT INTO t (a) VALUES ($1)\"\n",
    );
    let refused = invoke(&garbage, call("{}"));
    assert_eq!(refused.outcome, Ok(vec![]));
    assert_eq!(refused.log.len(), 6);
    for line in &refused.log {
        assert!(line.text.contains("Invalid(") || line.text.contains("::Invalid"), "{line:?}");
    }
    let monstrous = invoke(&garbage, call("\"monstrous\""));
    let Err(Failure::Retry(reason)) = monstrous.outcome else { panic!("not a retry") };
    assert!(reason.len() < 5_000 && reason.ends_with('…'));
}

const ECHO: &str = "[grants]\npublish = [\"com.todo.echo.v1\"]\n";

#[test]
fn echo_publish() {
    let echo = load(built::ECHO_PUBLISH, ECHO);
    let first = invoke(&echo, call("{\"a\": [1]}"));
    let effects = first.outcome.unwrap();
    let [Effect::Publish(publish)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(publish.ty.as_str(), "com.todo.echo.v1");
    assert_eq!(publish.subject.as_deref(), Some("task-1"));
    assert_eq!(publish.data, "{\"a\": [1]}");
    assert_eq!(publish.time, "2026-01-02T03:04:05Z");

    let again = invoke(&echo, Call { attempt: 2, seed: [9; 32], ..call("{\"a\": [1]}") });
    assert_eq!(again.outcome.unwrap(), effects);
    assert_eq!(again.fuel, first.fuel);
}

#[test]
fn ask() {
    let manifest = "[config]\nstep = \"5\"\n[grants]\ntables = { counts = \"write\" }\n\
        [sql.find]\nquery = \"SELECT n FROM counts WHERE id = $1\"\n\
        [sql.set]\nexecute = \"UPDATE counts SET n = $2 WHERE id = $1\"\n";
    let asking = load(built::ASK, manifest);
    let answer = |answer: Result<Vec<SqlRow>, ReadError>| {
        invoke(&asking, Call { reads: Arc::new(Answer(answer)), ..call("{}") })
    };

    let found = answer(Ok(vec![vec![("n".into(), SqlValue::Integer(2))]]));
    let effects = found.outcome.unwrap();
    let [Effect::Execute(execute)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(execute.statement, "set");
    assert_eq!(&*execute.sql, "UPDATE counts SET n = $2 WHERE id = $1");
    assert_eq!(execute.params, [SqlValue::Text("task-1".into()), SqlValue::Integer(7)]);
    assert_eq!(execute.expect, Some(1));

    let missing = answer(Ok(vec![]));
    assert_eq!(missing.outcome, Err(Failure::Reject("there is no such row".into())));
    let away = answer(Err(ReadError::Unavailable("locked".into())));
    assert!(away.unavailable && matches!(away.outcome, Err(Failure::Retry(_))), "{away:?}");
    let failed = answer(Err(ReadError::Failed("no such table".into())));
    assert!(!failed.unavailable && failed.outcome.is_err(), "{failed:?}");
}

#[test]
fn tally() {
    let manifest = "[grants]\npublish = [\"com.things.said.v1\"]\nstate = [\"s\"]\n\
        bindings = [\"b\"]\ntables = { t = \"write\" }\n\
        [sql.add]\nexecute = \"INSERT INTO t (id) VALUES ($1)\"\n";
    let tally = load(built::TALLY, manifest);
    let counted = invoke(&tally, call(r#"{ "turns": 1000, "store": "s", "binding": "b" }"#));
    let effects = counted.outcome.unwrap();
    let [Effect::Execute(add), Effect::State(_), Effect::Invoke(_), Effect::Publish(said)] =
        effects.as_slice()
    else {
        panic!("{effects:?}")
    };
    assert_eq!((add.statement.as_str(), add.expect), ("add", Some(1)));
    assert_eq!(said.data, "{\"counted\":\"event-1\",\"filler\":\"\"}");
    let rejected = invoke(&tally, call(r#"{ "reject": "no" }"#));
    assert_eq!(rejected.outcome, Err(Failure::Reject("no".into())));
}

#[test]
fn surroundings() {
    let surroundings = load(built::SURROUNDINGS, "");
    let lines = |call| {
        let invocation = invoke(&surroundings, call);
        assert_eq!(invocation.outcome, Ok(vec![]), "{:?}", invocation.log);
        assert!(invocation.duration < Duration::from_secs(1));
        let words = invocation.log.into_iter().map(|line| line.text);
        words.map(|line| line.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap())
    };
    let first: BTreeMap<_, _> = lines(call("{}")).collect();
    assert_eq!(first["slept"], "0ns");
    assert_eq!(first["time"], "Ok(1767323045s)");
    assert_eq!(first["environment"], "0");
    assert!(first["file"].starts_with("Err("), "{first:?}");
    assert!(first["network"].starts_with("Err("), "{first:?}");

    assert_eq!(lines(call("{}")).collect::<BTreeMap<_, _>>(), first);
    let other: BTreeMap<_, _> = lines(Call { seed: [8; 32], ..call("{}") }).collect();
    assert_ne!(other["chance"], first["chance"]);
}

#[test]
fn compiled_code_is_found_again_and_does_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let wasm = std::fs::read(built::ECHO_PUBLISH).unwrap();
    let load = || {
        let config =
            SandboxConfig { cache: Some(folder.path().join("code")), ..SandboxConfig::default() };
        Sandbox::new(config)
            .unwrap()
            .load(manifest(ECHO), &wasm, "digest".into(), Database::Sqlite)
            .unwrap()
    };
    let (first, second) = (load(), load());
    assert_eq!((first.is_cached(), second.is_cached()), (false, true));
    let (compiled, found) = (invoke(&first, call("{}")), invoke(&second, call("{}")));
    assert_eq!(found.outcome, compiled.outcome);
    assert_eq!(found.fuel, compiled.fuel);
}

#[test]
fn audit_records_the_event_as_received() {
    let text = include_str!("../../components/audit/component.toml");
    let manifest = Manifest::parse(Path::new("component.toml"), text).unwrap();
    let wasm = std::fs::read(built::AUDIT).unwrap();
    let audit = SANDBOX.load(manifest, &wasm, "digest".into(), Database::Sqlite).unwrap();
    let invocation = invoke(&audit, call("{\"user_id\":\"u\",\"task_id\":\"t\"}"));
    let effects = invocation.outcome.unwrap();
    let [Effect::Execute(execute)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(execute.params.len(), 14);
    assert_eq!(execute.params[7..9], ["u", "t"].map(|id| SqlValue::Text(id.into())));
    assert_eq!(execute.params[10], SqlValue::Timestamp("2026-01-02T03:04:05.000000Z".into()));
    assert_eq!(execute.params[11], SqlValue::Bytes(b"as received".to_vec()));
    assert!(invocation.memory < 3 << 20, "the guest grew its memory: {}", invocation.memory);
}

#[test]
fn what_is_no_component_is_refused() {
    let refuse = |wasm: &[u8], rest: &str| {
        let error =
            SANDBOX.load(manifest(rest), wasm, "digest".into(), Database::Sqlite).unwrap_err();
        (error.to_string(), error)
    };
    let (text, error) = refuse(b"\0asm nonsense", "");
    assert!(matches!(error, LoadError::NotAComponent { .. }), "{text}");
    let echo = std::fs::read(built::ECHO_PUBLISH).unwrap();
    let (text, error) = refuse(&echo, "[limits]\nmemory = \"1GiB\"\n");
    assert!(matches!(error, LoadError::Memory { .. }), "{text}");
    let (text, _) = refuse(&echo, "[sql.s]\nquery = \"SELECT * FROM wharf_outbox\"\n");
    assert!(text.contains("the host's own"), "{text}");
}

#[test]
fn permits_are_counted() {
    let echo = load(built::ECHO_PUBLISH, &format!("{ECHO}[limits]\nconcurrency = 2\n"));
    block_on(async {
        let first = echo.permit(Duration::ZERO).await;
        let second = echo.permit(Duration::ZERO).await.unwrap();
        assert!(first.is_some());
        assert!(echo.permit(Duration::from_millis(1)).await.is_none());
        let invocation = echo.invoke(second, call("{}")).await;
        assert!(invocation.outcome.is_ok());
        assert!(echo.permit(Duration::ZERO).await.is_some());
    });
}

/// More invocations at once than the pool has slots wait for their turn.
#[test]
fn many_at_once_find_room() {
    let sandbox =
        Sandbox::new(SandboxConfig { invocations: 4, ..SandboxConfig::default() }).unwrap();
    let echo = std::fs::read(built::ECHO_PUBLISH).unwrap();
    let echo = sandbox.load(manifest(ECHO), &echo, "digest".into(), Database::Sqlite).unwrap();
    let invocations =
        block_on(futures::future::join_all((0..200).map(|_| invoke_async(&echo, call("{}")))));
    assert!(invocations.iter().all(|invocation| invocation.outcome.is_ok()));
}

static SANDBOX: LazyLock<Sandbox> =
    LazyLock::new(|| Sandbox::new(SandboxConfig::default()).unwrap());

fn manifest(rest: &str) -> Manifest {
    let text = format!("name = \"guest\"\nversion = \"1\"\n[[on]]\nevent = \"*\"\n{rest}");
    Manifest::parse(Path::new("guests/component.toml"), &text).unwrap()
}

fn try_load(wasm: &str, rest: &str) -> Result<Component, LoadError> {
    SANDBOX.load(manifest(rest), &std::fs::read(wasm).unwrap(), "digest".into(), Database::Sqlite)
}

fn load(wasm: &str, rest: &str) -> Component {
    try_load(wasm, rest).unwrap()
}

fn invoke(component: &Component, call: Call) -> Invocation {
    block_on(invoke_async(component, call))
}

async fn invoke_async(component: &Component, call: Call) -> Invocation {
    let permit = component.permit(Duration::from_secs(10)).await.unwrap();
    component.invoke(permit, call).await
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn call(data: &str) -> Call {
    let event = Event {
        id: "event-1".into(),
        source: "tests".into(),
        ty: EventType::new("com.todo.task.created.v1").unwrap(),
        subject: Some("task-1".into()),
        time: "2026-01-02T03:00:00Z".into(),
        data: data.into(),
        contract: ContractName::new("cloudevents").unwrap(),
    };
    let decoded = Decoded {
        event,
        key: EventKey([1; 16]),
        pubsub: None,
        topic: None,
        wire_type: "com.todo.task.created.v1".into(),
        entry: None,
        trace: None,
        version_mismatch: None,
    };
    let wire = WireEvent { bytes: Bytes::from_static(b"as received"), arrival: Arrival::default() };
    Call {
        decoded: Arc::new(decoded),
        wire: Arc::new(wire),
        attempt: 1,
        now: "2026-01-02T03:04:05Z".parse::<DateTime<Utc>>().unwrap(),
        seed: [7; 32],
        reads: Arc::new(Answer(Ok(vec![]))),
        record: true,
    }
}

/// A run that ends while it waits for a reader uses up no attempt; one whose read was answered is
/// the handler's own again.
#[test]
fn a_deadline_while_a_read_waits_finds_it_unavailable() {
    let manifest = "[grants]\ntables = { counts = \"read\" }\n[limits]\ntime = \"50ms\"\n\
        [sql.find]\nquery = \"SELECT n FROM counts WHERE id = $1\"\n";
    let asking = load(built::ASK, manifest);
    let invocation = invoke(&asking, Call { reads: Arc::new(Never), ..call("{}") });
    assert_eq!(invocation.outcome, Err(Failure::Deadline(Duration::from_millis(50))));
    assert!(invocation.unavailable);
    let answered = invoke(&asking, call("{}"));
    assert!(!answered.unavailable && answered.outcome.is_err(), "{answered:?}");
}

#[test]
fn reads_without_end_that_are_all_answered_use_up_attempts() {
    let many: Vec<_> = (0..200_000).map(|_| r#"{"do":"get","store":"redis","key":"k"}"#).collect();
    let limits = "[grants]\nstate = [\"redis\"]\npublish = [\"com.things.said.v1\"]\n\
        secrets = { vault = [\"mail\"] }\njobs = [\"caps-*\"]\nbindings = [\"mail\"]\n\
        [limits]\ntime = \"50ms\"\nfuel = 1_000_000_000_000\nmemory = \"200MiB\"\n";
    let reading = load(built::CAPABILITIES, limits);
    let invocation = invoke(&reading, call(&format!("[{}]", many.join(","))));
    assert_eq!(invocation.outcome, Err(Failure::Deadline(Duration::from_millis(50))));
    assert!(!invocation.unavailable);
}

/// All its connections are taken.
struct Never;

impl Reads for Never {
    fn query(
        &self,
        _: Arc<str>,
        _: Vec<SqlValue>,
        _: Waiting,
    ) -> BoxFuture<'_, Result<Vec<SqlRow>, ReadError>> {
        Box::pin(futures::future::pending())
    }

    fn state(
        &self,
        _: StoreName,
        _: String,
        _: Waiting,
    ) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        Box::pin(futures::future::pending())
    }

    fn secret(&self, _: StoreName, _: String, _: Waiting) -> BoxFuture<'_, Entries> {
        Box::pin(futures::future::pending())
    }
}

/// Gives every query the same answer.
struct Answer(Result<Vec<SqlRow>, ReadError>);

impl Reads for Answer {
    fn query(
        &self,
        _: Arc<str>,
        _: Vec<SqlValue>,
        _: Waiting,
    ) -> BoxFuture<'_, Result<Vec<SqlRow>, ReadError>> {
        Box::pin(async { self.0.clone() })
    }
    fn state(
        &self,
        _: StoreName,
        _: String,
        _: Waiting,
    ) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        Box::pin(async { Ok(None) })
    }

    fn secret(&self, _: StoreName, _: String, _: Waiting) -> BoxFuture<'_, Entries> {
        Box::pin(async { Ok(None) })
    }
}

type Entries = Result<Option<Secret>, ReadError>;
