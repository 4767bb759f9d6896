//! Which tables a statement touches, and how. What cannot be told for certain is refused.

mod addition;
mod functions;
mod many;
mod plain;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use sqlparser::ast::{
    Delete, Expr, FromTable, Insert, ObjectName, ObjectNamePart, Query, SetExpr, Statement,
    TableFactor, TableObject, TableWithJoins, Value, ValueWithSpan, Visit as _, Visitor,
};
use sqlparser::dialect::{Dialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::Parser;

use crate::effect::Many;
use crate::manifest::{Access, Database, StatementKind};

/// A statement's tables and number of parameters.
pub struct Parsed {
    pub tables: BTreeMap<String, Access>,
    pub params: usize,
    /// For a statement that is declared `many`, where its rows can share a statement.
    pub many: Option<Many>,
}

/// One statement of a migration, and the tables that it ties: the one that it adds or adds to, and
/// those that it references, whose rows a reference holds fast.
pub struct Addition {
    pub tables: BTreeMap<String, Access>,
    pub sql: String,
}

pub fn parse_statement(
    sql: &str,
    kind: StatementKind,
    many: bool,
    database: Database,
) -> Result<Parsed, String> {
    let statements = parse(sql, database)?;
    let [statement] = statements.as_slice() else {
        return Err("exactly one statement is allowed".into());
    };
    if many && !many::is_plain_insert(statement) {
        return Err("`many` needs a plain INSERT … VALUES (…) [ON CONFLICT DO NOTHING]".into());
    }
    let target = match kind {
        StatementKind::Query => query_only(statement).map(|()| None)?,
        StatementKind::Execute => Some(target(statement)?),
    };
    let mut reach = Reach::default();
    if let ControlFlow::Break(message) = statement.visit(&mut reach) {
        return Err(message);
    }
    let mut tables: BTreeMap<_, _> =
        reach.tables.into_iter().map(|table| (table, Access::Read)).collect();
    if let Some(target) = target {
        tables.insert(target, Access::Write);
    }
    let params = count(&reach.params)?;
    let many = match database {
        _ if !many => None,
        Database::Sqlite => many::values(statement),
        Database::Postgres => many::unnest(statement, params),
    };
    Ok(Parsed { tables, params, many })
}

/// The number of the parameter `$<number>`.
fn number(placeholder: &str) -> Option<usize> {
    placeholder.strip_prefix('$')?.parse().ok()
}

pub fn parse_migration(text: &str, database: Database) -> Result<Vec<Addition>, String> {
    parse(text, database)?.iter().map(addition).collect()
}

fn addition(statement: &Statement) -> Result<Addition, String> {
    let tables = addition::tables(statement)?;
    let mut reach = Reach { definition: true, ..Reach::default() };
    match statement.visit(&mut reach) {
        ControlFlow::Break(message) => Err(message),
        ControlFlow::Continue(()) => Ok(Addition { tables, sql: statement.to_string() }),
    }
}

fn parse(sql: &str, database: Database) -> Result<Vec<Statement>, String> {
    let dialect: &dyn Dialect = match database {
        Database::Sqlite => {
            plain::check(sql)?;
            &SQLiteDialect {}
        }
        Database::Postgres => &PostgreSqlDialect {},
    };
    Parser::parse_sql(dialect, sql).map_err(|error| error.to_string())
}

fn query_only(statement: &Statement) -> Result<(), String> {
    match statement {
        Statement::Query(query) if query.locks.is_empty() => Ok(()),
        Statement::Query(_) => Err("a query cannot lock rows: guard with `expect`".into()),
        _ => Err("a `query` must be a SELECT; use `execute` for writing".into()),
    }
}

/// The table that a statement writes.
fn target(statement: &Statement) -> Result<String, String> {
    let name = match statement {
        Statement::Insert(Insert { table: TableObject::TableName(name), .. }) => Some(name),
        Statement::Update(update) => only_table(&update.table),
        Statement::Delete(Delete { tables, from, .. }) if tables.is_empty() => match from {
            FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from) => {
                from.first().filter(|_| from.len() == 1).and_then(only_table)
            }
        },
        _ => return Err("an `execute` must be an INSERT, UPDATE or DELETE".into()),
    };
    table_name(name.ok_or("write to one table, named directly")?)
}

