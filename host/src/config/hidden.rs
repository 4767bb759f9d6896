//! What nobody may see: tokens, and addresses that may hold one. Neither errors nor what is printed
//! shows them.

use figment::error::Kind;
use figment::value::UncasedStr;

use super::Config;
use super::variable::beginning_with;
use crate::problem::nearest;

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

/// Says which variable, or which key of the file, and what one looks like.
pub fn named(error: figment::Error) -> Box<figment::Error> {
    let mut error = hidden(error);
    let is_variable = error.metadata.as_ref().is_some_and(|from| from.name.contains("environment"));
    let place = error.path.join(".");
    let known = match &error.kind {
        // It says both, and the nearest: figment's own words for it list the keys alone.
        Kind::UnknownField(key, known) => Some(unknown(key, known, &error.path, is_variable)),
        _ => None,
    };
    if !is_variable {
        if let Some(text) = known {
            error.kind = Kind::Message(text);
        }
        return Box::new(error);
    }
    if place.is_empty() {
        return Box::new(error);
    }
    let name = variable_of(&place);
    let is_address = error.path.last().is_some_and(|key| key == "address");
    let text = match (known, std::mem::replace(&mut error.kind, Kind::Message(String::new()))) {
        (Some(text), _) => text,
        (None, kind) if is_address => format!("{name}: {kind}; give one such as 127.0.0.1:3501"),
        (None, kind) => format!("{name}: {kind}"),
    };
    Box::new(figment::Error::from(text))
}

/// What is no setting, and the one that was most likely meant.
fn unknown(key: &str, known: &[&str], path: &[String], is_variable: bool) -> String {
    let all = settings();
    if is_variable {
        // Of a section that there is not, figment knows the section alone.
        let name = variable_of(&path.join("."));
        let name = beginning_with(&format!("{name}__")).unwrap_or(name);
        let setting = name.trim_start_matches("WHARF_").to_lowercase().replace("__", ".");
        // One `_` instead of two is the slip that is made most often.
        let flat = |setting: &str| setting.replace('.', "_");
        let same = all.iter().find(|other| flat(other) == flat(&setting)).map(String::as_str);
        let meant = same.or_else(|| nearest(&setting, all.iter().map(String::as_str)));
        return match meant.map(variable_of) {
            Some(meant) => format!("{name} is no setting; did you mean {meant}?"),
            None => format!("{name} is no setting; its section has {}", known.join(", ")),
        };
    }
    let of_section = all.iter().filter_map(|setting| setting.split_once('.'));
    let mut elsewhere = of_section.filter(|(_, setting)| *setting == key);
    let elsewhere = elsewhere.next().map(|(section, _)| format!("{key}` under `[{section}]"));
    let alike = || nearest(key, known.iter().copied()).map(str::to_owned);
    match elsewhere.or_else(alike) {
        Some(meant) => format!("`{key}` is no setting; did you mean `{meant}`?"),
        None => format!("`{key}` is no setting; its section has {}", known.join(", ")),
    }
}

fn variable_of(setting: &str) -> String {
    format!("WHARF_{}", setting.replace('.', "__").to_uppercase())
}

/// Every setting, such as `ingress.address`.
fn settings() -> Vec<String> {
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    let sections = defaults.as_object().into_iter().flatten();
    sections
        .flat_map(|(section, value)| match value.as_object() {
            Some(keys) => keys.keys().map(|key| format!("{section}.{key}")).collect(),
            None => vec![section.clone()],
        })
        .collect()
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
