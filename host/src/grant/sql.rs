//! Which tables a statement touches, and how. What cannot be told for certain is refused.

mod addition;
mod functions;
mod many;
mod plain;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use sqlparser::ast::{
    Delete, Expr, FromTable, Ident, Insert, ObjectName, ObjectNamePart, OrderByExpr, OrderBySort,
    Query, SetExpr, Statement, TableFactor, TableObject, TableWithJoins, Value, ValueWithSpan,
    Visit as _, Visitor,
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
    if plain::runs_on(sql, dialect(database)) {
        return Err("a comment stands after the `;`; put it before, or leave the `;` out".into());
    }
    if many && !many::is_plain_insert(statement) {
        return Err("`many` needs a plain INSERT … VALUES (…) [ON CONFLICT DO NOTHING]".into());
    }
    let target = match kind {
        StatementKind::Query => query_only(statement).map(|()| None)?,
        StatementKind::Execute => Some(target(statement, database)?),
    };
    let reach = Reach::of(statement, false, database)?;
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
    let addition = |statement: &Statement| {
        let tables = addition::tables(statement, database)?;
        // In SQLite a type is any words, and says little.
        if database == Database::Postgres {
            let mut types =
                addition::columns(statement).into_iter().map(|column| &column.data_type);
            types.try_for_each(words::data_type_is_plain)?;
        }
        Reach::of(statement, true, database)?;
        Ok(Addition { tables, sql: statement.to_string() })
    };
    parse(text, database)?.iter().map(addition).collect()
}

fn parse(sql: &str, database: Database) -> Result<Vec<Statement>, String> {
    let dialect = dialect(database);
    plain::check(sql, dialect, database)?;
    Parser::parse_sql(dialect, sql).map_err(|error| error.to_string())
}

fn dialect(database: Database) -> &'static dyn Dialect {
    match database {
        Database::Sqlite => &SQLiteDialect {},
        Database::Postgres => &PostgreSqlDialect {},
    }
}

fn query_only(statement: &Statement) -> Result<(), String> {
    match statement {
        Statement::Query(_) => Ok(()),
        _ => Err("a `query` must be a SELECT; use `execute` for writing".into()),
    }
}

/// The table that a statement writes.
fn target(statement: &Statement, database: Database) -> Result<String, String> {
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
    table_name(name.ok_or("write to one table, named directly")?, database)
}

fn only_table(table: &TableWithJoins) -> Option<&ObjectName> {
    match &table.relation {
        TableFactor::Table { name, args: None, .. } if table.joins.is_empty() => Some(name),
        _ => None,
    }
}

fn table_name(name: &ObjectName, database: Database) -> Result<String, String> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(table)] => Ok(folded(table, database)),
        _ => Err(format!("`{name}`: name tables plainly, without a schema")),
    }
}

/// A name as the database knows it: in PostgreSQL, `"Tasks"` is not `tasks`.
fn folded(name: &Ident, database: Database) -> String {
    match (database, name.quote_style) {
        (Database::Postgres, Some(_)) => name.value.clone(),
        (Database::Postgres, None) | (Database::Sqlite, _) => name.value.to_ascii_lowercase(),
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
struct Reach {
    /// Of a migration: nothing is read, and nothing comes in.
    definition: bool,
    database: Database,
    tables: BTreeSet<String>,
    params: BTreeSet<usize>,
    statements: usize,
}

impl Reach {
    fn of(statement: &Statement, definition: bool, database: Database) -> Result<Self, String> {
        let (tables, params) = (BTreeSet::new(), BTreeSet::new());
        let mut reach = Self { definition, database, tables, params, statements: 0 };
        match statement.visit(&mut reach) {
            ControlFlow::Break(message) => Err(message),
            ControlFlow::Continue(()) => Ok(reach),
        }
    }
}

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
        refuse_if(!query.locks.is_empty(), || {
            "a query cannot lock rows: guard with `expect`".into()
        })?;
        refuse_if(!is_select(&query.body), || "only SELECT and VALUES can be nested".into())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<String> {
        let plain = match table {
            TableFactor::Table { sample: Some(_), .. } => false,
            TableFactor::Table { name, args, .. } => {
                args.is_none() || functions::is_pure_table(name, self.database)
            }
            TableFactor::Derived { .. }
            | TableFactor::NestedJoin { .. }
            | TableFactor::UNNEST { .. } => true,
            _ => false,
        };
        refuse_if(!plain, || {
            format!("`{table}` is not allowed in FROM; use tables, subqueries and json_each(…)")
        })
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<String> {
        match table_name(relation, self.database) {
            Ok(_) if functions::is_pure_table(relation, self.database) => {}
            Ok(name) => _ = self.tables.insert(name),
            Err(message) => return ControlFlow::Break(message),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        if let Expr::Function(function) = expr {
            let is_allowed = functions::is_allowed(&function.name, self.database);
            refuse_if(!is_allowed, || functions::refusal(&function.name))?;
        }
        match (self.database, words::of_expr(expr)) {
            (Database::Postgres, Err(message)) => ControlFlow::Break(message),
            (Database::Postgres, Ok(())) | (Database::Sqlite, _) => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_ident(&mut self, name: &Ident) -> ControlFlow<String> {
        let is_taken = self.database == Database::Postgres && words::is_taken(name);
        refuse_if(is_taken, || format!("`{name}` is a word of PostgreSQL's own; quote the name"))
    }

    fn pre_visit_order_by_expr(&mut self, order: &OrderByExpr) -> ControlFlow<String> {
        let is_using = matches!(order.options.sort, Some(OrderBySort::Using(_)));
        refuse_if(is_using, || "order by ASC or DESC, not by an operator".into())
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
