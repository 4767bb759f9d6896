//! What is checked must be what runs. The check reads SQL with sqlparser, and a database reads it with
//! a tokenizer of its own; where the two could see different statements in one text, it is refused.

mod postgres;
mod sqlite;

use sqlparser::dialect::Dialect;
use sqlparser::tokenizer::{Token, Tokenizer, Whitespace};

use crate::manifest::Database;

/// Why the database might read `sql` otherwise than sqlparser does.
pub fn check(sql: &str, dialect: &dyn Dialect, database: Database) -> Result<(), String> {
    if sql.contains('\0') || sql.replace("\r\n", "\n").contains('\r') {
        return Err("it holds a zero byte or a lone carriage return; remove it".into());
    }
    let tokens = Tokenizer::new(dialect, sql).tokenize().map_err(|error| error.to_string())?;
    if tokens.iter().any(is_nested) {
        return Err("a comment holds /*, and not every database takes comments in comments".into());
    }
    match database {
        Database::Sqlite => sqlite::check(&tokens),
        Database::Postgres => postgres::check(&tokens),
    }
}

/// Whether a comment stands after the `;`, where a statement has one: what runs may have a statement
/// within another, without its end.
pub fn runs_on(sql: &str, dialect: &dyn Dialect) -> bool {
    let tokens = Tokenizer::new(dialect, sql).tokenize().unwrap_or_default();
    let after = tokens.iter().skip_while(|token| **token != Token::SemiColon);
    after.into_iter().any(|token| {
        matches!(
            token,
            Token::Whitespace(
                Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_)
            )
        )
    })
}

fn is_nested(token: &Token) -> bool {
    matches!(token, Token::Whitespace(Whitespace::MultiLineComment(text)) if text.contains("/*"))
}

/// Each token with the one that follows it.
fn pairs(tokens: &[Token]) -> impl Iterator<Item = (&Token, Option<&Token>)> {
    tokens.iter().zip(tokens.iter().skip(1).map(Some).chain([None]))
}
