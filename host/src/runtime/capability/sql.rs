//! `wharf:worker/sql`: named statements of the manifest. `query` reads now, `execute` becomes an
//! effect. The statements were checked when the component was loaded; the parameters come from the
//! guest and are checked here.

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::component::{HasData, Linker};

use super::Refusals;
use crate::effect::{Effect, Execute, SqlRow, SqlValue};
use crate::grant::{self, Permitted};
use crate::manifest::{Manifest, StatementKind};
use crate::runtime::invoke::Run;
use crate::runtime::limits::Effects;
use crate::runtime::recording::{ReadCall, Transcript};
use crate::runtime::world::wharf::worker::sql::{self, Row, SqlError, Value};
use crate::runtime::{ReadError, Reads, text};

pub fn link(linker: &mut Linker<Run>) -> wasmtime::Result<()> {
    sql::add_to_linker::<Run, Linked>(linker, |run| View {
        manifest: &run.loaded.manifest,
        statements: &run.loaded.statements,
        reads: &run.call.reads,
        effects: &mut run.effects,
        refusals: &mut run.refusals,
        transcript: &mut run.transcript,
    })
}

struct Linked;

impl HasData for Linked {
    type Data<'a> = View<'a>;
}

struct View<'a> {
    manifest: &'a Manifest,
    statements: &'a HashMap<String, (StatementKind, Permitted)>,
    reads: &'a Arc<dyn Reads>,
    effects: &'a mut Effects,
    refusals: &'a mut Refusals,
    transcript: &'a mut Transcript,
}

impl sql::Host for View<'_> {
    async fn query(
        &mut self,
        statement: String,
        params: Vec<Value>,
    ) -> wasmtime::Result<Result<Vec<Row>, SqlError>> {
        let call = self.call(&statement, StatementKind::Query, params);
        let (permitted, params, _) = match call {
            Ok(call) => call,
            Err(error) => return Ok(Err(error)),
        };
        self.transcript.asked(|| ReadCall::Query { statement, params: params.clone() });
        let waiting = self.refusals.waiting.begin();
        let rows = self.reads.query(permitted.sql.clone(), params, waiting.clone()).await;
        waiting.taken_up();
        self.transcript.rows(&rows);
        Ok(rows.map(|rows| rows.into_iter().map(row).collect()).map_err(|error| match error {
            away @ ReadError::Unavailable(_) => SqlError::Unavailable(self.refusals.away(away)),
            ReadError::Failed(text) => SqlError::Failed(text),
        }))
    }

    fn execute(
        &mut self,
        statement: String,
        params: Vec<Value>,
        expect: Option<u64>,
    ) -> wasmtime::Result<Result<(), SqlError>> {
        let (permitted, params, size) = match self.call(&statement, StatementKind::Execute, params)
        {
            Ok(call) => call,
            Err(error) => return Ok(Err(error)),
        };
        let many = self.manifest.sql.get(&statement).is_some_and(|statement| statement.many);
        if many && expect.is_some() {
            let text = format!("`{statement}` is declared `many`, so it takes no `expect`");
            return Ok(Err(SqlError::Invalid(text)));
        }
        let execute = Execute {
            statement,
            sql: permitted.sql.clone(),
            many: permitted.many.clone(),
            params,
            expect,
        };
        self.effects.record(Effect::Execute(execute), size)?;
        Ok(Ok(()))
    }
}

impl<'a> View<'a> {
    /// The statement with its parameters, and about how many bytes those hold.
    fn call(
        &mut self,
        name: &str,
        kind: StatementKind,
        params: Vec<Value>,
    ) -> Result<(&'a Permitted, Vec<SqlValue>, usize), SqlError> {
        let found = self.statements.get(name).filter(|(is, _)| *is == kind);
        let Some((_, permitted)) = found else {
            let why = grant::no_statement(self.manifest, name, kind);
            return Err(SqlError::Denied(self.refusals.denied(&why)));
        };
        if params.len() != permitted.params {
            let (wants, got) = (permitted.params, params.len());
            return Err(SqlError::Invalid(format!("`{name}` takes {wants} parameters, not {got}")));
        }
        let params = params.into_iter().enumerate().map(|(index, param)| {
            value(param).map_err(|what| {
                SqlError::Invalid(format!("parameter ${} of `{name}` {what}", index + 1))
            })
        });
        let params = params.collect::<Result<Vec<_>, _>>()?;
        let size = params.iter().map(SqlValue::size).sum();
        Ok((permitted, params, size))
    }
}

fn value(value: Value) -> Result<SqlValue, String> {
    Ok(match value {
        Value::Null => SqlValue::Null,
        Value::Boolean(value) => SqlValue::Bool(value),
        Value::Integer(value) => SqlValue::Integer(value),
        Value::Float(value) if value.is_finite() => SqlValue::Float(value),
        Value::Float(value) => return Err(format!("is {value}, which no database keeps")),
        Value::Text(value) => SqlValue::Text(value),
        Value::Bytes(value) => SqlValue::Bytes(value),
        Value::Json(value) => text::json(&value).map(|()| SqlValue::Json(value))?,
        Value::Timestamp(value) => text::time(&value).map(|_| SqlValue::Timestamp(value))?,
    })
}

fn row(row: SqlRow) -> Row {
    let columns = row.into_iter().map(|(name, value)| {
        let value = match value {
            SqlValue::Null => Value::Null,
            SqlValue::Bool(value) => Value::Boolean(value),
            SqlValue::Integer(value) => Value::Integer(value),
            SqlValue::Float(value) => Value::Float(value),
            SqlValue::Text(value) => Value::Text(value),
            SqlValue::Bytes(value) => Value::Bytes(value),
            SqlValue::Json(value) => Value::Json(value),
            SqlValue::Timestamp(value) => Value::Timestamp(value),
        };
        (name, value)
    });
    Row { columns: columns.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_from_a_guest_are_checked() {
        assert_eq!(value(Value::Json("[1]".into())), Ok(SqlValue::Json("[1]".into())));
        for bad in [
            Value::Float(f64::NAN),
            Value::Float(f64::INFINITY),
            Value::Json("[".into()),
            Value::Timestamp("2026-01-01".into()),
        ] {
            assert!(value(bad.clone()).is_err(), "{bad:?}");
        }
    }
}
