//! What PostgreSQL's scanner reads otherwise. Only tokens about which both agree are let through:
//! names of ASCII letters, strings without escapes, and operators that are built in.

use sqlparser::tokenizer::{Token, Whitespace, Word};

use super::pairs;

/// PostgreSQL cuts longer names off: two of them may mean one table.
const LONGEST_NAME: usize = 63;

pub fn check(tokens: &[Token]) -> Result<(), String> {
    for (token, next) in pairs(tokens) {
        if let Some(why) = foreign(token) {
            return Err(format!("`{token}`: {why}"));
        }
        if let Some(next) = next
            && runs_on(token, next)
        {
            return Err(format!("`{token}{next}`: put a space between them"));
        }
    }
    Ok(())
}

fn foreign(token: &Token) -> Option<&'static str> {
    match token {
        Token::Word(word) => foreign_word(word),
        // Where `standard_conforming_strings` is off, the string would not end there.
        Token::SingleQuotedString(text) if ends_otherwise(text) => {
            Some("a backslash before a quote may hide it; write chr(92) || '…'")
        }
        Token::Number(digits, long) if *long || digits.contains('_') => {
            Some("write numbers with digits alone")
        }
        Token::Placeholder(_)
        | Token::SingleQuotedString(_)
        | Token::Number(..)
        | Token::Whitespace(_)
        | Token::Comma
        | Token::LParen
        | Token::RParen
        | Token::LBracket
        | Token::RBracket
        | Token::Period
        | Token::SemiColon
        | Token::DoubleColon => None,
        token if is_operator(token) => None,
        Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::NationalStringLiteral(_)
        | Token::SingleQuotedByteStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::DollarQuotedString(_) => Some("write strings as '…'"),
        _ => Some("this is not allowed in SQL; use the operators and strings that are plain"),
    }
}

fn foreign_word(word: &Word) -> Option<&'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if word.value.len() > LONGEST_NAME {
        return Some("names have at most 63 bytes");
    }
    match word.quote_style {
        Some('"') => None,
        None if word.value.chars().all(is_plain) => None,
        _ => Some("name it with ASCII letters, digits and _, or between \"…\""),
    }
}

/// Whether an odd number of backslashes stands before a quote, or before the end.
fn ends_otherwise(text: &str) -> bool {
    let before_quotes = text.split('\'');
    before_quotes.into_iter().any(|part| (part.len() - part.trim_end_matches('\\').len()) % 2 == 1)
}

/// Those of PostgreSQL's own that sqlparser knows by themselves; a comment cannot hide in them.
fn is_operator(token: &Token) -> bool {
    matches!(
        token,
        Token::Eq
            | Token::Neq
            | Token::Lt
            | Token::Gt
            | Token::LtEq
            | Token::GtEq
            | Token::Plus
            | Token::Minus
            | Token::Mul
            | Token::Div
            | Token::Mod
            | Token::Caret
            | Token::Ampersand
            | Token::Pipe
            | Token::StringConcat
            | Token::Tilde
            | Token::TildeAsterisk
            | Token::ExclamationMarkTilde
            | Token::ExclamationMarkTildeAsterisk
            | Token::Arrow
            | Token::LongArrow
            | Token::HashArrow
            | Token::HashLongArrow
            | Token::HashMinus
            | Token::AtArrow
            | Token::ArrowAt
            | Token::AtAt
            | Token::AtQuestion
            | Token::Question
            | Token::QuestionAnd
            | Token::QuestionPipe
            | Token::Overlap
    )
}

/// Whether PostgreSQL takes the two for other tokens than sqlparser does.
fn runs_on(token: &Token, next: &Token) -> bool {
    let names =
        |token: &Token| matches!(token, Token::Word(_) | Token::Number(..) | Token::Placeholder(_));
    let is_string = matches!(next, Token::SingleQuotedString(_));
    let is_comment = matches!(
        next,
        Token::Whitespace(Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_))
    );
    // `a$1` is a name, `e'…'` an escaped string, `U&"…"` a name in disguise, and `+--` no operator.
    names(token) && (names(next) || is_string)
        || matches!((token, next), (Token::Word(word), Token::Ampersand)
            if word.value.eq_ignore_ascii_case("u"))
        || is_operator(token) && (is_operator(next) && !is_sign(next) || is_comment)
}

/// `a >= -1` may be written without a space.
fn is_sign(token: &Token) -> bool {
    matches!(token, Token::Minus | Token::Plus)
}
