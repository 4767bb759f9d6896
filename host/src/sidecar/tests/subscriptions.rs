//! Subscriptions in files, beside those of the host.

use std::collections::BTreeSet;

use super::*;
use crate::contract::Delivery;

#[test]
fn metadata_that_no_subscription_has() {
    let of = |version: &str, metadata: &str| {
        let path = if version == "v1alpha1" { "route: /a" } else { "routes: { default: /a }" };
        let plain = OTHERS.replace("other", "todo-pubsub");
        subscription(version, &format!("{plain}  {path}\n  metadata: {{ {metadata} }}\n"))
    };
    let pubsub = kafka(&[], "");
    for version in ["v1alpha1", "v2alpha1"] {
        only(
            &[&pubsub, &of(version, "rawpayload: \"true\"")],
            "9 error",
            "daprd ignores `rawpayload`: it is no metadata of a subscription (did you mean `rawPayload`?)",
        );
        only(&[&pubsub, &of(version, "colour: red")], "9 error", "daprd ignores `colour`");
        // Of a pubsub that is not here only what is much like another is told.
        only(&[&of(version, "rawPayloads: x")], "9 error", "did you mean `rawPayload`?");
        for fine in ["rawPayload: \"true\"", "VALUESCHEMATYPE: avro"] {
            assert_eq!(found(&[&pubsub, &of(version, fine)]), [""; 0], "{fine}");
        }
        assert_eq!(found(&[&of(version, "colour: red")]), [""; 0]);
    }
}

#[test]
fn a_topic_that_no_file_subscribes() {
    let contracts = contracts();
    let declarative = Host { subscriptions: Subscriptions::Declarative, ..host(&contracts) };
    let file = |name: &str, text: String| vec![(PathBuf::from(name), text)];
    let components = file("local/k.yaml", kafka(&[], ""));
    let route = |topic: &str| {
        let own = OWN.replace("reminder-events", topic);
        subscription("v2alpha1", &format!("{own}  routes: {{ default: /events/{topic} }}\n"))
    };
    let both = format!("{}---\n{}", route("task-events"), route("reminder-events"));
    let files = file("subscriptions/s.yaml", both);
    let told = |host| undeclared(&[&components, &files], host);
    let [one] = &told(declarative)[..] else { panic!("{:?}", told(declarative)) };
    assert!(!one.is_error());
    assert_eq!(
        one.message,
        "no Subscription names topic `recurring-events` of `todo-pubsub`: its events do not come"
    );
    assert!(one.help.as_ref().unwrap().contains("looked in local, subscriptions"), "{one}");
    assert_eq!(told(host(&contracts)), []);
    let others = file("subscriptions/s.yaml", route("recurring-events") + "scopes: [other]\n");
    assert_eq!(undeclared(&[&files, &others], declarative).len(), 1);
    let all = file("subscriptions/s.yaml", route("recurring-events"));
    assert_eq!(undeclared(&[&files, &all], declarative), []);

    let wrong = route("reminder-events").replace("/events/", "/mine/");
    let problems = check(&file("s.yaml", wrong), declarative);
    let told = problems.iter().find(|problem| problem.line == Some(8)).unwrap();
    assert!(
        told.message.starts_with("this subscribes `reminder-events` for the host: events go where"),
        "{told}"
    );
}

#[test]
fn a_dead_letter_topic_of_daprds() {
    let of = |spec: &str, path: &str| {
        let routes = format!("  routes: {{ default: {path} }}\n  deadLetterTopic: d\n");
        subscription("v2alpha1", &format!("{spec}{routes}"))
    };
    let (own, other) = (of(OWN, "/events/reminder-events"), of(OTHERS, "/a"));
    only(&[&own], "9 error", "the first failure goes to `d`: `todo-pubsub` has no retry policy");
    only(&[&other], "9 warning", "the first failure goes to `d`: `other` has no retry policy");
    only(&[&own, &resiliency(ENDLESS)], "9 warning", "the host dead-letters by itself");
    assert_eq!(found(&[&other, &resiliency(ENDLESS)]), [""; 0]);
}

