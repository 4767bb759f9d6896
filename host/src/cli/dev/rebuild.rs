//! Builds what changed and offers it to the running host, one component after the other. Whatever
//! goes wrong, the version that runs runs on, and why is said here and in `GET /components`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::inputs::{self, Print};
use super::watch::Watch;
use crate::app::App;
use crate::catalog::load;
use crate::catalog::swap::{Report, Swapped};
use crate::cli::{build, print};
use crate::config::Config;
use crate::ledger::Why;
use crate::manifest::Manifest;
use crate::name::ComponentId;
use crate::problem::Problem;

/// How much of a compiler's output is kept as a reason, in bytes: its end.
const REASON: usize = 16 << 10;

/// What was built from what.
pub struct Rebuild {
    components: PathBuf,
    contracts: PathBuf,
    build: bool,
    known: BTreeMap<PathBuf, Known>,
    contracts_print: Print,
}

/// A component's folder as it was when it was last built.
struct Known {
    /// None where the manifest never told.
    name: Option<ComponentId>,
    own: Print,
    shared: Print,
    gone: bool,
}

/// Why a component cannot be offered.
enum Fault {
    Files(Vec<Problem>),
    Build(anyhow::Error),
}

impl Rebuild {
    /// As the files are now, right before they are built.
    pub fn new(config: &Config, found: &[(PathBuf, Manifest)], build: bool) -> Self {
        let shared = inputs::shared(&config.components);
        let known = found.iter().map(|(folder, manifest)| {
            let own = own_print(folder, Some(manifest), build);
            let known = Known { name: Some(manifest.name.clone()), own, shared, gone: false };
            (folder.clone(), known)
        });
        Self {
            components: config.components.clone(),
            contracts: config.contracts.clone(),
            build,
            known: known.collect(),
            contracts_print: inputs::folder(&config.contracts, None),
        }
    }

    /// Never returns. Dropped, it ends a build that is under way.
    pub async fn run(mut self, app: &App, mut watch: Watch) {
        loop {
            // What changes during a pass is noticed, and brings one more.
            self.pass(app).await;
            watch.changed().await;
        }
    }

    async fn pass(&mut self, app: &App) {
        let contracts = inputs::folder(&self.contracts, None);
        if contracts != self.contracts_print {
            self.contracts_print = contracts;
            print::note("the contracts changed; a restart applies them");
        }
        let folders = load::component_folders(&self.components).unwrap_or_default();
        self.miss(app, &folders);
        let shared = inputs::shared(&self.components);
        for folder in folders {
            self.look(app, &folder, shared).await;
        }
    }

    /// Says of components whose folder is there no more that they are gone.
    fn miss(&mut self, app: &App, folders: &[PathBuf]) {
        for (folder, known) in &mut self.known {
            let Some(name) = known.name.as_ref().filter(|_| !known.gone) else { continue };
            if folders.contains(folder) {
                continue;
            }
            known.gone = true;
            app.registry.gone(name);
            let folder = folder.display();
            print::note(match running(app, name) {
                Some(digest) => format!(
                    "{name}: {folder} is gone; {digest} runs on, and the next start is without it"
                ),
                None => format!("{name}: {folder} is gone"),
            });
        }
    }

    /// Builds and offers a component, if what it is built from changed.
    async fn look(&mut self, app: &App, folder: &Path, shared: Print) {
        let manifest = load::read_manifest(folder);
        let own = own_print(folder, manifest.as_ref().ok(), self.build);
        let before = self.known.get(folder);
        if before.is_some_and(|known| !known.gone && known.own == own && known.shared == shared) {
            return;
        }
        let is_own_change = before.is_none_or(|known| known.gone || known.own != own);
        let name = match (&manifest, before) {
            (Ok(manifest), _) => Some(manifest.name.clone()),
            (Err(_), Some(known)) => known.name.clone(),
            (Err(_), None) => None,
        };
        let earlier = before.and_then(|known| known.name.clone()).filter(|_| manifest.is_ok());
        let known = Known { name: name.clone(), own, shared, gone: false };
        self.known.insert(folder.to_owned(), known);
        if let Some(earlier) = earlier.filter(|earlier| name.as_ref() != Some(earlier)) {
            app.registry.gone(&earlier);
            print::note(format!(
                "{earlier}: its folder offers another name; it runs on until the next start"
            ));
        }
        let started = Instant::now();
        match self.offer(folder, manifest).await {
            Ok((offer, built)) => {
                let name = offer.manifest.name.clone();
                let swapped = app.swapper.swap(offer, Why::Build).await;
                let took = started.elapsed();
                match swapped {
                    Ok(Swapped::Same) if is_own_change => {
                        print::note(format!("{name}: {}, the same as before", done(built, took)));
                    }
                    Ok(Swapped::Same) => {}
                    Ok(Swapped::New(report)) => told(&report, &done(built, took)),
                    Err(problems) => {
                        print::problems(&problems);
                        print::note(format!("{name}: refused{}", runs_on(app, &name)));
                    }
                }
            }
            Err(fault) => refused(app, folder, name, fault),
        }
    }

