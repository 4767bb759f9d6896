//! Deliveries by what is known of them: a question of people, asked of the few that failed, or of
//! all from one end.

use super::look::summary;
use super::row::{self, head_columns};
use crate::delivery::DeliveryStatus;
use crate::ledger::database::{Connection, args};
use crate::ledger::error::LedgerError;
use crate::ledger::record::{DeliveryFilter, DeliverySummary, ListOrder};

/// The question to the rows that `$from` gives, beyond the sequence `$8` in the order `$order`.
/// Whether the error is the
/// delivery's own is decided there.
macro_rules! matching {
    ($from:literal, $beyond:literal, $order:literal) => {
        concat!(
            "SELECT sequence, status, claim, attempts, next_attempt_at, error, ",
            head_columns!(),
            " FROM wharf_deliveries ",
            $from,
            " AND ($1 IS NULL OR component = $1) AND ($2 IS NULL OR status = $2) \
             AND ($3 IS NULL OR topic = $3) AND ($4 IS NULL OR event_type = $4) \
             AND ($6 IS NULL OR received_at >= $6) AND ($7 IS NULL OR received_at <= $7) \
             AND sequence ",
            $beyond,
            " $8 ORDER BY sequence ",
            $order,
            " LIMIT $9"
        )
    };
}

/// From one end of them or the other.
macro_rules! either {
    ($order:expr, $from:literal) => {
        match $order {
            ListOrder::NewestFirst => matching!($from, "<", "DESC"),
            ListOrder::OldestAfter(_) => matching!($from, ">", "ASC"),
        }
    };
}

pub async fn deliveries(
    connection: &mut Connection,
    filter: &DeliveryFilter,
) -> Result<Vec<DeliverySummary>, LedgerError> {
    let beyond = match filter.order {
        ListOrder::NewestFirst => i64::MAX,
        ListOrder::OldestAfter(sequence) => sequence,
    };
    let pattern = filter.error.as_deref().map(containing);
    let args = args![
        filter.component.as_ref().map(|component| component.as_str()),
        filter.status.map(DeliveryStatus::as_str),
        filter.topic.as_ref().map(|topic| topic.as_str()),
        filter.event_type.as_deref(),
        pattern.as_deref(),
        filter.since.map(row::micros),
        filter.until.map(row::micros),
        beyond,
        filter.limit,
    ];
    let rows = connection.fetch_all(question(filter), args).await?;
    rows.iter().map(summary).collect()
}

fn question(filter: &DeliveryFilter) -> &'static str {
    match filter.status {
        // The fewest: from the outbox.
        _ if filter.refused => either!(
            filter.order,
            "WHERE (component, key) IN (SELECT component, key FROM wharf_outbox \
                 {index wharf_outbox_dead} \
                 WHERE status = 'dead' AND ($5 IS NULL OR lower(error) LIKE $5 ESCAPE '\\'))"
        ),
        None | Some(DeliveryStatus::Done) => {
            either!(filter.order, "WHERE ($5 IS NULL OR lower(error) LIKE $5 ESCAPE '\\')")
        }
        // The few: their index saves reading all that is done.
        Some(DeliveryStatus::Parked | DeliveryStatus::Dead | DeliveryStatus::Discarded) => either!(
            filter.order,
            "{index wharf_deliveries_failed} \
             WHERE status IN ('parked', 'dead', 'discarded') \
             AND ($5 IS NULL OR lower(error) LIKE $5 ESCAPE '\\')"
        ),
    }
}

/// The pattern of a text that is anywhere within another, in small letters: SQLite would take
/// either kind, PostgreSQL only the same.
fn containing(part: &str) -> String {
    let mut pattern = String::from("%");
    for character in part.to_ascii_lowercase().chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}
