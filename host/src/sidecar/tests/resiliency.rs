//! Retries that end, and policies that do not hold.

use super::*;

#[test]
fn a_retry_that_ends() {
    let rabbit = component("todo-pubsub", "pubsub.rabbitmq", "");
    for (policy, says) in [
        ("policy: constant, maxRetries: 3", "it ends after 3 retries"),
        ("policy: exponential, maxRetries: -1", "exponential ends after 15 minutes"),
        (
            "policy: constant, matching: { httpStatusCodes: \"500\" }",
            "another status is not tried again",
        ),
    ] {
        let default =
            format!("  policies:\n    retries:\n      DefaultRetryPolicy: {{ {policy} }}\n");
        only(&[&rabbit, &resiliency(&default)], "8 error", says);
        only(&[&kafka(&[], ""), &resiliency(&default)], "8 warning", says);
        // Beside nothing that would give it again, and where it does not.
        only(&[&resiliency(&default)], "8 error", says);
        let named = format!(
            "  policies:\n    retries:\n      mine: {{ {policy} }}\n  targets:\n    components:\n      \
             todo-pubsub: {{ inbound: {{ retry: mine }} }}\n"
        );
        only(&[&rabbit, &resiliency(&named)], "8 error", says);
        only(&[&kafka(&[], ""), &resiliency(&named)], "8 warning", says);
        let outbound = named.replace("inbound", "outbound");
        assert_eq!(found(&[&kafka(&[], ""), &resiliency(&outbound)]), [""; 0]);
        let elsewhere = named + "scopes: [other]\n";
        assert_eq!(found(&[&kafka(&[], ""), &resiliency(&elsewhere)]), [""; 0]);
    }
}

#[test]
fn what_else_ends_or_repeats_a_delivery() {
    let target = |inbound: &str| {
        let more = format!(
            "  targets:\n    components:\n      todo-pubsub: {{ inbound: {{ {inbound} }} }}\n"
        );
        resiliency(&format!(
            "  policies:\n    timeouts: {{ t: 5s }}\n    circuitBreakers: {{ b: {{ maxRequests: 1 }} }}\n    \
             retries: {{ r: {{ policy: constant, maxRetries: -1 }} }}\n{more}"
        ))
    };
    let pubsub = kafka(&[], "");
    only(&[&pubsub, &target("retry: r, circuitBreaker: b")], "8 warning", "`b` ends the retries");
    only(
        &[&pubsub, &target("retry: r, timeout: t")],
        "12 warning",
        "delivered again while the host still works",
    );
    only(
        &[&pubsub, &target("retry: q")],
        "12 error",
        "there is no `q` under retries; daprd takes it for none",
    );
    only(
        &[&pubsub, &target("retry: r, circuitBreaker: q")],
        "12 error",
        "daprd crashes when it is used",
    );
    let default =
        format!("{ENDLESS}  targets:\n    components:\n      todo-pubsub: {{ outbound: {{}} }}\n");
    only(&[&pubsub, &resiliency(&default)], "11 error", "has no default policy any more");
    let other = target("retry: r").replace("todo-pubsub", "another");
    only(&[&pubsub, &other], "12 warning", "no component `another` in this folder");
}

#[test]
fn resiliency_that_daprd_does_not_get_to() {
    let second = format!("{}---\n{}", kafka(&[], ""), resiliency(ENDLESS));
    only(&[&second], "16 error", "reads only the first document for resiliency");
    let first = format!("# Retries.\n---\n{}---\n{}", resiliency(ENDLESS), kafka(&[], ""));
    assert_eq!(found(&[&first]), [""; 0]);
    for (policy, says) in [
        ("policy: linear", "`linear` is no policy of retries"),
        ("policy: constant, duration: 5sec", "`5sec` is no duration"),
    ] {
        let text = resiliency(&format!("  policies:\n    retries:\n      mine: {{ {policy} }}\n"));
        only(&[&text], "8 error", says);
    }
}

#[test]
fn a_default_that_delivers_again() {
    let pubsub = kafka(&[], "");
    let of = |name: &str| {
        let timeouts = format!("  policies:\n    timeouts: {{ {name}: 5s }}\n");
        resiliency(&timeouts)
    };
    for name in [
        "DefaultTimeoutPolicy",
        "DefaultComponentTimeoutPolicy",
        "DefaultComponentInboundTimeoutPolicy",
        "DefaultPubsubComponentInboundTimeoutPolicy",
    ] {
        only(&[&pubsub, &of(name)], "7 warning", "delivered again while the host still works");
        let target = "  targets: { components: { todo-pubsub: { inbound: {} } } }\n";
        let targeted = of(name).replace("  targets: {}\n", target);
        assert_eq!(found(&[&pubsub, &targeted]), [""; 0], "{name}");
    }
    for name in ["DefaultAppTimeoutPolicy", "DefaultStatestoreComponentInboundTimeoutPolicy"] {
        assert_eq!(found(&[&pubsub, &of(name)]), [""; 0], "{name}");
    }
    let wrong = of("DefaultPubSubComponentInboundTimeoutPolicy");
    only(
        &[&pubsub, &wrong],
        "7 error",
        "no default of daprd's, and no target names it \
         (did you mean `DefaultPubsubComponentInboundTimeoutPolicy`?)",
    );
    // Only the first of them counts, wherever it stands.
    let finite =
        "  policies:\n    retries: { DefaultRetryPolicy: { policy: constant, maxRetries: 3 } }\n";
    let endless = resiliency(ENDLESS).replace("name: r", "name: s");
    assert_eq!(found(&[&pubsub, &resiliency(finite), &endless]), [""; 0]);
}

#[test]
fn a_target_with_a_policy_that_nobody_defines() {
    let pubsub = kafka(&[], "");
    let policies = "  policies:\n    retries: { forever: { policy: constant, maxRetries: -1 } }\n";
    let target = |retry: &str| {
        format!(
            "  targets:\n    components:\n      todo-pubsub: {{ inbound: {{ retry: {retry} }} }}\n"
        )
    };
    let with = |retry: &str| resiliency(&format!("{policies}{}", target(retry)));
    assert_eq!(found(&[&pubsub, &with("forever")]), [""; 0]);
    for wrong in ["forevr", "Forever"] {
        only(&[&pubsub, &with(wrong)], "10 error", "under retries; daprd takes it for none");
        only(&[&pubsub, &with(wrong)], "10 error", "(did you mean `forever`?)");
    }
    // Another document's will do.
    let alone = resiliency(&format!("  policies: {{}}\n{}", target("forever")));
    let elsewhere = resiliency(policies).replace("name: r", "name: s");
    assert_eq!(found(&[&pubsub, &alone, &elsewhere]), [""; 0]);
    only(&[&pubsub, &alone], "9 error", "there is no `forever` under retries");
    let app =
        resiliency(&format!("{policies}  targets: {{ apps: {{ a: {{ retry: forevr }} }} }}\n"));
    only(&[&pubsub, &app], "8 error", "(did you mean `forever`?)");
}

#[test]
fn what_a_retry_policy_in_another_folder_would_have_done() {
    let nowhere = "no Resiliency in daprs gives it a retry policy";
    only(&[&redis()], "6 error", nowhere);
    let off = kafka(&[("consumeRetryEnabled", "\"false\"")], "");
    only(&[&off], "14 error", nowhere);
}