    /// What the folder offers, built; and whether there was anything to build.
    async fn offer(
        &self,
        folder: &Path,
        manifest: Result<Manifest, Vec<Problem>>,
    ) -> Result<(load::Offer, bool), Fault> {
        let manifest = manifest.map_err(Fault::Files)?;
        if let Some(other) = self.other(folder, &manifest.name) {
            let message =
                format!("component `{}` is also offered by {}", manifest.name, other.display());
            let problem = Problem::in_file(&manifest.file, message);
            return Err(Fault::Files(vec![problem.help("name each component once")]));
        }
        let problems = load::check(folder, &manifest);
        if !problems.is_empty() {
            return Err(Fault::Files(problems));
        }
        let wasm = build::component(folder, &manifest, self.build).await.map_err(Fault::Build)?;
        let offer = load::read(folder, &wasm).map_err(Fault::Files)?;
        Ok((offer, self.build && manifest.build.is_some()))
    }

    /// Another folder that offers a component of this name.
    fn other(&self, folder: &Path, name: &ComponentId) -> Option<&PathBuf> {
        let named = self.known.iter().find(|(other, known)| {
            other.as_path() != folder && !known.gone && known.name.as_ref() == Some(name)
        });
        named.map(|(other, _)| other)
    }
}

/// What the build makes counts only where nothing is built.
fn own_print(folder: &Path, manifest: Option<&Manifest>, build: bool) -> Print {
    let recipe = manifest.and_then(|manifest| manifest.build.as_ref()).filter(|_| build);
    inputs::folder(folder, recipe.map(|recipe| recipe.output.as_path()))
}

fn refused(app: &App, folder: &Path, name: Option<ComponentId>, fault: Fault) {
    let (reason, what) = match fault {
        Fault::Files(problems) => {
            print::problems(&problems);
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            (lines.join("\n"), "refused")
        }
        Fault::Build(error) => {
            let reason = format!("{error:#}");
            print::note(&reason);
            (end_of(&reason).to_owned(), "does not build")
        }
    };
    let by_folder = || ComponentId::new(folder.file_name()?.to_str()?).ok();
    let Some(name) = name.or_else(by_folder) else {
        print::note(format!("{}: {what}", folder.display()));
        return;
    };
    print::note(format!("{name}: {what}{}", runs_on(app, &name)));
    app.registry.refuse(&name, app.clock.now(), reason);
}

fn told(report: &Report, done: &str) {
    let (name, to) = (&report.component, short(&report.to));
    print::note(match &report.from {
        Some(from) => format!("{name}: {done}, swapped to {to} (was {})", short(from)),
        None => format!("{name}: {done}, runs as {to}"),
    });
    if !report.wider.is_empty() {
        print::note(format!("{name}: grants wider: {}", report.wider.join(", ")));
    }
    for what in &report.later {
        print::note(format!("{name}: {what}"));
    }
    if !report.applied.is_empty() {
        print::note(format!("{name}: migrations applied: {}", report.applied.join(", ")));
    }
}

fn done(built: bool, took: Duration) -> String {
    match built {
        true => format!("rebuilt in {:.1} s", took.as_secs_f64()),
        false => "read again".to_owned(),
    }
}

fn runs_on(app: &App, name: &ComponentId) -> String {
    running(app, name).map_or_else(String::new, |digest| format!(", {digest} runs on"))
}

fn running(app: &App, name: &ComponentId) -> Option<String> {
    app.registry.snapshot().component(name).map(|component| short(component.digest()))
}

/// Enough of a digest to tell versions apart.
fn short(digest: &str) -> String {
    let start: String = digest.chars().take(8).collect();
    format!("{start}…")
}

fn end_of(reason: &str) -> &str {
    let start = reason.len().saturating_sub(REASON);
    let start = (start..reason.len()).find(|at| reason.is_char_boundary(*at));
    start.and_then(|start| reason.get(start..)).unwrap_or_default()
}
