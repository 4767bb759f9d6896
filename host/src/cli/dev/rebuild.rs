//! Builds what changed and offers it to the running host, one component after the other. Whatever
//! goes wrong, the version that runs runs on, and why is said here and in `GET /components`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::inputs::{self, Print};
use super::watch::Watch;
use super::{elsewhere, tell};
use crate::app::App;
use crate::catalog::load;
use crate::catalog::swap::Swapped;
use crate::cli::{build, print};
use crate::config::Config;
use crate::ledger::Why;
use crate::manifest::{Database, Manifest};
use crate::name::ComponentId;
use crate::problem::Problem;

/// What was built from what.
pub struct Rebuild {
    components: PathBuf,
    contracts: PathBuf,
    build: bool,
    known: BTreeMap<PathBuf, Known>,
    contracts_print: Print,
}

/// A component's folder as it was when it was last looked at.
struct Known {
    /// None where the manifest never told, or another folder has the name.
    name: Option<ComponentId>,
    files: Files,
    gone: bool,
    /// Where its build put it, once these files were built.
    wasm: Option<PathBuf>,
    /// Why it was refused, where that may change with what is not its own: tables, names, the ledger.
    refused: Option<String>,
    /// What its refusal is listed under, where it is not its name.
    listed: Option<ComponentId>,
}

/// What a component is built from.
#[derive(PartialEq, Eq)]
struct Files {
    own: Print,
    elsewhere: Vec<PathBuf>,
    shared: Print,
}

/// Why a component is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Own,
    Shared,
    /// It was refused, and its files are as they were.
    None,
}

/// Why a component cannot be offered.
enum Fault {
    Files(Vec<Problem>),
    Build(anyhow::Error),
}

impl Rebuild {
    /// As the files are now, right before they are built.
    pub fn new(config: &Config, found: &[(PathBuf, Manifest)], build: bool) -> Self {
        let mut rebuild = Self {
            components: config.components.clone(),
            contracts: config.contracts.clone(),
            build,
            known: BTreeMap::new(),
            contracts_print: inputs::folder(&config.contracts),
        };
        let shared = inputs::shared(&config.components);
        for (folder, manifest) in found {
            let files = rebuild.files(folder, Some(manifest), shared);
            let name = Some(manifest.name.clone());
            rebuild.known.insert(folder.clone(), Known::new(name, files));
        }
        rebuild
    }

    /// Never returns. Dropped, it ends a build that is under way.
    pub async fn run(mut self, app: &App, mut watch: Watch) {
        loop {
            let watched = self.elsewhere();
            if let Err(error) = watch.renew(&watched) {
                print::note(format!("not every change is noticed, as not all is watched: {error}"));
            }
            // What changes during a pass is noticed, and brings one more.
            self.pass(app).await;
            if self.elsewhere() == watched {
                watch.changed().await;
            }
        }
    }

    /// All folders that components are made from besides their own.
    fn elsewhere(&self) -> Vec<PathBuf> {
        let all: BTreeSet<_> =
            self.known.values().flat_map(|known| &known.files.elsewhere).collect();
        all.into_iter().cloned().collect()
    }

    async fn pass(&mut self, app: &App) {
        let contracts = inputs::folder(&self.contracts);
        if contracts != self.contracts_print {
            self.contracts_print = contracts;
            print::note("the contracts changed; a restart applies them");
        }
        // What one brings may be what another one was refused for.
        while self.look_at_all(app).await && self.known.values().any(|k| k.refused.is_some()) {}
    }

    /// Says whether something was swapped, or a name became free.
    async fn look_at_all(&mut self, app: &App) -> bool {
        let folders = load::component_folders(&self.components).unwrap_or_default();
        self.miss(app, &folders);
        let shared = inputs::shared(&self.components);
        let mut is_news = false;
        for folder in folders {
            is_news |= self.look(app, &folder, shared).await;
        }
        is_news
    }

