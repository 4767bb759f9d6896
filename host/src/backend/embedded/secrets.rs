//! Secrets: from `secrets.json` in the data folder, else from the environment.
//!
//! The file is `{"store": {"name": "value"}}`, or `{"name": {"key": "value"}}` for a secret of
//! several values, and is read whenever a secret is asked for, so that an edit counts at once. The
//! environment has one value for a name, the same in every store: see
//! [`crate::config::secret_variable`]. No text here ever holds a value.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use serde_json::{Map, Value};

use super::Embedded;
use crate::backend::BackendError;
use crate::effect::Secret;
use crate::name::StoreName;

/// The file's name in the data folder.
const FILE: &str = "secrets.json";

/// A secret's values by their keys; one value alone has the secret's name as its key.
pub type Values = BTreeMap<String, String>;

/// What keeps the secrets from being read: the file, the place and the remedy.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct SecretsFault(String);

impl Embedded {
    pub(super) fn secret_store(&self, name: &str) -> Option<&StoreName> {
        self.0.secret_stores.iter().find(|store| store.as_str() == name)
    }

    pub(super) async fn find_secret(
        &self,
        store: &StoreName,
        name: &str,
    ) -> Result<Option<Values>, SecretsFault> {
        let filed = self.secrets_of(store).await?.remove(name);
        Ok(filed.or_else(|| {
            let value = (self.0.secret_variable)(name)?;
            Some(Values::from([(name.to_owned(), value)]))
        }))
    }

    /// All that the file has for a store; variables cannot be told by the names of their secrets.
    pub(super) async fn secrets_of(
        &self,
        store: &StoreName,
    ) -> Result<BTreeMap<String, Values>, SecretsFault> {
        let path = self.0.data.join(FILE);
        let text = match tokio::fs::read_to_string(&path).await {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => {
                return Err(SecretsFault(format!("{} cannot be read: {error}", path.display())));
            }
        };
        read(&text, store).map_err(|why| SecretsFault(format!("{}: {why}", path.display())))
    }

    pub(super) async fn read_secret(
        &self,
        store: &StoreName,
        name: &str,
    ) -> Result<Option<Secret>, BackendError> {
        if self.secret_store(store.as_str()).is_none() {
            return Err(BackendError::Refused(format!("secret store {store} is not found")));
        }
        let found = self.find_secret(store, name).await;
        let found = found.map_err(|error| BackendError::Unavailable(error.to_string()))?;
        Ok(found.map(|secret| secret.into_iter().collect()))
    }
}

fn read(text: &str, store: &StoreName) -> Result<BTreeMap<String, Values>, String> {
    // Read as any JSON first: an error of a typed read could quote a value.
    let file: Value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
    let Value::Object(mut stores) = file else {
        return Err("give an object of stores".to_owned());
    };
    let secrets = match stores.remove(store.as_str()) {
        None => return Ok(BTreeMap::new()),
        Some(Value::Object(secrets)) => secrets,
        Some(_) => return Err(format!("store `{store}`: give an object of secrets")),
    };
    let secrets = secrets.into_iter().map(|(name, value)| match values(&name, value) {
        Some(values) => Ok((name, values)),
        None => {
            Err(format!("store `{store}`, secret `{name}`: give a text, or an object of texts"))
        }
    });
    secrets.collect()
}

fn values(name: &str, value: Value) -> Option<Values> {
    let texts = |values: Map<String, Value>| {
        let texts = values.into_iter().map(|(key, value)| match value {
            Value::String(text) => Some((key, text)),
            _ => None,
        });
        texts.collect::<Option<Values>>()
    };
    match value {
        Value::String(text) => Some(Values::from([(name.to_owned(), text)])),
        Value::Object(values) => texts(values),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_file_is_told_without_its_values() {
        let store = StoreName::new("vault").unwrap();
        for (text, says) in [
            ("hunter2", "no JSON"),
            (r#"{"vault": {"a": "hunter2""#, "no JSON"),
            (r#"["hunter2"]"#, "give an object of stores"),
            (r#"{"vault": "hunter2"}"#, "store `vault`: give an object of secrets"),
            (r#"{"vault": {"a": ["hunter2"]}}"#, "secret `a`: give a text"),
            (r#"{"vault": {"a": {"b": {"c": "hunter2"}}}}"#, "secret `a`: give a text"),
        ] {
            let error = read(text, &store).unwrap_err();
            assert!(error.contains(says) && !error.contains("hunter2"), "{text}: {error}");
        }
        assert!(read(r#"{"other": 5}"#, &store).unwrap().is_empty());
    }
}
