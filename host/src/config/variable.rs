//! The environment: the one place that reads it.

/// An environment variable; an empty one counts as unset.
#[expect(clippy::disallowed_methods, reason = "configuration is read in this file")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The name of a variable that is set and begins like this.
pub fn beginning_with(start: &str) -> Option<String> {
    std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .find(|name| name.to_uppercase().starts_with(start))
}

/// What follows `WHARF_` in the variables that are secrets, not settings.
pub const SECRET_PREFIX: &str = "SECRET_";

/// A secret that the environment gives to the embedded Dapr; see [`secret_variable`].
pub fn secret(name: &str) -> Option<String> {
    variable(&secret_variable(name))
}

/// The variable of a secret: `WHARF_SECRET_`, then the name in upper case, with `_` for all that is
/// neither a letter nor a digit: `database-url` is `WHARF_SECRET_DATABASE_URL`, in every store.
pub fn secret_variable(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("WHARF_{SECRET_PREFIX}{}", name.chars().map(letter).collect::<String>())
}
