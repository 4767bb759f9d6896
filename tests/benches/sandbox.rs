//! What a fresh sandbox per event costs: the audit component beside the same record logic run
//! natively, and where the time goes. DESIGN.md §10 gives the budget: at most 15 µs p50 and 30 µs
//! p99, at least 110k/s on two cores.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use audit::record;
use bytes::Bytes;
use futures::future::BoxFuture;
use wharf::effect::{Secret, SqlRow, SqlValue};
use wharf::event::{Arrival, Decoded, Event, WireEvent};
use wharf::manifest::{Database, Manifest};
use wharf::name::{ContractName, EventKey, EventType, StoreName};
use wharf::runtime::{Call, Component, ReadError, Reads, Sandbox, SandboxConfig, Waiting};
use wharf_tests::built;
use wharf_tests::figures::{self, Budget, Figure, Line};

const CALLS: usize = 50_000;

pub fn run() {
    let audit = component(built::AUDIT, include_str!("../../components/audit/component.toml"));
    let echo = component(built::ECHO_PUBLISH, ECHO);
    let idle = component(built::TRAP, IDLE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");

    figures::heading("sandbox, a fresh instance for each event");
    let budget = Budget::AtMost { p50: Duration::from_micros(15), p99: Some(THIRTY) };
    for (name, component, budget) in [
        ("audit: 6 host calls, 14 parameters", &audit, Some(budget)),
        ("split: instance and one published effect", &echo, None),
        ("split: instance, WASI and one line printed", &idle, None),
    ] {
        let (wharf, native) = runtime.block_on(figures::in_turns(
            CALLS,
            call,
            async |call| _ = black_box(invoke(component, call).await),
            async |call| _ = black_box(native(&call)),
        ));
        Line { name, wharf, native: Some(native), budget }.print();
    }
    let recurring =
        component(built::RECURRING, include_str!("../../components/recurring/component.toml"));
    let budget = Budget::AtMost { p50: Duration::from_micros(50), p99: None };
    for (name, rule, zone) in [
        ("recurring: nothing recurs", "none", "UTC"),
        ("recurring: weekly in a named zone", "weekly", "Europe/Berlin"),
        ("recurring: an RRULE by weekdays", "FREQ=WEEKLY;BYDAY=MO,WE,FR", "Europe/Berlin"),
        ("recurring: an RRULE by month days", "FREQ=MONTHLY;BYMONTHDAY=1,15", "Europe/Berlin"),
    ] {
        let event = Arc::new(completed(rule, zone));
        let (wharf, native) = runtime.block_on(figures::in_turns(
            CALLS / 5,
            || Call { decoded: Arc::clone(&event), ..call() },
            async |call| _ = black_box(invoke(&recurring, call).await),
            async |call| _ = black_box(decided(&call)),
        ));
        Line { name, wharf, native: Some(native), budget: Some(budget) }.print();
    }
    let sandboxed = throughput(async |call| _ = black_box(invoke(&audit, call).await));
    let native = throughput(async |call| _ = black_box(native(&call)));
    let budget = Some(Budget::AtLeast(110_000.0));
    Line { name: "audit, on two threads", wharf: sandboxed, native: Some(native), budget }.print();
}

const THIRTY: Duration = Duration::from_micros(30);

fn throughput(work: impl AsyncFn(Call) + Sync) -> Figure {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime").block_on(async {
                    for _ in 0..CALLS {
                        work(call()).await;
                    }
                });
            });
        }
    });
    figures::rate(2 * CALLS, began.elapsed())
}

async fn invoke(component: &Component, call: Call) -> usize {
    let permit = component.permit(Duration::from_secs(1)).await.expect("room");
    component.invoke(permit, call).await.outcome.expect("effects").len()
}

fn native(call: &Call) -> [record::Value; 14] {
    let Event { id, source, ty, time, data, contract, .. } = call.decoded.event.clone();
    let event = record::Event {
        id,
        source,
        ty: ty.to_string(),
        contract: contract.to_string(),
        time,
        data,
    };
    let arrival = record::Arrival {
        pubsub: call.decoded.pubsub.as_ref().map(ToString::to_string),
        topic: call.decoded.topic.as_ref().map(ToString::to_string),
        wire_type: call.decoded.wire_type.clone(),
        payload: call.wire.bytes.to_vec(),
        recorded_at: SystemTime::from(call.now),
    };
    record::row(event, arrival)
}

