//! What nobody may see: tokens, and addresses that may hold one. Neither errors nor what is printed
//! shows them.

use figment::error::Kind;
use figment::value::UncasedStr;

use super::Config;

/// What no error may show: tokens, and an address that may hold one.
const HIDDEN: [&str; 5] =
    ["ingress.token", "admin.token", "dapr.token", "dapr.notify_url", "ledger.url"];

pub fn is_hidden(key: &UncasedStr) -> bool {
    HIDDEN.iter().any(|hidden| key == *hidden)
}

/// Takes what must not be shown out of an error.
fn hidden(mut error: figment::Error) -> figment::Error {
    let key = error.path.join(".");
    let is_section =
        !key.is_empty() && HIDDEN.iter().any(|one| one.starts_with(&format!("{key}.")));
    error.kind = match error.kind {
        Kind::InvalidType(..) | Kind::InvalidValue(..) if HIDDEN.contains(&key.as_str()) => {
            Kind::Message("it is not text; put it in quotes".to_owned())
        }
        Kind::InvalidType(..) | Kind::InvalidValue(..) if is_section => {
            Kind::Message("it is not a section; name one of its keys".to_owned())
        }
        Kind::Message(text) => Kind::Message(without_excerpt(&text)),
        kind => kind,
    };
    error
}

/// Without the line of the file that a parser shows: a token may stand in it.
fn without_excerpt(text: &str) -> String {
    let is_excerpt = |line: &str| {
        let rest = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
        rest.trim_start().starts_with('|')
    };
    let lines: Vec<_> = text.lines().filter(|line| !is_excerpt(line)).collect();
    lines.join(": ")
}

/// Says which variable, and what one looks like.
pub fn named(error: figment::Error) -> Box<figment::Error> {
    let mut error = hidden(error);
    let is_variable = error.metadata.as_ref().is_some_and(|from| from.name.contains("environment"));
    if !is_variable || error.path.is_empty() {
        return Box::new(error);
    }
    let name = format!("WHARF_{}", error.path.join("__").to_uppercase());
    let is_address = error.path.last().is_some_and(|key| key == "address");
    let text = match std::mem::replace(&mut error.kind, Kind::Message(String::new())) {
        Kind::UnknownField(_, known) => {
            format!("{name} is no setting; its section has {}", known.join(", "))
        }
        kind if is_address => format!("{name}: {kind}; give one such as 127.0.0.1:3501"),
        kind => format!("{name}: {kind}"),
    };
    Box::new(figment::Error::from(text))
}

/// Puts a mark in place of what is set and may not be seen.
pub fn hide(config: &mut Config) {
    let Config { ingress, admin, dapr, ledger, .. } = config;
    let hidden = [
        &mut ingress.token,
        &mut admin.token,
        &mut dapr.token,
        &mut dapr.notify_url,
        &mut ledger.url,
    ];
    for value in hidden.into_iter().flatten() {
        "(hidden)".clone_into(value);
    }
}
