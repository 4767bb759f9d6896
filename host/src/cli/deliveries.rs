//! `wharf deliveries`, `retry`, `discard`: what happened to which event, and what to do about it.

mod filter;
mod follow;
mod many;

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;

use crate::cli::client::{AdminClient, AdminEndpoint};
use crate::cli::print;
use crate::cli::{Finding, WrongUse};
use crate::delivery::DeliveryId;
use filter::Filter;
use follow::{Outcome, Outcomes, follow};
use many::Deed;

/// Show what became of which event, newest first; or one delivery whole
///
/// A delivery is one event for one component, written COMPONENT/KEY.
#[derive(Args)]
#[command(after_help = "Examples:
  wharf deliveries
  wharf deliveries --status dead --component notification
  wharf deliveries --status dead --topic task-events --error 'no such table' --since 2h
  wharf deliveries --refused
  wharf deliveries audit/0123456789abcdef0123456789abcdef
  wharf deliveries --json --limit 1000")]
pub struct Deliveries {
    /// One delivery, to see its error, log, reads and effects
    #[arg(value_name = "COMPONENT/KEY", conflicts_with_all = ["Filter", "limit"])]
    delivery: Option<DeliveryId>,
    #[command(flatten)]
    filter: Filter,
    /// How many, 1000 at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminEndpoint,
}

/// Try dead deliveries again, or what Dapr refused of done ones
///
/// Attempts are counted anew. Effects keep their ids, and what is committed is not done twice. A
/// state write or a job that was refused is performed now, after whatever came later. Many are tried
/// oldest first, in small batches; broken off, it may be run again.
///
/// What becomes of each is awaited, for 30 seconds at most: done, dead again, or parked, which is
/// tried again by itself. The exit code is 1 when one is dead again.
#[derive(Args)]
#[command(after_help = "Examples:
  wharf retry audit/0123456789abcdef0123456789abcdef
  wharf retry --no-wait audit/0123456789abcdef0123456789abcdef
  wharf retry --component notification --dry-run
  wharf retry --topic task-events --error 'no such table' --since 2h
  wharf retry --refused
  wharf retry --all")]
pub struct Retry {
    #[command(flatten)]
    which: Which,
    /// Leave at once, and do not wait for what becomes of them
    #[arg(long)]
    no_wait: bool,
}

/// Give up parked or dead deliveries, or what Dapr refused of done ones
///
/// Their events are not kept; a repeat of them is still known as one. By filter the dead ones are
/// given up; with --status parked, the parked ones.
///
/// The exit code is 1 when one of them cannot be given up.
#[derive(Args)]
#[command(after_help = "Examples:
  wharf discard audit/0123456789abcdef0123456789abcdef
  wharf discard --component notification --until 24h --dry-run
  wharf discard --status parked --type com.todo.task.created.v1")]
pub struct Discard {
    #[command(flatten)]
    which: Which,
}

#[derive(Args)]
struct Which {
    /// Deliveries as `wharf deliveries` shows them
    #[arg(value_name = "COMPONENT/KEY", conflicts_with_all = ["Filter", "all", "dry_run"])]
    deliveries: Vec<DeliveryId>,
    #[command(flatten)]
    filter: Filter,
    /// All that the filter matches; alone, every dead one
    #[arg(long)]
    all: bool,
    /// Only say how many there are
    #[arg(long)]
    dry_run: bool,
    /// Print what each is now, or how many there were, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminEndpoint,
}

impl Deliveries {
    pub async fn run(self) -> anyhow::Result<()> {
        let client = AdminClient::new(self.admin)?;
        if let Some(id) = self.delivery {
            let delivery = client.get(&format!("/deliveries/{id}")).await?;
            return show(&delivery, self.json);
        }
        let mut asked = self.filter.asked();
        asked.push(("limit", self.limit.to_string()));
        let path = filter::path("/deliveries", &asked);
        let found = client.get(&path).await?;
        if self.json {
            return print::json(&found);
        }
        match found.as_array().map(Vec::as_slice) {
            Some([]) | None => print::note("no deliveries"),
            Some(deliveries) => list(deliveries),
        }
        Ok(())
    }
}

impl Retry {
    pub async fn run(self) -> anyhow::Result<Finding> {
        self.which.run(Deed::Retry, !self.no_wait).await
    }
}

impl Discard {
    pub async fn run(self) -> anyhow::Result<Finding> {
        self.which.run(Deed::Discard, false).await
    }
}

impl Which {
    /// With `follows`, waits for what becomes of them.
    async fn run(self, deed: Deed, follows: bool) -> anyhow::Result<Finding> {
        let mut asked = self.filter.asked();
        if self.deliveries.is_empty() && asked.is_empty() && !self.all {
            return Err(which(deed).into());
        }
        let client = AdminClient::new(self.admin)?;
        if !self.deliveries.is_empty() {
            return each(&client, &self.deliveries, deed, follows, self.json).await;
        }
        asked.push(("all", self.all.to_string()));
        asked.push(("dry_run", self.dry_run.to_string()));
        let (mut total, changed) = many::run(&client, asked, deed).await?;
        if follows && !changed.is_empty() && changed.len() <= follow::MOST {
            total.became = Some(Outcomes::of(&follow(&client, &changed).await?));
        }
        match self.json {
            true => print::json(&total)?,
            false => print::line(total.told(deed, self.dry_run)),
        }
        Ok(total.finding())
    }
}

