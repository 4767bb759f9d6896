//! What a migration may say: tables, indexes and columns that are plainly added. A part that is
//! not known here is refused, for it might reach further.

use std::collections::BTreeMap;

use sqlparser::ast::helpers::stmt_create_table::CreateTableBuilder;
use sqlparser::ast::{
    AlterTable, AlterTableOperation, ColumnDef, ColumnOption, CreateIndex, CreateTable, Expr,
    Ident, IndexColumn, ObjectName, Statement, TableConstraint,
};

use super::table_name;
use crate::manifest::{Access, Database};

/// The table that the statement adds or adds to, and those that it references, with the grant that
/// each takes. Making what is not there, and only then, takes nothing from who owns it: shared
/// migrations do so, and for that a grant to read is enough.
pub fn tables(
    statement: &Statement,
    database: Database,
) -> Result<BTreeMap<String, Access>, String> {
    let (table, access, referenced) = match statement {
        Statement::CreateTable(create) if is_plain_table(create) => {
            let mut named: Vec<_> = create.columns.iter().flat_map(references).collect();
            named.extend(create.constraints.iter().filter_map(referenced));
            (&create.name, if_absent(create.if_not_exists), named)
        }
        // An index is named among the tables.
        Statement::CreateIndex(index) if is_plain_index(index) => {
            index.name.iter().try_for_each(|name| not_reserved(name, database))?;
            let access = if_absent(index.if_not_exists && is_harmless(index));
            (&index.table_name, access, Vec::new())
        }
        Statement::AlterTable(alter) => match added(alter) {
            Some(columns) => {
                let named = columns.into_iter().flat_map(references).collect();
                (&alter.name, Access::Write, named)
            }
            None => return Err(refusal(statement)),
        },
        _ => return Err(refusal(statement)),
    };
    let mut tables = BTreeMap::from([(table_name(table, database)?, access)]);
    for name in referenced {
        tables.insert(table_name(name, database)?, Access::Write);
    }
    Ok(tables)
}

/// The columns that it adds.
pub fn columns(statement: &Statement) -> Vec<&ColumnDef> {
    match statement {
        Statement::CreateTable(create) => create.columns.iter().collect(),
        Statement::AlterTable(alter) => added(alter).unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn if_absent(only_then: bool) -> Access {
    if only_then { Access::Read } else { Access::Write }
}

fn refusal(statement: &Statement) -> String {
    let shown: String = statement.to_string().chars().take(60).collect();
    format!("`{shown}`: migrations only add; use plain CREATE TABLE, CREATE INDEX or ADD COLUMN")
}

/// Whether it says nothing but a name, columns and constraints.
fn is_plain_table(create: &CreateTable) -> bool {
    let plain = CreateTableBuilder::new(create.name.clone())
        .if_not_exists(create.if_not_exists)
        .columns(create.columns.clone())
        .constraints(create.constraints.clone())
        .hive_formats(create.hive_formats.clone())
        .without_rowid(create.without_rowid)
        .strict(create.strict)
        .build();
    plain == *create
        && create.columns.iter().all(is_plain_column)
        && create.constraints.iter().all(is_plain_constraint)
}

/// A constraint may be named, and its index is named as it is.
fn is_plain_constraint(constraint: &TableConstraint) -> bool {
    let name = match constraint {
        TableConstraint::Unique(unique) => &unique.name,
        TableConstraint::PrimaryKey(key) => &key.name,
        TableConstraint::ForeignKey(key) => &key.name,
        TableConstraint::Check(check) => &check.name,
        TableConstraint::Index(_)
        | TableConstraint::FulltextOrSpatial(_)
        | TableConstraint::PrimaryKeyUsingIndex(_)
        | TableConstraint::UniqueUsingIndex(_)
        | TableConstraint::Exclude(_) => return false,
    };
    name.iter().all(is_free)
}

fn is_free(name: &Ident) -> bool {
    !crate::name::is_reserved_table(&name.value.to_ascii_lowercase())
}

fn is_plain_index(index: &CreateIndex) -> bool {
    // One that is built concurrently cannot be taken back with the rest.
    let is_part = !index.concurrently && !index.r#async;
    let classes = index.columns.iter().filter_map(|column| column.operator_class.as_ref());
    let plain_classes = classes.into_iter().all(|class| class.0.len() == 1);
    is_part
        && plain_classes
        && index.with.is_empty()
        && index.index_options.is_empty()
        && index.alter_options.is_empty()
}

/// A unique one could refuse rows, and one over an expression could fail on them.
fn is_harmless(index: &CreateIndex) -> bool {
    let plain = |column: &IndexColumn| {
        column.operator_class.is_none() && matches!(column.column.expr, Expr::Identifier(_))
    };
    !index.unique && index.predicate.is_none() && index.columns.iter().all(plain)
}

fn not_reserved(name: &ObjectName, database: Database) -> Result<(), String> {
    let name = table_name(name, database)?;
    if crate::name::is_reserved_table(&name) {
        return Err(format!("index `{name}` is named as the host's own are; change its name"));
    }
    Ok(())
}

/// The columns that are added; `None` when anything else is altered.
fn added(alter: &AlterTable) -> Option<Vec<&ColumnDef>> {
    if alter.location.is_some() || alter.on_cluster.is_some() || alter.table_type.is_some() {
        return None;
    }
    alter.operations.iter().map(added_column).collect()
}

fn added_column(operation: &AlterTableOperation) -> Option<&ColumnDef> {
    match operation {
        AlterTableOperation::AddColumn { column_def, .. } => {
            is_plain_column(column_def).then_some(column_def)
        }
        _ => None,
    }
}

fn is_plain_column(column: &ColumnDef) -> bool {
    column.options.iter().all(|option| {
        option.name.iter().all(is_free)
            && matches!(
                option.option,
                ColumnOption::Null
                | ColumnOption::NotNull
                | ColumnOption::Default(_)
                | ColumnOption::PrimaryKey(_)
                | ColumnOption::Unique(_)
                | ColumnOption::ForeignKey(_)
                | ColumnOption::Check(_)
                | ColumnOption::Collation(_)
                | ColumnOption::Generated { .. }
                | ColumnOption::OnConflict(_)
                // Such as AUTOINCREMENT.
                | ColumnOption::DialectSpecific(_)
            )
    })
}

fn references(column: &ColumnDef) -> impl Iterator<Item = &ObjectName> {
    column.options.iter().filter_map(|option| match &option.option {
        ColumnOption::ForeignKey(key) => Some(&key.foreign_table),
        _ => None,
    })
}

fn referenced(constraint: &TableConstraint) -> Option<&ObjectName> {
    match constraint {
        TableConstraint::ForeignKey(key) => Some(&key.foreign_table),
        _ => None,
    }
}