/// What `recurring` decides, without a sandbox.
fn decided(call: &Call) -> usize {
    let event = &call.decoded.event;
    let event = todo::Event {
        id: event.id.clone(),
        source: event.source.clone(),
        ty: event.ty.to_string(),
        subject: event.subject.clone(),
        time: event.time.clone(),
        data: event.data.clone(),
        contract: event.contract.to_string(),
        attempt: call.attempt,
    };
    recurring::occurrence::decide(&event, call.now, &mut |_, _| Ok(Vec::new()))
        .map_or(0, |acts| acts.len())
}

fn completed(rule: &str, zone: &str) -> Decoded {
    let mut decoded = Decoded::clone(&call().decoded);
    decoded.event.ty = EventType::new("com.todo.task.completed.v1").expect("a type");
    let data = DATA.replace("\"weekly\",\"time_zone\"", &format!("\"{rule}\",\"time_zone\""));
    decoded.event.data = data.replace("Europe/Berlin", zone);
    decoded
}

const ECHO: &str = "name = \"echo\"\nversion = \"1\"\n[[on]]\nevent = \"*\"\n\
                    [grants]\npublish = [\"com.todo.echo.v1\"]\n";
const IDLE: &str = "name = \"idle\"\nversion = \"1\"\n[[on]]\nevent = \"*\"\n";

fn component(wasm: &str, manifest: &str) -> Component {
    let sandbox = Sandbox::new(SandboxConfig::default()).expect("a sandbox");
    let manifest = Manifest::parse(Path::new("component.toml"), manifest).expect("a manifest");
    let wasm = std::fs::read(wasm).expect("a built component");
    sandbox.load(manifest, &wasm, "digest".into(), Database::Sqlite).expect("a component")
}

const DATA: &str = r#"{"task_id":"7f1c9a52-6c1e-4f6e-9d1b-0a4f5c3e2d11","user_id":"user-42","task":{"title":"Water the plants","description":"The ones on the balcony too","completed":false,"priority":"high","tags":["home","weekly"],"due_date":"2026-02-01T09:00:00Z","recurrence":"weekly","time_zone":"Europe/Berlin","created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z"},"extra":{"trace":"abcdef0123456789"}}"#;

fn call() -> Call {
    let event = Event {
        id: "0d9f5b3e-3c0e-4a53-8a5d-7a3ad9a0c1f2".into(),
        source: "chat-api".into(),
        ty: EventType::new("com.todo.task.created.v1").expect("a type"),
        subject: Some("7f1c9a52-6c1e-4f6e-9d1b-0a4f5c3e2d11".into()),
        time: "2026-01-01T00:00:00Z".into(),
        data: DATA.into(),
        contract: ContractName::new("cloudevents").expect("a name"),
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
    let bytes = Bytes::from_static(DATA.as_bytes());
    Call {
        decoded: Arc::new(decoded),
        wire: Arc::new(WireEvent { bytes, arrival: Arrival::default() }),
        attempt: 1,
        now: chrono::DateTime::UNIX_EPOCH,
        seed: [7; 32],
        reads: Arc::new(NoReads),
        record: true,
    }
}

struct NoReads;

impl Reads for NoReads {
    fn query(
        &self,
        _: Arc<str>,
        _: Vec<SqlValue>,
        _: Waiting,
    ) -> BoxFuture<'_, Result<Vec<SqlRow>, ReadError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn state(
        &self,
        _: StoreName,
        _: String,
        _: Waiting,
    ) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        Box::pin(async { Ok(None) })
    }

    fn secret(
        &self,
        _: StoreName,
        _: String,
        _: Waiting,
    ) -> BoxFuture<'_, Result<Option<Secret>, ReadError>> {
        Box::pin(async { Ok(None) })
    }
}