fn which(deed: Deed) -> WrongUse {
    let deed = deed.path();
    WrongUse(format!(
        "say which deliveries: COMPONENT/KEY as `wharf deliveries` shows them, a filter, or --all for \
         every dead one; for example\n  wharf {deed} --component notification --dry-run\n  \
         wharf {deed} --all --dry-run\nFor more information, try '--help'."
    ))
}

/// Goes on past one that is refused, so that the others are not held up by it.
async fn each(
    client: &AdminClient,
    deliveries: &[DeliveryId],
    deed: Deed,
    follows: bool,
    json: bool,
) -> anyhow::Result<Finding> {
    let action = deed.path();
    let (mut now, mut finding) = (Vec::new(), Finding::Nothing);
    for id in deliveries {
        match client.post(&format!("/deliveries/{id}/{action}")).await {
            Ok(delivery) => now.push(delivery),
            Err(error) => {
                print::note(format_args!("error: {error:#}"));
                finding = Finding::Something;
            }
        }
    }
    if follows {
        let ids: Vec<_> = now.iter().map(|one| text(one, "/delivery").to_owned()).collect();
        now = follow(client, &ids).await?;
        if Outcomes::of(&now).dead > 0 {
            finding = Finding::Something;
        }
    }
    if json {
        print::json(&now)?;
        return Ok(finding);
    }
    list(&now);
    for delivery in now.iter().filter(|_| follows) {
        let id = text(delivery, "/delivery");
        match Outcome::of(delivery) {
            Outcome::Waiting => print::note(format_args!(
                "{id} has not run within {:?}; look again with `wharf deliveries {id}`",
                follow::PATIENCE
            )),
            Outcome::Parked => {
                let due = text(delivery, "/due");
                print::note(format_args!("{id} failed, and is tried again by itself at {due}"));
            }
            Outcome::Done | Outcome::Dead => {}
        }
    }
    Ok(finding)
}

fn head(delivery: &Value) {
    let at = text(delivery, "/received_at");
    let seconds = at.get(..19).unwrap_or(at);
    let (status, attempts) = (text(delivery, "/status"), number(delivery, "/attempts"));
    let (id, ty) = (text(delivery, "/delivery"), text(delivery, "/event/type"));
    print::line(format_args!("{seconds}  {status:<9} {attempts:>2}  {id}  {ty}"));
}

fn list(deliveries: &[Value]) {
    for delivery in deliveries {
        head(delivery);
        let error = text(delivery, "/error");
        if !error.is_empty() {
            print::line(format_args!("    {}", first_line(error)));
        }
        for effect in delivery.get("outbox").and_then(Value::as_array).into_iter().flatten() {
            if text(effect, "/status") == "dead" {
                let (target, error) = (text(effect, "/target"), text(effect, "/error"));
                print::line(format_args!("    {target}: {}", first_line(error)));
            }
        }
    }
}

/// A person reads the words, a program the JSON.
fn show(delivery: &Value, json: bool) -> anyhow::Result<()> {
    if json {
        return print::json(delivery);
    }
    head(delivery);
    let mut said = String::new();
    for line in text(delivery, "/error").lines() {
        writeln!(said, "    {line}")?;
    }
    for (name, place) in [
        ("event", "/event/id"),
        ("subject", "/event/subject"),
        ("contract", "/contract"),
        ("topic", "/topic"),
        ("digest", "/digest"),
        ("due", "/due"),
    ] {
        if !text(delivery, place).is_empty() {
            writeln!(said, "  {name:<9} {}", text(delivery, place))?;
        }
    }
    let log = delivery.get("log").filter(|log| !is_empty(log)).or(delivery.pointer("/run/log"));
    for line in log.and_then(Value::as_array).into_iter().flatten() {
        writeln!(said, "  log       {}: {}", text(line, "/level"), text(line, "/text"))?;
    }
    for (name, place) in [("read", "/run/reads"), ("effect", "/run/effects"), ("outbox", "/outbox")]
    {
        for entry in delivery.pointer(place).and_then(Value::as_array).into_iter().flatten() {
            writeln!(said, "  {name:<9} {entry}")?;
        }
    }
    if !delivery.get("received").is_none_or(Value::is_null) {
        writeln!(said, "  received  {}", delivery.get("received").unwrap_or(&Value::Null))?;
    }
    print::line(said.trim_end());
    Ok(())
}

fn is_empty(list: &Value) -> bool {
    list.as_array().is_none_or(Vec::is_empty)
}

fn text<'a>(value: &'a Value, place: &str) -> &'a str {
    value.pointer(place).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, place: &str) -> u64 {
    value.pointer(place).and_then(Value::as_u64).unwrap_or_default()
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or(line)),
        None => line.to_owned(),
    }
}
