//! What a guest reaches when it is granted: the effects that its calls become, what it reads, and
//! what it is told when a call is malformed or not granted.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use wharf::effect::{Effect, SqlRow, SqlValue};
use wharf::name::StoreName;
use wharf::runtime::{
    Call, Component, Failure, Invocation, LoadError, ReadAnswer, ReadError, Reads, Waiting,
};
use wharf_tests::built;

use super::{Entries, Never, call, invoke, load, try_load};

/// Something of everything, so that the guest can be loaded.
const GRANTS: &str = "[grants]\npublish = [\"com.things.said.v1\"]\nstate = [\"redis\", \"away\"]\n\
    secrets = { vault = [\"mail\", \"gone\"], away = [\"mail\"] }\njobs = [\"daily-*\"]\n\
    bindings = [\"smtp\"]\n";

/// Has the guest do it, against stores that hold a little.
fn done(steps: &Value) -> Invocation {
    static GUEST: LazyLock<Component> = LazyLock::new(|| load(built::CAPABILITIES, GRANTS));
    invoke(&GUEST, Call { reads: Arc::new(Stores), ..call(&steps.to_string()) })
}

/// What the guest says that came of its steps, and the other effects as a recording has them.
fn said(invocation: &Invocation) -> (Vec<Value>, Vec<Value>) {
    let effects = invocation.outcome.as_ref().unwrap();
    let Some((Effect::Publish(said), others)) = effects.split_last() else { panic!("{effects:?}") };
    let others = others.iter().map(|effect| serde_json::to_value(effect).unwrap());
    (serde_json::from_str(&said.data).unwrap(), others.collect())
}

#[test]
pub fn capabilities() {
    let (said, effects) = said(&done(&json!([
        { "do": "get", "store": "redis", "key": "colour" },
        { "do": "get", "store": "redis", "key": "size" },
        { "do": "set", "store": "redis", "key": "size", "value": "large", "ttl": 60 },
        { "do": "delete", "store": "redis", "key": "colour" },
        { "do": "secret", "store": "vault", "key": "mail" },
        { "do": "schedule", "name": "daily-1", "schedule": "0 0 8 * * *", "repeats": 2, "data": [1] },
        { "do": "schedule", "name": "daily-2", "due": "2020-01-01T01:00:00+01:00" },
        { "do": "cancel", "name": "daily-3" },
        { "do": "invoke", "binding": "smtp", "operation": "create", "value": "hi",
          "metadata": { "to": "someone" } },
    ])));
    let id = |step: usize| effects[step]["id"].as_str().unwrap();
    let nothing = json!({ "ok": null });
    assert_eq!(said[0], json!({ "ok": "green" }));
    assert_eq!(said[1..4], [(); 3].map(|()| nothing.clone()));
    assert_eq!(said[4], json!({ "ok": { "mail": "hunter2" } }));
    assert_eq!(said[5..8], [(); 3].map(|()| nothing.clone()));
    assert_eq!(said[8], json!({ "ok": id(5) }));
    assert!(id(2) != id(3) && id(3) != id(5), "one id for each: {effects:?}");
    assert_eq!(
        effects,
        [
            json!({ "effect": "state", "store": "redis", "key": "guest/size", "change": "set",
                    "value": "bGFyZ2U=", "ttl_seconds": 60 }),
            json!({ "effect": "state", "store": "redis", "key": "guest/colour", "change": "delete" }),
            json!({ "effect": "schedule", "id": id(2), "name": "daily-1", "due": null,
                    "schedule": "0 0 8 * * *", "repeats": 2, "data": "[1]" }),
            json!({ "effect": "schedule", "id": id(3), "name": "daily-2",
                    "due": "2020-01-01T00:00:00Z", "schedule": null, "repeats": null,
                    "data": "null" }),
            json!({ "effect": "cancel", "name": "daily-3" }),
            json!({ "effect": "invoke", "id": id(5), "binding": "smtp", "operation": "create",
                    "data": "aGk=", "metadata": [["to", "someone"]] }),
        ]
    );
}

#[test]
fn a_handler_sees_its_own_writes_and_no_one_elses() {
    let (said, _) = said(&done(&json!([
        { "do": "set", "store": "redis", "key": "colour", "value": "red" },
        { "do": "get", "store": "redis", "key": "colour" },
        { "do": "set", "store": "redis", "key": "colour", "value": "blue" },
        { "do": "get", "store": "redis", "key": "colour" },
        { "do": "delete", "store": "redis", "key": "colour" },
        { "do": "get", "store": "redis", "key": "colour" },
    ])));
    let got: Vec<_> = said.iter().skip(1).step_by(2).map(|answer| &answer["ok"]).collect();
    assert_eq!(got, [&json!("red"), &json!("blue"), &json!(null)]);
}

