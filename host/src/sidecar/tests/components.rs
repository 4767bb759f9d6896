//! Components: types, metadata names, and what single types do.

use super::*;

#[test]
fn a_component_that_daprd_lacks() {
    let jobs = component("jobs", "jobs.postgresql", "");
    only(&[&jobs], "6 error", "the scheduler keeps them");
    only(&[&component("s", "pubsub.kafkaa", "")], "6 error", "did you mean `pubsub.kafka`?");
    only(&[&component("s", "stat.redis", "")], "6 error", "did you mean `state.redis`?");
    let version = component("s", "state.postgresql", "").replace("version: v1", "version: v7");
    only(
        &[&version],
        "7 error",
        "daprd has no v7 of `state.postgresql`, and does not start (it has v1 and v2)",
    );
    let twice = component("s", "state.in-memory", "");
    only(&[&twice, &twice], "4 error", "with both daprd does not start");
}

#[test]
fn a_metadata_name_that_nobody_reads() {
    let told = [
        (
            kafka(&[("brokerss", "x")], ""),
            "14 error: daprd ignores `brokerss`: `pubsub.kafka` does not read it (did you mean `brokers`?)",
        ),
        (
            kafka(&[("deadLetterTopic", "x")], ""),
            "14 error: daprd ignores `deadLetterTopic`: `pubsub.kafka` does not read it (the host dead-letters by itself",
        ),
        (
            kafka(&[("maxRetries", "\"3\"")], ""),
            "14 error: daprd ignores `maxRetries`: `pubsub.kafka` does not read it (retries of events are the contract's",
        ),
        (
            component(
                "c",
                "bindings.cron",
                &items(&[("scheduel", "x"), ("schedule", "\"@daily\"")]),
            ),
            "9 error: daprd ignores `scheduel`",
        ),
        (
            component("c", "state.redis", &items(&[("host", "x"), ("redisHost", "x")])),
            "9 error: daprd ignores `host`",
        ),
    ];
    for (text, says) in told {
        only(&[&text], says, "");
    }
    // Read in any case, by the runtime, or by a part of the type that its documentation leaves out.
    for name in [
        "ESCAPEHEADERS",
        "consumerID",
        "publishingScopes",
        "authRequired",
        "backOffDuration",
        "clientID",
    ] {
        assert_eq!(found(&[&kafka(&[(name, "\"true\"")], "")]), [""; 0], "{name}");
    }
    let route =
        component("c", "bindings.cron", &items(&[("schedule", "\"@daily\""), ("route", "/c")]));
    assert_eq!(found(&[&route]), [""; 0]);
}

#[test]
fn metadata_that_must_be_there() {
    let needs = |ty: &str, name: &str| {
        let says = format!("it has no `{name}`, which `{ty}` needs (give {name})");
        only(&[&component("c", ty, &items(&[]))], "8 error", &says);
    };
    needs("state.postgresql", "connectionString");
    needs("state.redis", "redisHost");
    needs("secretstores.local.file", "secretsFile");
    needs("bindings.cron", "schedule");
    only(&[&kafka(&[], "brokers")], "9 error", "it has no `brokers`");
    // In any case, by another name, or from a secret.
    let secret = "    - name: connectionString\n      secretKeyRef: { name: a, key: b }\n";
    let secret = component("c", "state.postgresql", secret) + "auth: { secretStore: kubernetes }\n";
    let url = component("c", "state.postgresql", &items(&[("URL", "x")]));
    for fine in [secret, url] {
        assert_eq!(found(&[&fine]), [""; 0]);
    }
}

#[test]
fn a_value_that_stays_empty() {
    let none = kafka(&[], "") + "    - name: clientID\n";
    only(&[&none], "14 error", "`clientID` has no value");
    let secret = kafka(&[], "") + "    - name: clientID\n      secretKeyRef: { name: a, key: b }\n";
    only(&[&secret], "15 warning", "outside Kubernetes `clientID` stays empty");
    assert_eq!(found(&[&format!("{secret}auth: {{ secretStore: kubernetes }}\n")]), [""; 0]);
}

#[test]
fn a_component_of_a_contract_that_the_host_would_not_have() {
    let scoped = kafka(&[], "") + "scopes: [other]\n";
    only(&[&scoped], "14 error", "add `wharf` to scopes");
    let ignored =
        kafka(&[], "").replace("  metadata:\n    ", "  ignoreErrors: true\n  metadata:\n    ");
    only(&[&ignored], "8 warning", "daprd starts without `todo-pubsub` when it fails");
}