fn only_table(table: &TableWithJoins) -> Option<&ObjectName> {
    match &table.relation {
        TableFactor::Table { name, args: None, .. } if table.joins.is_empty() => Some(name),
        _ => None,
    }
}

fn table_name(name: &ObjectName) -> Result<String, String> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(table)] => Ok(table.value.to_lowercase()),
        _ => Err(format!("`{name}`: name tables plainly, without a schema")),
    }
}

/// Parameters are numbered without gaps, so that a wrong count is seen before the database sees it.
fn count(params: &BTreeSet<usize>) -> Result<usize, String> {
    match (1..=params.len()).find(|number| !params.contains(number)) {
        Some(missing) => Err(format!("parameters must be $1 to $n; ${missing} is missing")),
        None => Ok(params.len()),
    }
}

/// Collects what a statement reaches.
#[derive(Default)]
struct Reach {
    /// Of a migration: nothing is read, and nothing comes in.
    definition: bool,
    tables: BTreeSet<String>,
    params: BTreeSet<usize>,
    statements: usize,
}

/// Table-valued functions that read nothing but their argument.
const PURE_TABLES: [&str; 3] = ["json_each", "json_tree", "jsonb_array_elements"];

impl Visitor for Reach {
    type Break = String;

    fn pre_visit_statement(&mut self, _: &Statement) -> ControlFlow<String> {
        self.statements += 1;
        refuse_if(self.statements > 1, || "statements cannot be nested".into())
    }

    /// A name that `WITH` gives may hide a table's in one place and not in another.
    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        refuse_if(self.definition, || "migrations only add; they cannot hold a query".into())?;
        refuse_if(query.with.is_some(), || "`WITH` is not allowed; use subqueries".into())?;
        refuse_if(!is_select(&query.body), || "only SELECT and VALUES can be nested".into())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<String> {
        let plain = match table {
            TableFactor::Table { name, args, .. } => args.is_none() || is_pure_table(name),
            TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } => true,
            _ => false,
        };
        refuse_if(!plain, || {
            format!("`{table}` is not allowed in FROM; use tables, subqueries and json_each(…)")
        })
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<String> {
        match table_name(relation) {
            Ok(name) if PURE_TABLES.contains(&name.as_str()) => {}
            Ok(name) => _ = self.tables.insert(name),
            Err(message) => return ControlFlow::Break(message),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        refuse_if(!functions::is_allowed(&function.name), || functions::refusal(&function.name))
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<String> {
        let Value::Placeholder(text) = &value.value else { return ControlFlow::Continue(()) };
        match number(text) {
            _ if self.definition => {
                return ControlFlow::Break(format!("`{text}`: a migration takes no parameters"));
            }
            Some(number @ 1..=999) => _ = self.params.insert(number),
            _ => return ControlFlow::Break(format!("`{text}`: write parameters as $1, $2, …")),
        }
        ControlFlow::Continue(())
    }
}

fn is_pure_table(name: &ObjectName) -> bool {
    table_name(name).is_ok_and(|name| PURE_TABLES.contains(&name.as_str()))
}

fn refuse_if(refuse: bool, message: impl FnOnce() -> String) -> ControlFlow<String> {
    if refuse { ControlFlow::Break(message()) } else { ControlFlow::Continue(()) }
}

fn is_select(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.into.is_none(),
        SetExpr::Query(_) | SetExpr::Values(_) => true,
        SetExpr::SetOperation { left, right, .. } => is_select(left) && is_select(right),
        _ => false,
    }
}