#[test]
fn a_denied_call_commits_nothing_and_says_where_to_grant_it() {
    for (step, what, section) in [
        (json!({ "do": "get", "store": "vault", "key": "k" }), "state store `vault`", "state"),
        (json!({ "do": "set", "store": "vault", "key": "k" }), "state store `vault`", "state"),
        (json!({ "do": "delete", "store": "vault", "key": "k" }), "state store `vault`", "state"),
        (
            json!({ "do": "secret", "store": "vault", "key": "other" }),
            "secret `other` of store `vault`",
            "secrets",
        ),
        (
            json!({ "do": "schedule", "name": "weekly-1", "schedule": "@daily" }),
            "job `weekly-1`",
            "jobs",
        ),
        (json!({ "do": "cancel", "name": "weekly-1" }), "job `weekly-1`", "jobs"),
        (
            json!({ "do": "invoke", "binding": "http", "operation": "get" }),
            "binding `http`",
            "bindings",
        ),
    ] {
        let invocation = done(&step);
        let denied = format!(
            "{what} is not granted to `guest`; add it under [grants] {section} \
             in guests/component.toml"
        );
        assert_eq!(invocation.denied, std::slice::from_ref(&denied));
        assert_eq!(invocation.outcome, Err(Failure::Denied(denied)));
        assert!(!invocation.unavailable);
    }
}

#[test]
fn bad_arguments_are_answered_and_leave_no_effect() {
    for (step, says) in [
        (json!({ "do": "get", "store": "redis", "key": "" }), "1 to 255 characters"),
        (json!({ "do": "get", "store": "redis", "key": "a||b" }), "holds `||`"),
        (
            json!({ "do": "set", "store": "redis", "key": "k", "size": 5_000_000 }),
            "the value has 5000000 bytes, and the most is 3000000",
        ),
        (json!({ "do": "set", "store": "redis", "key": "k", "ttl": 0 }), "`ttl-seconds` is 0"),
        (
            json!({ "do": "secret", "store": "vault", "key": "gone" }),
            "`vault` has no secret `gone`",
        ),
        (json!({ "do": "schedule", "name": "daily-1" }), "would never fire"),
        (json!({ "do": "schedule", "name": "daily-1", "due": "soon" }), "`due-time` is not"),
        (json!({ "do": "schedule", "name": "daily-1", "schedule": "often" }), "six cron fields"),
        (
            json!({ "do": "schedule", "name": "daily-1", "schedule": "@daily", "text": "{" }),
            "`data` is not JSON",
        ),
        (json!({ "do": "cancel", "name": "daily/1" }), "not a job name"),
        (json!({ "do": "invoke", "binding": "smtp", "operation": "" }), "1 to 64"),
        (
            json!({ "do": "invoke", "binding": "smtp", "operation": "create", "size": 3_000_001 }),
            "the data has 3000001 bytes",
        ),
        (
            json!({ "do": "invoke", "binding": "smtp", "operation": "create",
                    "metadata": { "idempotency-key": "mine" } }),
            "set by the host",
        ),
    ] {
        let (said, effects) = said(&done(&step));
        let error = said[0]["error"].as_str().unwrap_or_default();
        assert!(error.contains(says), "{step}: {said:?}");
        assert_eq!(effects, [] as [Value; 0]);
    }
}

/// Also when the handler makes nothing of it.
#[test]
fn a_store_that_is_away_uses_up_no_attempt() {
    for step in ["get", "secret"] {
        let invocation = done(&json!({ "do": step, "store": "away", "key": "mail" }));
        assert!(invocation.unavailable, "{invocation:?}");
        assert!(matches!(invocation.outcome, Err(Failure::Retry(_))), "{invocation:?}");
    }
    let hasty = load(built::CAPABILITIES, &format!("{GRANTS}[limits]\ntime = \"50ms\"\n"));
    for step in ["get", "secret"] {
        let store = if step == "get" { "redis" } else { "vault" };
        let step = json!({ "do": step, "store": store, "key": "mail" }).to_string();
        let invocation = invoke(&hasty, Call { reads: Arc::new(Never), ..call(&step) });
        assert_eq!(invocation.outcome, Err(Failure::Deadline(Duration::from_millis(50))));
        assert!(invocation.unavailable);
        assert_eq!(invocation.reads[0].answer, ReadAnswer::Unanswered);
    }
}