#[test]
fn a_subscription_that_the_hosts_own_hides() {
    let own = |more: &str| subscription("v2alpha1", &format!("{OWN}{more}"));
    only(
        &[&own("  routes: { default: /mine }\n")],
        "8 error",
        "the contract's path is /events/reminder-events",
    );
    let rules =
        "  routes: { rules: [{ match: \"true\", path: /a }], default: /events/reminder-events }\n";
    only(&[&own(rules)], "8 error", "remove the rules");
    let raw =
        "  routes: { default: /events/reminder-events }\n  metadata: { rawPayload: \"true\" }\n";
    only(&[&own(raw)], "9 error", "the contract does not say raw = true: remove rawPayload");
    let raw = |more: &str| {
        let plain = "  pubsubname: p\n  topic: a\n  routes: { default: /events/a }\n";
        found_by(&[&subscription("v2alpha1", &format!("{plain}{more}"))], &small("raw = true"))
    };
    assert_eq!(raw("  metadata: { rawPayload: \"true\" }\n"), [""; 0]);
    let [one] = &raw("")[..] else { panic!("one problem") };
    assert!(one.contains("the contract says raw = true: say metadata: { rawPayload"), "{one}");
    let bulk =
        "  routes: { default: /events/reminder-events }\n  bulkSubscribe: { enabled: true }\n";
    only(&[&own(bulk)], "9 error", "bulk = false");
    let single = own("  routes: { default: /events/task-events }\n")
        .replace("reminder-events", "task-events");
    only(&[&single], "6 error", "maxMessagesCount: 100, maxAwaitDurationMs: 250");
    let bulk = |more: &str| {
        let spec = "  routes: { default: /events/task-events }\n  bulkSubscribe: { enabled: true";
        own(&format!("{spec}{more} }}\n")).replace("reminder-events", "task-events")
    };
    only(&[&bulk("")], "9 warning", "a lone event waits 10 s");
    only(&[&bulk(", maxAwaitDurationMs: 5000")], "9 warning", "say maxAwaitDurationMs: 250");
    assert_eq!(found(&[&bulk(", maxAwaitDurationMs: 250")]), [""; 0]);
    let scoped = own("  routes: { default: /mine }\n") + "scopes: [other]\n";
    assert_eq!(found(&[&scoped]), [""; 0]);
}

#[test]
fn a_subscription_that_gets_nothing() {
    let route = subscription("v2alpha1", &format!("{OTHERS}  route: /a\n"));
    only(&[&route], "8 error", "has its path in `routes: { default: … }`");
    assert_eq!(found(&[&subscription("v1alpha1", &format!("{OTHERS}  route: /a\n"))]), [""; 0]);
    only(&[&subscription("v2alpha1", OTHERS)], "6 error", "give spec.routes.default");
    let rules = subscription(
        "v2alpha1",
        &format!("{OTHERS}  routes: {{ rules: [{{ match: \"true\", path: /a }}] }}\n"),
    );
    only(&[&rules], "8 warning", "daprd drops what matches none of these rules");
    let sound = subscription("v2alpha1", &format!("{OTHERS}  routes: {{ default: /a }}\n"));
    let second = sound.replace("name: s", "name: t");
    only(&[&sound, &second], "7 error", "daprd ignores this: `s` has the topic already");
    only(&[&kafka(&[], ""), &sound], "6 warning", "there is no pubsub `other` in this folder");
    only(
        &[&subscription("v2alpha1", "  topic: t\n  routes: { default: /a }\n")],
        "6 error",
        "give pubsubname and topic",
    );
}

/// Declarative subscriptions say what the host says when it is asked.
#[test]
fn the_shipped_subscriptions_are_the_contracts() {
    for folder in fs::read_dir(root().join("contracts")).unwrap() {
        let folder = folder.unwrap().path();
        let contracts = Contracts::load(std::slice::from_ref(&folder)).unwrap();
        let line = |pubsub: &str, topic: &str, path: &str, bulk: Option<(f64, f64)>| {
            format!("{pubsub} {topic} {path} {bulk:?}")
        };
        let expected: BTreeSet<_> = contracts
            .subscriptions()
            .iter()
            .map(|own| {
                let bulk = match own.delivery {
                    Delivery::Bulk { max, await_ } => {
                        Some((f64::from(max), await_.as_secs_f64() * 1e3))
                    }
                    Delivery::Single => None,
                };
                line(own.pubsub.as_str(), own.topic.as_str(), &own.path, bulk)
            })
            .collect();
        let name = folder.file_name().unwrap();
        let file = root().join("dapr/subscriptions").join(name).join("subscriptions.yaml");
        let text = fs::read_to_string(&file).unwrap();
        let shipped: BTreeSet<_> = yaml::documents(&text)
            .into_iter()
            .map(|(_, node)| {
                let node = node.unwrap();
                let at = |path: &[&str]| node.text_at(path).unwrap().to_owned();
                let number = |name| match node.find(&["spec", "bulkSubscribe", name]).unwrap().value
                {
                    yaml::Value::Number(number) => number,
                    _ => panic!("{name} is no number in {}", file.display()),
                };
                let bulk = node.find(&["spec", "bulkSubscribe"]);
                let bulk = bulk.map(|_| (number("maxMessagesCount"), number("maxAwaitDurationMs")));
                line(
                    &at(&["spec", "pubsubname"]),
                    &at(&["spec", "topic"]),
                    &at(&["spec", "routes", "default"]),
                    bulk,
                )
            })
            .collect();
        assert_eq!(shipped, expected, "{}", file.display());
    }
}
