//! The way from what `component.toml` says to a [`Manifest`], or to every problem of it, each with
//! its line.

mod grants;
mod raw;
mod recording;
mod wants;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use self::raw::{EachDatabase, RawLimits, RawManifest, RawSqlText, RawStatement};

use super::{Limits, Manifest, SqlText, Statement, StatementKind, units};
use crate::name::ComponentId;
use crate::problem::Problem;

pub fn parse(file: &Path, text: &str) -> Result<Manifest, Vec<Problem>> {
    let raw: RawManifest =
        toml::from_str(text).map_err(|error| vec![Problem::from_toml(file, text, &error)])?;
    let mut reader = Reader { file, text, problems: Vec::new() };
    let manifest = reader.manifest(raw);
    match manifest {
        Some(manifest) if reader.problems.is_empty() => Ok(manifest),
        _ => Err(reader.problems),
    }
}

/// Collects the problems on the way.
struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn manifest(&mut self, raw: RawManifest) -> Option<Manifest> {
        let name = self.name(&raw.name);
        if raw.version.get_ref().is_empty() {
            self.problem(raw.version.span(), "`version` is empty", "write one such as \"0.1.0\"");
        }
        let migrations = self.migrations(raw.migrations);
        let on = self.wants(raw.on);
        let grants = self.grants(raw.grants);
        let sql = self.statements(raw.sql);
        let limits = self.limits(&raw.limits);
        let recording = self.recording(&raw.recording);
        Some(Manifest {
            file: self.file.to_owned(),
            name: name?,
            version: raw.version.into_inner(),
            description: raw.description,
            migrations,
            order: raw.order,
            config: raw.config,
            build: raw.build,
            on,
            grants,
            sql,
            limits,
            recording,
        })
    }

    fn name(&mut self, raw: &Spanned<String>) -> Option<ComponentId> {
        match ComponentId::new(raw.get_ref()) {
            Ok(name) if name != ComponentId::none() => Some(name),
            Ok(_) => {
                self.problem(raw.span(), "`-` stands for no component", "give it a name");
                None
            }
            Err(error) => {
                self.problem(raw.span(), error.to_string(), "change `name`");
                None
            }
        }
    }

    fn migrations(&mut self, raw: Option<Vec<Spanned<PathBuf>>>) -> Vec<PathBuf> {
        let Some(folders) = raw else { return vec!["migrations".into()] };
        for folder in folders.iter().filter(|folder| folder.get_ref().is_absolute()) {
            let message = format!("`{}` is not relative", folder.get_ref().display());
            self.problem(folder.span(), message, "name a folder from the manifest's own");
        }
        folders.into_iter().map(Spanned::into_inner).collect()
    }

    fn statements(
        &mut self,
        raw: BTreeMap<Spanned<String>, Spanned<RawStatement>>,
    ) -> BTreeMap<String, Statement> {
        raw.into_iter()
            .filter_map(|(name, statement)| {
                let statement = self.statement(&name, statement.into_inner())?;
                Some((name.into_inner(), statement))
            })
            .collect()
    }

    fn statement(&mut self, name: &Spanned<String>, raw: RawStatement) -> Option<Statement> {
        let (kind, text) = match (raw.execute, raw.query) {
            (Some(text), None) => (StatementKind::Execute, text),
            (None, Some(text)) => (StatementKind::Query, text),
            _ => {
                let message = format!("[sql.{}] has not exactly one text", name.get_ref());
                self.problem(name.span(), message, "say either execute = \"…\" or query = \"…\"");
                return None;
            }
        };
        if raw.many && kind == StatementKind::Query {
            let message = format!("[sql.{}] is a query, and `many` is for execute", name.get_ref());
            self.problem(name.span(), message, "remove `many`");
        }
        let text = match text {
            RawSqlText::Any(text) => SqlText::Any(text),
            RawSqlText::Each(EachDatabase { postgres: None, sqlite: None }) => {
                let message = format!("[sql.{}] has no text", name.get_ref());
                self.problem(name.span(), message, "give it for postgres, sqlite or both");
                return None;
            }
            RawSqlText::Each(EachDatabase { postgres, sqlite }) => {
                SqlText::Each { postgres, sqlite }
            }
        };
        let line = Problem::at(self.file, self.text, name.span(), "").line.unwrap_or(1);
        Some(Statement { kind, text, many: raw.many, line })
    }

    fn limits(&mut self, raw: &RawLimits) -> Limits {
        let default = Limits::default();
        Limits {
            time: self.unit(raw.time.as_ref(), "time", time, default.time),
            memory: self.unit(raw.memory.as_ref(), "memory", units::bytes, default.memory),
            fuel: self.count(raw.fuel.as_ref(), "fuel", default.fuel),
            effects: self.count(raw.effects.as_ref(), "effects", default.effects),
            output: self.unit(raw.output.as_ref(), "output", units::bytes, default.output),
            concurrency: self.count(raw.concurrency.as_ref(), "concurrency", default.concurrency),
            max_parked: self.count(raw.max_parked.as_ref(), "max_parked", default.max_parked),
        }
    }

    fn unit<T: Default + PartialEq>(
        &mut self,
        raw: Option<&Spanned<String>>,
        key: &str,
        read: fn(&str) -> Result<T, String>,
        default: T,
    ) -> T {
        let Some(raw) = raw else { return default };
        match read(raw.get_ref()) {
            Ok(value) => self.not_zero(raw.span(), key, value),
            Err(message) => {
                self.problem(raw.span(), message, &format!("change `{key}` in [limits]"));
                default
            }
        }
    }

    fn count<T: Default + PartialEq + Copy>(
        &mut self,
        raw: Option<&Spanned<T>>,
        key: &str,
        default: T,
    ) -> T {
        raw.map_or(default, |raw| self.not_zero(raw.span(), key, *raw.get_ref()))
    }

    fn not_zero<T: Default + PartialEq>(&mut self, span: Range<usize>, key: &str, value: T) -> T {
        if value == T::default() {
            let message = format!("`{key}` in [limits] is zero: the component could never run");
            self.problem(span, message, "give it room, or leave the key out for the default");
        }
        value
    }

    fn problem(&mut self, span: Range<usize>, message: impl Into<String>, help: &str) {
        let problem = Problem::at(self.file, self.text, span, message);
        self.problems.push(problem.help(help));
    }
}