#[test]
fn kafka_where_it_guesses() {
    let password = [("authType", "password"), ("saslMechanism", "SCRAM-SHA-256")];
    only(
        &[&kafka(&password, "authType")],
        "14 error",
        "for PLAIN, without a word (write `SHA-256`)",
    );
    only(&[&kafka(&[("saslMechanism", "sha512")], "")], "14 error", "write `SHA-512`");
    only(
        &[&kafka(&[("saslMechanism", "GSSAPI")], "")],
        "14 error",
        "it knows SHA-256, SHA-512, PLAIN",
    );
    only(
        &[&kafka(&[("authType", "SCRAM")], "authType")],
        "13 error",
        "a SASL mechanism goes into saslMechanism",
    );
    only(&[&kafka(&[], "authType")], "9 error", "it has no `authType`");
    let open = [("authType", "password"), ("disableTls", "\"true\"")];
    only(&[&kafka(&open, "authType")], "14 warning", "the password goes over the network as it is");
    only(&[&kafka(&[], "consumerGroup")], "9 warning", "give a consumerGroup");
    only(&[&kafka(&[], "initialOffset")], "9 warning", "say initialOffset: oldest");
    only(&[&kafka(&[], "escapeHeaders")], "9 warning", "say escapeHeaders: \"true\"");
    let other = kafka(&[], "").replace("todo-pubsub", "b");
    only(&[&kafka(&[], ""), &other], "10 warning", "read the same brokers as one group");
}

#[test]
fn kafka_where_it_lets_go() {
    let off = kafka(&[("consumeRetryEnabled", "\"false\"")], "");
    only(&[&off], "14 error", "loses every event that the host answers with RETRY");
    assert_eq!(found(&[&off, &resiliency(ENDLESS)]), [""; 0]);
    only(
        &[&kafka(&[("backOffMaxRetries", "\"5\"")], "")],
        "14 error",
        "skips an event when these retries end",
    );
    only(&[&kafka(&[("backOffPolicy", "exponential")], "")], "14 error", "skips an event");
}

#[test]
fn redis_and_memory_let_go_of_what_failed() {
    only(&[&redis()], "6 error", "Redis Streams acknowledge what failed");
    assert_eq!(found(&[&redis(), &resiliency(ENDLESS)]), [""; 0]);
    only(&[&component("m", "pubsub.in-memory", "")], "6 warning", "for tests only");
}

#[test]
fn a_cron_that_ticks_more_often_than_the_host_counts() {
    let cron = |name, schedule| component(name, "bindings.cron", &items(&[("schedule", schedule)]));
    let contracts = ticking();
    let found = found_by(&[&cron("tick", "\"@every 90s\"")], &contracts);
    assert!(
        found[0].starts_with("9 warning: of the ticks in 300 s the host takes one"),
        "{found:?}"
    );
    for fine in [("tick", "\"@every 5m\""), ("tick", "\"@daily\""), ("other", "\"@every 1s\"")] {
        assert_eq!(found_by(&[&cron(fine.0, fine.1)], &contracts), [""; 0], "{fine:?}");
    }
}

#[test]
fn what_a_contract_names_and_no_file_brings() {
    let lacking = |files: &[&str], contracts: &Contracts| {
        let problems = problems(files, contracts);
        let without = problems.into_iter().filter(|problem| problem.line.is_none());
        let told = |problem: Problem| {
            assert!(!problem.is_error() && problem.file == Path::new("daprs"), "{problem}");
            problem.message
        };
        without.map(told).collect::<Vec<_>>()
    };
    let named = |what: &str| format!("there is no {what}, which contract `cloudevents` names");
    let state = component("todo-statestore", "state.in-memory", "");
    let secrets = component("todo-secrets", "secretstores.local.env", "");
    let file = component("notify-file", "bindings.localstorage", "");
    let all = [kafka(&[], ""), state, secrets, file];
    let lacks = [
        "pubsub `todo-pubsub`",
        "state store `todo-statestore`",
        "secret store `todo-secrets`",
        "binding `notify-file` or `notify-http`",
    ];
    // One that is called so and is something else does not count.
    let other = component("todo-statestore", "configuration.redis", "");
    assert_eq!(lacking(&[&other], &contracts()), lacks.map(named));
    for (without, what) in lacks.iter().enumerate() {
        let files = all.iter().enumerate().filter(|(number, _)| *number != without);
        let files: Vec<_> = files.map(|(_, text)| text.as_str()).collect();
        assert_eq!(lacking(&files, &contracts()), [named(what)]);
    }
    assert_eq!(lacking(&all.each_ref().map(String::as_str), &contracts()), [""; 0]);
    let ticks = ["pubsub `p`", "binding `tick`"];
    let ticks = ticks.map(|what| format!("there is no {what}, which contract `t` names"));
    assert_eq!(lacking(&[&all[1]], &ticking()), ticks);
    // A folder without components is for another one's daprd; without contracts nothing is known.
    assert_eq!(lacking(&[&resiliency(ENDLESS)], &contracts()), [""; 0]);
    assert_eq!(lacking(&[&other], &Contracts::default()), [""; 0]);
}
