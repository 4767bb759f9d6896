//! What is checked must be what runs. The check reads SQL with sqlparser, and SQLite reads it with a
//! tokenizer of its own; where the two could see different statements in one text, it is refused.

use sqlparser::dialect::SQLiteDialect;
use sqlparser::tokenizer::{Token, Tokenizer, Whitespace};

/// Why SQLite might read `sql` otherwise than sqlparser does.
pub fn check(sql: &str) -> Result<(), String> {
    if sql.contains('\0') || sql.replace("\r\n", "\n").contains('\r') {
        return Err("it holds a zero byte or a lone carriage return; remove it".into());
    }
    let tokens = Tokenizer::new(&SQLiteDialect {}, sql).tokenize();
    let tokens = tokens.map_err(|error| error.to_string())?;
    for (token, next) in tokens.iter().zip(tokens.iter().skip(1).map(Some).chain([None])) {
        if let Some(why) = foreign(token) {
            return Err(format!("`{token}`: {why}"));
        }
        // SQLite takes more into a parameter's name: `$1::x(…)` and `$1(…)` are names to it.
        if let (Token::Placeholder(_), Some(next)) = (token, next)
            && !ends_a_name(next)
        {
            return Err(format!("`{token}{next}`: put a space behind the parameter"));
        }
    }
    Ok(())
}

fn foreign(token: &Token) -> Option<&'static str> {
    match token {
        Token::DoubleColon => Some("SQLite has no `::`; write CAST(… AS …)"),
        Token::Whitespace(Whitespace::MultiLineComment(text)) if text.contains("/*") => {
            Some("comments do not nest in SQLite")
        }
        Token::DollarQuotedString(_)
        | Token::QuoteDelimitedStringLiteral(_)
        | Token::NationalQuoteDelimitedStringLiteral(_)
        | Token::NationalStringLiteral(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::TripleSingleQuotedString(_)
        | Token::TripleDoubleQuotedString(_)
        | Token::SingleQuotedByteStringLiteral(_)
        | Token::DoubleQuotedByteStringLiteral(_)
        | Token::TripleSingleQuotedByteStringLiteral(_)
        | Token::TripleDoubleQuotedByteStringLiteral(_)
        | Token::SingleQuotedRawStringLiteral(_)
        | Token::DoubleQuotedRawStringLiteral(_)
        | Token::TripleSingleQuotedRawStringLiteral(_)
        | Token::TripleDoubleQuotedRawStringLiteral(_) => {
            Some("SQLite has no such string; write '…'")
        }
        _ => None,
    }
}

fn ends_a_name(token: &Token) -> bool {
    !matches!(
        token,
        // `::` is refused by itself.
        Token::Word(_)
            | Token::Number(..)
            | Token::Placeholder(_)
            | Token::LParen
            | Token::Colon
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
    )
}