    /// Says of components whose folder is there no more that they are gone.
    fn miss(&mut self, app: &App, folders: &[PathBuf]) {
        let missed =
            |(folder, known): &(&PathBuf, &mut Known)| !known.gone && !folders.contains(folder);
        for (folder, known) in self.known.iter_mut().filter(missed) {
            known.gone = true;
            known.refused = None;
            if let Some(listed) = known.listed.take() {
                app.registry.accepted(&listed);
            }
            let Some(name) = &known.name else { continue };
            app.registry.gone(name);
            let folder = folder.display();
            print::note(match tell::running(app, name) {
                Some(digest) => format!(
                    "{name}: {folder} is gone; {digest} runs on, and the next start is without it"
                ),
                None => format!("{name}: {folder} is gone"),
            });
        }
    }

    /// Builds and offers a component, if what it is built from changed; one that was refused is
    /// offered again. Says whether something was swapped, or a name became free.
    async fn look(&mut self, app: &App, folder: &Path, shared: Print) -> bool {
        let files = self.files(folder, load::read_manifest(folder).as_ref().ok(), shared);
        let Some(change) = self.change(folder, &files) else { return false };
        // Read again: a manifest older than what is remembered of the files would stay so.
        let manifest = load::read_manifest(folder);
        let name = manifest.as_ref().ok().map(|manifest| &manifest.name);
        let is_name_free = self.remember(app, folder, name, files, change);
        let started = Instant::now();
        let offered = self.offer(folder, manifest, app.ledger.database()).await;
        let is_swapped = match offered {
            Ok((offer, built)) => {
                let name = offer.manifest.name.clone();
                let swapped = app.swapper.swap(offer, Why::Build).await;
                let done = tell::done(built, started.elapsed());
                self.offered(app, folder, &name, swapped, change, &done)
            }
            Err(fault) => {
                self.refused(app, folder, fault);
                false
            }
        };
        is_swapped || is_name_free
    }

    fn change(&self, folder: &Path, files: &Files) -> Option<Change> {
        match self.known.get(folder).filter(|known| !known.gone) {
            None => Some(Change::Own),
            Some(known) if known.files.own != files.own => Some(Change::Own),
            Some(known) if known.files != *files => Some(Change::Shared),
            Some(known) => known.refused.as_ref().map(|_| Change::None),
        }
    }

    /// Remembers what the folder holds now; says whether the name that it had became free.
    fn remember(
        &mut self,
        app: &App,
        folder: &Path,
        offered: Option<&ComponentId>,
        files: Files,
        change: Change,
    ) -> bool {
        let before = self.known.remove(folder);
        let had = before.as_ref().and_then(|before| before.name.clone());
        let name = match offered {
            Some(name) if self.other(folder, name).is_some() => None,
            Some(name) => Some(name.clone()),
            None => had.clone(),
        };
        let mut known = Known::new(name.clone(), files);
        let mut was_gone = false;
        if let Some(before) = before {
            was_gone = before.gone;
            if let Some(listed) = before.listed {
                app.registry.accepted(&listed);
            }
            if change == Change::None {
                (known.wasm, known.refused) = (before.wasm, before.refused);
            }
        }
        self.known.insert(folder.to_owned(), known);
        let Some(had) = had.filter(|_| !was_gone && offered.is_some()) else { return false };
        if name.as_ref() == Some(&had) {
            return false;
        }
        app.registry.gone(&had);
        print::note(format!(
            "{had}: its folder offers another name; it runs on until the next start"
        ));
        true
    }

    /// What the folder offers; and whether it had to be built for that.
    async fn offer(
        &mut self,
        folder: &Path,
        manifest: Result<Manifest, Vec<Problem>>,
        database: Database,
    ) -> Result<(load::Offer, bool), Fault> {
        let manifest = manifest.map_err(Fault::Files)?;
        if let Some(other) = self.other(folder, &manifest.name) {
            let message =
                format!("component `{}` is also offered by {}", manifest.name, other.display());
            let problem = Problem::in_file(&manifest.file, message);
            return Err(Fault::Files(vec![problem.help("name each component once")]));
        }
        let problems = load::check(folder, &manifest, database);
        if !problems.is_empty() {
            return Err(Fault::Files(problems));
        }
        let built = self.known.get(folder).and_then(|known| known.wasm.clone());
        let is_built = built.is_some();
        let wasm = match built {
            Some(wasm) => wasm,
            None => build::component(folder, &manifest, self.build).await.map_err(Fault::Build)?,
        };
        // A refusal is no reason to build again: what a build writes brings a pass, without end.
        if let Some(known) = self.known.get_mut(folder) {
            known.wasm = Some(wasm.clone());
        }
        let offer = load::read(folder, &wasm).map_err(Fault::Files)?;
        Ok((offer, self.build && manifest.build.is_some() && !is_built))
    }

