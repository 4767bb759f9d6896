//! The text of an INSERT of one row for the rows of many deliveries: a round trip for each would cost
//! more than the rows do.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, Insert, OnConflictAction, OnInsert, Query, SelectItem, SetExpr, Statement, Value,
    ValueWithSpan, Values, VisitMut as _, VisitorMut,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::number;
use crate::effect::Many;

/// Whether several rows mean the same in one statement as in one each.
pub fn is_plain_insert(statement: &Statement) -> bool {
    let Statement::Insert(insert) = statement else { return false };
    let values = insert.source.as_ref().is_some_and(
        |source| matches!(&*source.body, SetExpr::Values(values) if values.rows.len() == 1),
    );
    let conflict = match &insert.on {
        None => true,
        Some(OnInsert::OnConflict(on)) => on.action == OnConflictAction::DoNothing,
        Some(_) => false,
    };
    values && conflict && insert.returning.is_none() && insert.or.is_none()
}

/// SQLite's limit on the parameters of one statement is 32,766.
const MOST_PARAMS: usize = 32_000;

/// For SQLite: the texts for 64 rows, 32, and so on down to 2, so that any number is made of a few
/// of them. `None` unless the row is of plain values: then their order in the text is certain.
pub fn values(statement: &Statement) -> Option<Many> {
    let mut statement = statement.clone();
    let mut order = Vec::new();
    let values = values_of(&mut statement)?;
    for expr in values.rows.first_mut()?.iter_mut() {
        let Expr::Value(ValueWithSpan { value, .. }) = expr else { return None };
        if let Value::Placeholder(text) = value {
            order.push(number(text)?.checked_sub(1)?);
            *text = "?".into();
        }
    }
    let row = values.rows.first()?.clone();
    let mut texts = Vec::new();
    for rows in (1..=6).rev().map(|power| 1 << power) {
        if rows * order.len() <= MOST_PARAMS {
            values_of(&mut statement)?.rows = vec![row.clone(); rows];
            texts.push((rows, statement.to_string().into()));
        }
    }
    Some(Many::Values { texts, order })
}

fn values_of(statement: &mut Statement) -> Option<&mut Values> {
    let Statement::Insert(Insert { source: Some(source), .. }) = statement else { return None };
    let SetExpr::Values(values) = &mut *source.body else { return None };
    Some(values)
}

/// Stands where the arrays come in.
const ARRAYS: &str = "\"the arrays\"";

/// For PostgreSQL: the row as a SELECT from the arrays of its parameters' values. `None` when it has
/// no parameter, or something of it would not mean the same there.
pub fn unnest(statement: &Statement, params: usize) -> Option<Many> {
    let mut statement = statement.clone();
    let mut columns = Columns::default();
    let values = values_of(&mut statement)?;
    let mut row = values.rows.first()?.to_vec();
    if row.iter().any(is_default) || row.visit(&mut columns).is_break() {
        return None;
    }
    // One that stands elsewhere, such as in the condition of ON CONFLICT, is no column there.
    if params == 0 || columns.found.len() != params {
        return None;
    }
    let select = format!("SELECT FROM {ARRAYS}");
    let mut parsed = Parser::parse_sql(&PostgreSqlDialect {}, &select).ok()?;
    let Some(Statement::Query(mut query)) = parsed.pop() else { return None };
    let SetExpr::Select(select) = &mut *query.body else { return None };
    select.projection = row.into_iter().map(SelectItem::UnnamedExpr).collect();
    let Statement::Insert(insert) = &mut statement else { return None };
    insert.source = Some(query);
    let text = statement.to_string();
    let (head, tail) = text.split_once(ARRAYS).filter(|(_, tail)| !tail.contains(ARRAYS))?;
    Some(Many::Unnest { head: head.into(), tail: tail.into() })
}

/// `DEFAULT` is a word of VALUES alone.
fn is_default(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(Ident { value, quote_style: None, .. })
        if value.eq_ignore_ascii_case("default"))
}

/// Puts columns of `r` in the place of parameters.
#[derive(Default)]
struct Columns {
    found: BTreeSet<usize>,
}

impl VisitorMut for Columns {
    type Break = ();

    /// In a subquery, `r` could be another table.
    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Value(ValueWithSpan { value: Value::Placeholder(text), .. }) = expr else {
            return ControlFlow::Continue(());
        };
        let Some(number) = number(text) else { return ControlFlow::Break(()) };
        self.found.insert(number);
        *expr = Expr::CompoundIdentifier(vec![Ident::new("r"), Ident::new(format!("p{number}"))]);
        ControlFlow::Continue(())
    }
}
