//! What SQLite's tokenizer reads otherwise.

use sqlparser::tokenizer::Token;

use super::pairs;

pub fn check(tokens: &[Token]) -> Result<(), String> {
    for (token, next) in pairs(tokens) {
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
