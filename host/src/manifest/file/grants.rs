//! `[grants]`: what the component may do. A name that could not mean what it seems to is refused
//! here, since a grant is only looked at again when a handler needs it.

use toml::Spanned;

use super::Reader;
use super::raw::RawGrants;
use crate::manifest::{Access, Grants, HOST_TYPES};
use crate::name::{EventType, StoreName};

impl Reader<'_> {
    pub(super) fn grants(&mut self, raw: RawGrants) -> Grants {
        let publish = raw.publish.iter().filter_map(|ty| self.publish(ty)).collect();
        let tables = raw.tables.into_iter().filter_map(|(name, access)| self.table(&name, access));
        let tables = tables.collect();
        let state = raw.state.iter().filter_map(|store| self.store(store)).collect();
        let secrets = raw.secrets.into_iter().filter_map(|(store, names)| {
            let names = names.into_iter().filter_map(|name| self.secret(name)).collect();
            Some((self.store(&store)?, names))
        });
        let secrets = secrets.collect();
        let jobs = raw.jobs.iter().filter_map(|job| self.job(job)).collect();
        let bindings = raw.bindings.iter().filter_map(|name| self.binding(name)).collect();
        Grants { publish, tables, state, secrets, jobs, bindings }
    }

    fn publish(&mut self, raw: &Spanned<String>) -> Option<EventType> {
        let text = raw.get_ref();
        if text.starts_with(HOST_TYPES) {
            let message = format!("`{text}` cannot be granted: `{HOST_TYPES}*` is the host's own");
            self.problem(raw.span(), message, "publish under a type of your own");
            return None;
        }
        match EventType::new(text) {
            Ok(ty) if !text.contains('*') => Some(ty),
            Ok(_) => {
                let message = format!("`{text}` is a pattern, and grants have none");
                self.problem(raw.span(), message, "list each event type");
                None
            }
            Err(error) => {
                self.problem(raw.span(), error.to_string(), "list event types");
                None
            }
        }
    }

    fn table(&mut self, raw: &Spanned<String>, access: Access) -> Option<(String, Access)> {
        let name = raw.get_ref().to_lowercase();
        if crate::name::is_reserved_table(&name) {
            let message = format!("table `{name}` cannot be granted: it is the host's own");
            self.problem(raw.span(), message, "name a table of the component");
            return None;
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(legal) {
            let message = format!("`{name}` is not a table name");
            self.problem(raw.span(), message, "use letters, digits and _");
            return None;
        }
        Some((name, access))
    }

    fn store(&mut self, raw: &Spanned<String>) -> Option<StoreName> {
        let message = match StoreName::new(raw.get_ref()) {
            Ok(store) if !store.as_str().contains('*') => return Some(store),
            Ok(store) => format!("`{store}` is a pattern, and stores are granted one by one"),
            Err(error) => error.to_string(),
        };
        self.problem(raw.span(), message, "name a store as its Dapr component is called");
        None
    }

    fn secret(&mut self, raw: Spanned<String>) -> Option<String> {
        let (span, name) = (raw.span(), raw.into_inner());
        let message = if name.contains('*') {
            format!("`{name}` is a pattern, and secrets are granted one by one")
        } else if !(1..=255).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            format!("`{name}` is not a secret's name: use 1 to 255 characters")
        } else {
            return Some(name);
        };
        self.problem(span, message, "name each secret, such as { secretstore = [\"mail-key\"] }");
        None
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::manifest::Manifest;

    fn grants(text: &str) -> Result<Grants, String> {
        let text =
            format!("name = \"a\"\nversion = \"1\"\n[[on]]\nevent = \"x\"\n[grants]\n{text}\n");
        let manifest = Manifest::parse(Path::new("component.toml"), &text);
        let grants = manifest.map(|manifest| manifest.grants);
        grants.map_err(|problems| problems.iter().map(|p| format!("{p}\n")).collect())
    }

    #[test]
    fn every_kind_of_grant_is_read() {
        let read = grants(
            "publish = [\"com.a.b.v1\"]\ntables = { T = \"write\" }\nstate = [\"statestore\"]\n\
             secrets = { vault = [\"key\", \"other.key\"] }\njobs = [\"recurring-*\", \"one\"]\n\
             bindings = [\"smtp\"]",
        );
        let read = serde_json::to_value(read.unwrap()).unwrap();
        let expected = serde_json::json!({
            "publish": ["com.a.b.v1"],
            "tables": { "t": "write" },
            "state": ["statestore"],
            "secrets": { "vault": ["key", "other.key"] },
            "jobs": ["recurring-*", "one"],
            "bindings": ["smtp"],
        });
        assert_eq!(read, expected);
    }

    #[test]
    fn what_cannot_be_granted_is_told_with_its_line() {
        for (grant, says) in [
            ("state = [\"s*\"]", "granted one by one"),
            ("state = [\"\"]", "not a store name"),
            ("state = { s = \"write\" }", "expected a sequence"),
            ("secrets = [\"key\"]", "expected a map"),
            ("secrets = { vault = [\"*\"] }", "granted one by one"),
            ("secrets = { vault = [\"\"] }", "not a secret's name"),
            ("secrets = { \"\" = [\"key\"] }", "not a store name"),
            ("jobs = [\"a*b\"]", "`*` only at its end"),
            ("jobs = [\"a?\"]", "not a job name"),
            ("bindings = [\"*\"]", "named one by one"),
            ("binding = [\"smtp\"]", "did you mean `bindings`?"),
            ("publish = [\"a.*\"]", "grants have none"),
            ("publish = [\"com.wharf.x\"]", "the host's own"),
        ] {
            let error = grants(grant).unwrap_err();
            assert!(error.starts_with("component.toml:6:"), "{grant}: {error}");
            assert!(error.contains(says), "{grant}: {error}");
        }
    }
}
