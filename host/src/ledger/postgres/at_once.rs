//! A group in one statement: its inbox rows, the components' inserts and the outbox rows of those
//! that the inbox let in. What that takes in a transaction, five round trips, costs a small group
//! more than its rows do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::error::DatabaseError;
use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, AssertSqlSafe};

use super::{Open, in_time, types, unnest, value};
use crate::delivery::DeliveryId;
use crate::effect::{Execute, Many};
use crate::ledger::database::{Row, STATEMENTS, render};
use crate::ledger::rows::Rows;
use crate::manifest::Database;

/// Deliveries that just came in and are done.
pub struct AtOnce<'a> {
    /// `INSERT INTO … FROM {rows} … RETURNING component, key`, and its rows.
    pub inbox: (&'static str, Rows<'a>),
    /// By their text, of which delivery each is.
    pub inserts: BTreeMap<&'a str, Vec<(&'a DeliveryId, &'a Execute)>>,
    /// `INSERT INTO … FROM {rows}`, and rows with a component and a key.
    pub outbox: Option<(&'static str, Rows<'a>)>,
}

/// How long no group is written so after one that had to wait too long, or that the server cannot
/// write so: the next would only wait twice.
const PAUSE: Duration = Duration::from_secs(10);

/// Only the rows of what the inbox let in. Writers have no hash joins, and IN alone would be a nested
/// loop; within a CASE it stays a subplan with a hash.
fn only_entered(component: &str, key: &str) -> String {
    format!(
        " WHERE CASE WHEN ({component}, {key}) IN (SELECT component, key FROM wharf_entered) \
         THEN true END"
    )
}

impl Open {
    /// Whether groups are written so at present.
    pub fn writes_at_once(&self) -> bool {
        self.in_steps_until.is_none_or(|until| Instant::now() >= until)
    }

    /// Gives component and key of those that were new and in their turn; of all others nothing is
    /// written. `None` when an insert is not one that can be for many. An error that the server
    /// tells is of any of them: nothing is written then.
    pub async fn write_at_once(
        &mut self,
        at_once: AtOnce<'_>,
    ) -> Result<Option<Vec<Row>>, sqlx::Error> {
        let written = self.entered(at_once).await;
        if written.as_ref().is_err_and(is_better_in_steps) {
            self.in_steps_until = Some(Instant::now() + PAUSE);
        }
        written
    }

    async fn entered(&mut self, at_once: AtOnce<'_>) -> Result<Option<Vec<Row>>, sqlx::Error> {
        let AtOnce { inbox, inserts, outbox } = at_once;
        let mut arguments = PgArguments::default();
        let mut text = "WITH wharf_entered AS (".to_owned();
        with_rows(&mut text, &mut arguments, inbox)?;
        // PostgreSQL runs them from the last to the first. In a transaction the inserts come in the
        // order of their texts: so here, too, that nobody waits for another crosswise.
        if let Some(outbox) = outbox {
            text.push_str("), wharf_added AS (");
            with_rows(&mut text, &mut arguments, outbox)?;
            text.push_str(&only_entered("component", "key"));
        }
        for (number, rows) in inserts.values().enumerate().rev() {
            let Some((_, first)) = rows.first() else { continue };
            let Some(Many::Unnest { head, tail }) = first.many.as_deref() else { return Ok(None) };
            let statement = self.prepare(&first.sql).await?;
            let own = [("wharf_component", "text"), ("wharf_key", "bytea")];
            let source = unnest(types(&statement), arguments.len() + 1, &own);
            let only = only_entered("r.wharf_component", "r.wharf_key");
            text.push_str(&format!("), wharf_written_{number} AS ({head}{source}{only}{tail}"));
            let executes: Vec<_> = rows.iter().map(|(_, execute)| *execute).collect();
            if value::columns(&mut arguments, types(&statement), &executes).is_err() {
                return Ok(None);
            }
            let components: Vec<_> = rows.iter().map(|(id, _)| id.component.as_str()).collect();
            let keys: Vec<_> = rows.iter().map(|(id, _)| id.key.0.as_slice()).collect();
            arguments.add(components).map_err(sqlx::Error::Encode)?;
            arguments.add(keys).map_err(sqlx::Error::Encode)?;
        }
        text.push_str(") SELECT component, key FROM wharf_entered");
        tracing::trace!(target: STATEMENTS, text, types = "");
        let text: Arc<str> = text.into();
        // The text says its types; the arguments only know their elements'.
        self.prepare(&text).await?;
        let rows = sqlx::query_with(AssertSqlSafe(text), arguments).fetch_all(&mut self.connection);
        let rows = in_time(self.patience, rows).await?;
        Ok(Some(rows.into_iter().map(Row::Postgres).collect()))
    }
}

/// Somebody holds a table or row, it took too long, or a rule does not let it stand in WITH.
fn is_better_in_steps(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| ["55P03", "57014", "0A000"].contains(&&*code))
}

/// Adds a statement of the ledger's own, and its parameters.
fn with_rows(
    text: &mut String,
    arguments: &mut PgArguments,
    (sql, rows): (&str, Rows<'_>),
) -> Result<(), sqlx::Error> {
    let source = Some((&rows, arguments.len() + 1));
    text.push_str(&render(sql, Database::Postgres, source));
    rows.bind(arguments).map_err(sqlx::Error::Encode)
}