    /// Another folder that offers a component of this name.
    fn other(&self, folder: &Path, name: &ComponentId) -> Option<&PathBuf> {
        let named = self.known.iter().find(|(other, known)| {
            other.as_path() != folder && !known.gone && known.name.as_ref() == Some(name)
        });
        named.map(|(other, _)| other)
    }

    /// Says what came of an offer, and whether it runs now and did not before.
    fn offered(
        &mut self,
        app: &App,
        folder: &Path,
        name: &ComponentId,
        swapped: Result<Swapped, Vec<Problem>>,
        change: Change,
        done: &str,
    ) -> bool {
        let refused = swapped.as_ref().err().map(|problems| reason(problems));
        let is_news = self.refuse(folder, refused);
        match swapped {
            Ok(Swapped::New(report)) => {
                tell::swapped(&report, done);
                return true;
            }
            Ok(Swapped::Same) => match change {
                Change::Own | Change::None => {
                    print::note(format!("{name}: {done}, the same as before"));
                }
                Change::Shared => {}
            },
            Err(problems) if is_news => {
                print::problems(&problems);
                print::note(format!("{name}: refused{}", tell::runs_on(app, name)));
            }
            Err(_) => {}
        }
        false
    }

    /// Says why there was no offer.
    fn refused(&mut self, app: &App, folder: &Path, fault: Fault) {
        let (reason, what, is_news) = match fault {
            Fault::Files(problems) => {
                let reason = reason(&problems);
                let is_news = self.refuse(folder, Some(reason.clone()));
                if is_news {
                    print::problems(&problems);
                }
                (reason, "refused", is_news)
            }
            Fault::Build(error) => {
                self.refuse(folder, None);
                let reason = format!("{error:#}");
                print::note(&reason);
                (tell::end_of(&reason).to_owned(), "does not build", true)
            }
        };
        let named = self.known.get(folder).and_then(|known| known.name.clone());
        let listed = named.or_else(|| self.by_folder(app, folder));
        if is_news {
            print::note(match &listed {
                Some(name) => format!("{name}: {what}{}", tell::runs_on(app, name)),
                None => format!("{}: {what}", folder.display()),
            });
        }
        let Some(name) = listed else { return };
        app.registry.refuse(&name, app.clock.now(), reason);
        if let Some(known) = self.known.get_mut(folder).filter(|known| known.name.is_none()) {
            known.listed = Some(name);
        }
    }

    /// Remembers why it was refused, and says whether that is another reason than before.
    fn refuse(&mut self, folder: &Path, reason: Option<String>) -> bool {
        let Some(known) = self.known.get_mut(folder) else { return true };
        let is_news = known.refused != reason;
        known.refused = reason;
        is_news
    }

    /// What to call a folder without a name of its own, if no other component is called so.
    fn by_folder(&self, app: &App, folder: &Path) -> Option<ComponentId> {
        let name = ComponentId::new(folder.file_name()?.to_str()?).ok()?;
        let is_free = self.other(folder, &name).is_none() && tell::running(app, &name).is_none();
        is_free.then_some(name)
    }

    fn files(&self, folder: &Path, manifest: Option<&Manifest>, shared: Print) -> Files {
        let workspace = inputs::workspace(&self.components);
        let elsewhere = manifest.map(|found| elsewhere::folders(folder, found, &workspace));
        let elsewhere = elsewhere.unwrap_or_default();
        // What the build makes counts only where nothing is built.
        let recipe = manifest.and_then(|manifest| manifest.build.as_ref());
        let output = recipe.filter(|_| self.build).map(|recipe| recipe.output.as_path());
        Files { own: inputs::component(folder, output, &elsewhere), elsewhere, shared }
    }
}

impl Known {
    fn new(name: Option<ComponentId>, files: Files) -> Self {
        Self { name, files, gone: false, wasm: None, refused: None, listed: None }
    }
}

fn reason(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
