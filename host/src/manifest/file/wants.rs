//! `[[on]]`: what the component wants, one thing each.

use toml::Spanned;

use super::Reader;
use super::raw::RawWant;
use crate::manifest::{Pattern, Want};
use crate::name::BindingName;
use crate::problem::Problem;

impl Reader<'_> {
    pub(super) fn wants(&mut self, raw: Vec<Spanned<RawWant>>) -> Vec<Want> {
        if raw.is_empty() {
            let problem = Problem::in_file(self.file, "nothing is wanted: there is no `[[on]]`");
            self.problems.push(problem.help("add [[on]] with event = \"…\""));
        }
        raw.into_iter().filter_map(|want| self.want(want)).collect()
    }

    fn want(&mut self, raw: Spanned<RawWant>) -> Option<Want> {
        let span = raw.span();
        match raw.into_inner() {
            RawWant { event: Some(event), job: None, binding: None } => self.event(&event),
            RawWant { event: None, job: Some(job), binding: None } => self.job(&job).map(Want::Job),
            RawWant { event: None, job: None, binding: Some(binding) } => {
                self.binding(&binding).map(Want::Binding)
            }
            _ => {
                let help = "say one of event = \"…\", job = \"…\" or binding = \"…\"";
                self.problem(span, "an `[[on]]` wants exactly one thing", help);
                None
            }
        }
    }

    fn event(&mut self, raw: &Spanned<String>) -> Option<Want> {
        match Pattern::new(raw.get_ref()) {
            Ok(pattern) => Some(Want::Event(pattern)),
            Err(message) => {
                self.problem(raw.span(), message, "name an event type, or `*` for every event");
                None
            }
        }
    }

    pub(super) fn job(&mut self, raw: &Spanned<String>) -> Option<Pattern> {
        match Pattern::of_jobs(raw.get_ref()) {
            Ok(pattern) => Some(pattern),
            Err(message) => {
                let help = "name a job, or the beginning of names followed by `*`";
                self.problem(raw.span(), message, help);
                None
            }
        }
    }

    pub(super) fn binding(&mut self, raw: &Spanned<String>) -> Option<BindingName> {
        let message = match BindingName::new(raw.get_ref()) {
            Ok(name) if !name.as_str().contains('*') => return Some(name),
            Ok(name) => format!("`{name}` is a pattern, and bindings are named one by one"),
            Err(error) => error.to_string(),
        };
        self.problem(raw.span(), message, "name a binding as its Dapr component is called");
        None
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::manifest::Manifest;

    fn on(wants: &str) -> Result<Vec<String>, String> {
        let text = format!("name = \"a\"\nversion = \"1\"\n{wants}");
        let manifest = Manifest::parse(Path::new("component.toml"), &text);
        let wants = manifest.map(|manifest| manifest.on.iter().map(Want::to_string).collect());
        wants.map_err(|problems| problems.iter().map(|p| format!("{p}\n")).collect())
    }

    #[test]
    fn events_jobs_and_bindings_can_be_wanted() {
        let wants = "[[on]]\nevent = \"com.todo.*\"\n[[on]]\njob = \"recurring-*\"\n\
                     [[on]]\nbinding = \"cron\"\n";
        let read = ["com.todo.*", "job recurring-*", "binding cron"].map(str::to_owned);
        assert_eq!(on(wants), Ok(read.to_vec()));
    }

    #[test]
    fn what_cannot_be_wanted_is_told_with_its_line() {
        for (want, says) in [
            ("job = \"a*b\"", "`*` only at its end"),
            ("job = \"a/b\"", "without / \\ # ?"),
            ("job = \"\"", "not a pattern"),
            ("binding = \"cron*\"", "named one by one"),
            ("binding = \"a/b\"", "not a binding name"),
            ("binding = \"cron\"\njob = \"j\"", "exactly one thing"),
            ("bindings = \"cron\"", "did you mean `binding`?"),
        ] {
            let error = on(&format!("[[on]]\n{want}\n")).unwrap_err();
            let line = if says.contains("exactly") { 3 } else { 4 };
            assert!(error.starts_with(&format!("component.toml:{line}:")), "{want}: {error}");
            assert!(error.contains(says), "{want}: {error}");
        }
    }
}
