//! Which stories there are, in order of value.

use std::sync::Arc;

use futures::future::LocalBoxFuture;
use wharf_test_real::Yard;
use wharf_test_real::parts::Part;

use crate::{
    away, bulk, capabilities, command_line, conformance, flows, ingress, parts, poison, replicas,
    restarts, sdks, shipped, weather,
};

/// A test with a folder of its own.
pub struct Story {
    pub name: &'static str,
    /// What it shows, for the table.
    pub tells: &'static str,
    pub needs: &'static [Part],
    pub play: fn(Arc<Yard>) -> LocalBoxFuture<'static, anyhow::Result<()>>,
}

const ALL: &[Part] = &[Part::Dapr, Part::Kafka, Part::Redis, Part::Postgres];

/// What a [`Stage`](crate::stage::Stage) takes.
const STAGE: &[Part] = &[Part::Dapr, Part::Kafka, Part::Postgres];

pub const STORIES: &[Story] = &[
    Story {
        name: "parts",
        tells: "daprd, scheduler, Kafka and Redis alone: events, jobs and state pass, also after a \
                kill",
        needs: &[Part::Dapr, Part::Kafka, Part::Redis],
        play: |yard| Box::pin(parts::play(yard)),
    },
    Story {
        name: "recurring",
        tells: "a completed task makes the next one, once, and says so on its topics; the daily job \
                of a rule makes what is missing, once, and stays",
        needs: STAGE,
        play: |yard| Box::pin(flows::recurring(yard)),
    },
    Story {
        name: "reminding",
        tells: "a reminder's job fires, its binding is called, what came of it is published; a \
                cancelled one is silent",
        needs: STAGE,
        play: |yard| Box::pin(flows::reminding(yard)),
    },
    Story {
        name: "daprd-restarts",
        tells: "daprd is restarted, and killed three times while deliveries are in progress: each \
                event is audited once",
        needs: STAGE,
        play: |yard| Box::pin(restarts::daprd(yard)),
    },
    Story {
        name: "host-killed",
        tells: "the host is killed six times under load: each event is audited once",
        needs: STAGE,
        play: |yard| Box::pin(restarts::host(yard)),
    },
    Story {
        name: "broker-restarts",
        tells: "the broker is stopped, and killed, under load, with events and effects on their way: \
                each event is audited once, each effect of a committed delivery goes out under one id",
        needs: STAGE,
        play: |yard| Box::pin(restarts::broker(yard)),
    },
    Story {
        name: "ledger-away",
        tells: "PostgreSQL is away for a minute while events come and a job is due: no offset passes \
                an event, the job fires after",
        needs: STAGE,
        play: |yard| Box::pin(away::ledger(yard)),
    },
    Story {
        name: "poison",
        tells: "events that cannot be read, break their schema or trap are dead letters with the \
                reason; those behind them go on, but for a bulk that daprd cannot read at all",
        needs: STAGE,
        play: |yard| Box::pin(poison::play(yard)),
    },
    Story {
        name: "job-three-hosts",
        tells: "jobs fire once with three hosts",
        needs: STAGE,
        play: |yard| Box::pin(replicas::job(yard)),
    },
    Story {
        name: "tick-two-hosts",
        tells: "a cron binding ticks both hosts, and each tick acts once",
        needs: STAGE,
        play: |yard| Box::pin(replicas::tick(yard)),
    },
    Story {
        name: "bad-wire",
        tells: "calls between host and daprd are lost, delayed and repeated, both ways: decided once, \
                repeats have the same id",
        needs: STAGE,
        play: |yard| Box::pin(weather::play(yard)),
    },
    Story {
        name: "capabilities",
        tells: "state in Redis, secrets from a local file; what is not granted is refused",
        needs: &[Part::Dapr, Part::Kafka, Part::Postgres, Part::Redis],
        play: |yard| Box::pin(capabilities::play(yard)),
    },
    Story {
        name: "bulk",
        tells: "bulks with handled, dead and turned-away entries: the last come again, each is \
                audited once",
        needs: STAGE,
        play: |yard| Box::pin(bulk::play(yard)),
    },
    Story {
        name: "sdks",
        tells: "CloudEvents that Dapr's SDKs for Python and JavaScript publish",
        needs: &[Part::Dapr, Part::Kafka, Part::Postgres, Part::PythonSdk, Part::JavascriptSdk],
        play: |yard| Box::pin(sdks::play(yard)),
    },
    Story {
        name: "conformance",
        tells: "every behaviour of the embedded Dapr and of daprd, side by side: what is published, \
                delivered, kept, scheduled and called",
        needs: ALL,
        play: |yard| Box::pin(conformance::play(yard)),
    },
    Story {
        name: "ways-in",
        tells: "declared subscriptions, raw payloads, binary mode singly, in bulk, raw and escaped, \
                odd traces, 5 MiB, tokens both ways: each event is audited once",
        needs: ALL,
        play: |yard| Box::pin(ingress::ways(yard)),
    },
    Story {
        name: "shipped-files",
        tells: "the files in dapr/ as they are: a reminder goes through them, other apps are denied, \
                subscriptions come from files",
        needs: &[Part::Dapr, Part::Kafka, Part::Postgres, Part::Redis],
        play: |yard| Box::pin(shipped::play(yard)),
    },
    Story {
        name: "dapr-run",
        tells: "the README's `dapr run`, stopped twice under load: each event is audited once",
        needs: &[Part::Dapr, Part::DaprCli, Part::Kafka, Part::Postgres, Part::Redis],
        play: |yard| Box::pin(command_line::play(yard)),
    },
    Story {
        name: "host-stops",
        tells: "the host is stopped with deliveries in progress, its sidecar too, and both at once: \
                each event is audited once",
        needs: STAGE,
        play: |yard| Box::pin(ingress::stops(yard)),
    },
];
