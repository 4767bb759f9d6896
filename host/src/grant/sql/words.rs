//! What PostgreSQL takes names and types for. sqlparser reads a word as a name where PostgreSQL may
//! read it as its own, and then sees another table: to one, `FROM only x` reads the table `only`.

use sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, DataType, Expr, Ident, ObjectName, ObjectNamePart,
    TypedString,
};

/// PostgreSQL's reserved words, without those that may call a function: `current_date`, `left` and
/// their like; and without `default`, which stands for a value.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "binary",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_role",
    "current_schema",
    "current_user",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "group",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "intersect",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "like",
    "limit",
    "natural",
    "not",
    "notnull",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "outer",
    "overlaps",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "session_user",
    "similar",
    "some",
    "symmetric",
    "system_user",
    "table",
    "tablesample",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
];

/// Whether the name, as it is written, is no name to PostgreSQL.
pub fn is_taken(name: &Ident) -> bool {
    let is_reserved = |word: &str| RESERVED.contains(&word);
    name.quote_style.is_none() && is_reserved(name.value.to_ascii_lowercase().as_str())
}

/// What an expression says beside tables and functions: operators of a schema, and types.
pub fn of_expr(expr: &Expr) -> Result<(), String> {
    match expr {
        Expr::BinaryOp { op, .. } => operator(op),
        Expr::AnyOp { compare_op, .. } | Expr::AllOp { compare_op, .. } => operator(compare_op),
        Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. }) => {
            data_type_is_plain(data_type)
        }
        _ => Ok(()),
    }
}

fn operator(op: &BinaryOperator) -> Result<(), String> {
    match op {
        BinaryOperator::PGCustomBinaryOperator(_) | BinaryOperator::Custom(_) => {
            Err(format!("`{op}`: use the operators that PostgreSQL has by itself, as they are"))
        }
        _ => Ok(()),
    }
}

/// Types whose values are looked up in the catalog, and so tell what is there; and those of which a
/// value can be of any length that a number says.
const REFUSED: [&str; 15] = [
    "aclitem",
    "bit",
    "cstring",
    "refcursor",
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
];

/// A type of PostgreSQL's own that holds values, or one by its name alone, such as an enum of the
/// database's owner.
pub fn data_type_is_plain(data_type: &DataType) -> Result<(), String> {
    let is_plain = match data_type {
        DataType::Array(
            ArrayElemTypeDef::SquareBracket(of, _) | ArrayElemTypeDef::AngleBracket(of),
        ) => return data_type_is_plain(of),
        DataType::Custom(name, _) => is_plain_name(name),
        DataType::Character(_)
        | DataType::Char(_)
        | DataType::CharacterVarying(_)
        | DataType::Varchar(_)
        | DataType::Text
        | DataType::Uuid
        | DataType::Numeric(_)
        | DataType::Decimal(_)
        | DataType::Dec(_)
        | DataType::Float(_)
        | DataType::Float4
        | DataType::Float8
        | DataType::Real
        | DataType::DoublePrecision
        | DataType::SmallInt(_)
        | DataType::Int2(_)
        | DataType::Int(_)
        | DataType::Int4(_)
        | DataType::Integer(_)
        | DataType::BigInt(_)
        | DataType::Int8(_)
        | DataType::Bool
        | DataType::Boolean
        | DataType::Date
        | DataType::Time(..)
        | DataType::Timestamp(..)
        | DataType::Interval { .. }
        | DataType::JSON
        | DataType::JSONB
        | DataType::Bytea => true,
        _ => false,
    };
    if is_plain {
        return Ok(());
    }
    Err(format!("type `{data_type}` is not allowed; use one that holds a value, without a schema"))
}

fn is_plain_name(name: &ObjectName) -> bool {
    let [ObjectNamePart::Identifier(name)] = name.0.as_slice() else { return false };
    let name = name.value.to_ascii_lowercase();
    !REFUSED.contains(&name.as_str()) && !crate::name::is_reserved_table(&name)
}