#[test]
fn what_was_read_is_kept_except_secrets() {
    let steps = json!([
        { "do": "set", "store": "redis", "key": "size", "value": "large" },
        { "do": "get", "store": "redis", "key": "size" },
        { "do": "get", "store": "redis", "key": "colour" },
        { "do": "get", "store": "redis", "key": "shape" },
        { "do": "secret", "store": "vault", "key": "mail" },
    ]);
    let invocation = done(&steps);
    assert!(invocation.reads_complete);
    assert_eq!(
        serde_json::to_value(&invocation.reads).unwrap(),
        json!([
            { "call": { "read": "state", "store": "redis", "key": "guest/colour" },
              "answer": { "value": "Z3JlZW4=" } },
            { "call": { "read": "state", "store": "redis", "key": "guest/shape" },
              "answer": "no_value" },
            { "call": { "read": "secret", "store": "vault", "name": "mail" },
              "answer": "withheld" },
        ])
    );
    let guest = load(built::CAPABILITIES, GRANTS);
    let unkept = Call { reads: Arc::new(Stores), record: false, ..call(&steps.to_string()) };
    let unkept = invoke(&guest, unkept);
    assert_eq!((unkept.reads.len(), unkept.reads_complete), (0, false));
    assert_eq!(unkept.outcome, invocation.outcome);
}

#[test]
fn an_import_beyond_the_grants_is_refused_with_what_to_add() {
    let lines = GRANTS.lines().skip(1).map(str::trim).collect::<Vec<_>>();
    for (left_out, interface, add) in [
        (0, "publish", "publish = [\"<event type>\"] under [grants]"),
        (1, "state", "state = [\"<store>\"] under [grants]"),
        (2, "secrets", "secrets = { <store> = [\"<name>\"] } under [grants]"),
        (3, "jobs", "jobs = [\"<name or pattern>\"] under [grants]"),
        (4, "bindings", "bindings = [\"<name>\"] under [grants]"),
    ] {
        let mut granted = lines.clone();
        granted.remove(left_out);
        let grants = format!("[grants]\n{}\n", granted.join("\n"));
        let error = try_load(built::CAPABILITIES, &grants).unwrap_err();
        let LoadError::Import { import, .. } = &error else { panic!("{error}") };
        assert_eq!(*import, format!("wharf:worker/{interface}@0.1.0"));
        let text = error.to_string();
        assert!(text.contains(&format!("add {add} in guests/component.toml")), "{text}");
    }
    let error = try_load(built::ASK, "").unwrap_err().to_string();
    assert!(error.contains("wharf:worker/sql@") && error.contains("[sql.<name>]"), "{error}");
}

/// A state store and a secret store that hold a little.
struct Stores;

impl Reads for Stores {
    fn query(
        &self,
        _: Arc<str>,
        _: Vec<SqlValue>,
        _: Waiting,
    ) -> BoxFuture<'_, Result<Vec<SqlRow>, ReadError>> {
        Box::pin(async { Ok(vec![]) })
    }

    fn state(
        &self,
        store: StoreName,
        key: String,
        _: Waiting,
    ) -> BoxFuture<'_, Result<Option<Bytes>, ReadError>> {
        Box::pin(async move {
            match (store.as_str(), key.as_str()) {
                ("redis", "guest/colour") => Ok(Some(Bytes::from_static(b"green"))),
                ("redis", _) => Ok(None),
                _ => Err(ReadError::Unavailable("connection refused".into())),
            }
        })
    }

    fn secret(&self, store: StoreName, name: String, _: Waiting) -> BoxFuture<'_, Entries> {
        Box::pin(async move {
            match (store.as_str(), name.as_str()) {
                ("vault", "mail") => Ok(Some(vec![("mail".into(), "hunter2".into())])),
                ("vault", _) => Ok(None),
                _ => Err(ReadError::Failed("no such store".into())),
            }
        })
    }
}

/// One effect of each kind before it fails, as long as it is to fail.
#[test]
pub fn errands() {
    let (_, rest) = crate::errands::MANIFEST.split_once("[grants]").unwrap();
    let guest = load(built::ERRANDS, &format!("[grants]{rest}"));
    let run = |how: &str, attempt| {
        let data = json!({ "fails": 1, "how": how, "calls": true, "plans": true });
        invoke(&guest, Call { attempt, ..call(&data.to_string()) }).outcome
    };
    let kind = |effect: &Effect| serde_json::to_value(effect).unwrap()["effect"].clone();
    let kinds: Vec<_> = run("trap", 2).unwrap().iter().map(kind).collect();
    assert_eq!(kinds, ["invoke", "execute", "execute", "state", "publish", "schedule"]);
    for (how, says) in [
        ("trap", "event-1 fails"),
        ("retry", "event-1 comes too early"),
        ("reject", "event-1 is not wanted"),
    ] {
        let error = run(how, 1).unwrap_err().to_string();
        assert!(error.contains(says), "{how}: {error}");
    }
}