/// A delivery is claimed for several runs and the waits between them: `ledger.lease`.
fn time(text: &str) -> Result<Duration, String> {
    match units::duration(text)? {
        time if time > Limits::MOST_TIME => Err(format!(
            "`time` in [limits] is {text}, and the most is {:?}: with longer runs the lease of a \
             delivery would end before its result is written, and it would never settle",
            Limits::MOST_TIME
        )),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Access, Order, Pattern, Recording, Want};

    const GOOD: &str = include_str!("../../../components/audit/component.toml");

    fn problems(text: &str) -> Vec<String> {
        let problems = parse(Path::new("component.toml"), text).unwrap_err();
        problems.iter().map(ToString::to_string).collect()
    }

    /// A sound manifest with something put at its end.
    fn with(text: &str) -> String {
        format!("name = \"a\"\nversion = \"1\"\n[[on]]\nevent = \"x\"\n{text}")
    }

    fn only_problem(text: &str) -> String {
        let problems = problems(text);
        assert_eq!(problems.len(), 1, "{problems:#?}");
        problems.concat()
    }

    #[test]
    fn the_audit_manifest_is_read() {
        let manifest = parse(Path::new("component.toml"), GOOD).unwrap();
        assert_eq!(manifest.name.as_str(), "audit");
        assert_eq!(manifest.order, Order::None);
        assert_eq!(manifest.grants.tables.get("audit_log"), Some(&Access::Write));
        assert_eq!(manifest.migrations, [PathBuf::from("migrations")]);
        assert_eq!(manifest.on, [Want::Event(Pattern::new("*").unwrap())]);
        assert_eq!(manifest.recording, Recording::default());
    }

    #[test]
    fn a_mistyped_key_is_named_with_the_right_one() {
        let problem = only_problem(&with("[limits]\nmemmory = \"16MiB\"\n"));
        assert!(problem.starts_with("component.toml:6:"), "{problem}");
        assert!(problem.contains("did you mean `memory`?"), "{problem}");
    }

    #[test]
    fn every_problem_is_told_with_its_line() {
        let text = with(concat!(
            "[[on]]\nevent = \"a*b\"\n",
            "[limits]\nfuel = 0\ntime = \"1 hour\"\n",
            "[sql.both]\nquery = \"SELECT 1\"\nexecute = \"DELETE FROM t\"\n",
            "[sql.none]\n",
            "[grants]\npublish = [\"com.wharf.x\"]\ntables = { wharf_outbox = \"write\" }\n",
        ));
        let problems = problems(&text);
        let lines: Vec<_> = problems.iter().map(|p| p.split(':').nth(1).unwrap()).collect();
        assert_eq!(lines, ["6", "15", "16", "10", "13", "9", "8"], "{problems:#?}");
    }

    #[test]
    fn a_run_must_fit_the_lease() {
        let parsed = |time: &str| {
            parse(Path::new("c.toml"), &with(&format!("[limits]\ntime = \"{time}\"\n")))
        };
        assert_eq!(parsed("10s").map(|manifest| manifest.limits.time), Ok(Limits::MOST_TIME));
        for long in ["10001ms", "1m"] {
            let problem = only_problem(&with(&format!("[limits]\ntime = \"{long}\"\n")));
            assert!(problem.starts_with("component.toml:6:"), "{problem}");
            assert!(problem.contains("the most is 10s") && problem.contains("lease"), "{problem}");
        }
    }

    #[test]
    fn nothing_wanted_is_a_problem() {
        let problem = only_problem("name = \"a\"\nversion = \"1\"\n");
        assert!(problem.contains("there is no `[[on]]`"), "{problem}");
        only_problem("name = \"a\"\nversion = \"1\"\n[[on]]\n");
        only_problem("name = \"-\"\nversion = \"1\"\n[[on]]\nevent = \"x\"\n");
    }
}
