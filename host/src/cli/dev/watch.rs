//! Notices that files changed. What changed is found out by looking.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::inputs;

/// An editor and a checkout write several files: changes count once it has been quiet for so long.
const QUIET: Duration = Duration::from_millis(150);

/// What never is quiet counts after so long.
const LONGEST: Duration = Duration::from_secs(2);

/// The folder of cargo's configuration.
const CARGO: &str = ".cargo";

/// Watches for as long as it lives.
pub struct Watch {
    changed: mpsc::Receiver<()>,
    watcher: RecommendedWatcher,
    places: Places,
}

/// Where changes count.
#[derive(Clone)]
struct Places {
    /// The workspace's own folder, but not what is in its folders.
    top: PathBuf,
    /// Folders with all that is in them; they may not be there.
    deep: Vec<PathBuf>,
    /// The same, as of the last look.
    more: Arc<ArcSwap<Vec<PathBuf>>>,
}

impl Watch {
    /// Folders with all that is in them, and the workspace that `components` is in.
    pub fn start(components: &Path, contracts: &Path) -> anyhow::Result<Self> {
        // One place is enough: it only says that there is something to look at.
        let (sender, changed) = mpsc::channel(1);
        let top = inputs::workspace(components);
        let top = top.canonicalize().with_context(|| {
            format!("the folder {} is gone; start in the one with `components/`", top.display())
        })?;
        let deep = vec![located(components)?, located(contracts)?, top.join("wit")];
        let places = Places { top, deep, more: Arc::default() };
        let counted = places.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Full means that it is known already.
            if event.map_or(true, |event| counted.counts(&event)) {
                _ = sender.try_send(());
            }
        })?;
        watcher.watch(&places.top, RecursiveMode::NonRecursive)?;
        let mut watch = Self { changed, watcher, places };
        watch.renew(&[])?;
        Ok(watch)
    }

    /// Watches what is there now, and `more` folders: one that was removed and made again is another
    /// one.
    pub fn renew(&mut self, more: &[PathBuf]) -> notify::Result<()> {
        let cargo = self.places.top.join(CARGO);
        self.places.more.store(Arc::new(more.to_vec()));
        let deep = self.places.deep.iter().chain(more).map(|path| (path, RecursiveMode::Recursive));
        for (path, mode) in deep.chain([(&cargo, RecursiveMode::NonRecursive)]) {
            let watched = if path.is_dir() { self.watcher.watch(path, mode) } else { Ok(()) };
            // Its end is a change that brings the next look.
            watched.or_else(|error| if path.is_dir() { Err(error) } else { Ok(()) })?;
        }
        Ok(())
    }

    /// Returns when something changed and it is quiet again.
    pub async fn changed(&mut self) {
        if self.changed.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        let latest = Instant::now() + LONGEST;
        while timeout_at(latest.min(Instant::now() + QUIET), self.changed.recv()).await.is_ok() {
            if Instant::now() >= latest {
                break;
            }
        }
    }
}

impl Places {
    /// Reading changes nothing, and what is hidden or in a target folder is not looked at, except for
    /// cargo's configuration.
    fn counts(&self, event: &Event) -> bool {
        let is_read = matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write));
        let more = self.more.load();
        let is_of_interest = |path: &PathBuf| {
            let mut deep = self.deep.iter().chain(more.iter());
            let inside = deep.find_map(|base| path.strip_prefix(base).ok());
            let inside = inside.or_else(|| path.strip_prefix(&self.top).ok()).unwrap_or(path);
            let is_of_cargo = inside == Path::new(CARGO) || inside == Path::new(inputs::CARGO);
            is_of_cargo || !inside.iter().any(inputs::is_ignored)
        };
        !is_read && (event.paths.is_empty() || event.paths.iter().any(is_of_interest))
    }
}

/// Where events of it are told, also when it is not there.
fn located(folder: &Path) -> anyhow::Result<PathBuf> {
    if let Ok(found) = folder.canonicalize() {
        return Ok(found);
    }
    let above = inputs::workspace(folder);
    let name = folder.file_name().unwrap_or_default();
    let above = above.canonicalize();
    Ok(above.with_context(|| format!("the folder of {} is gone", folder.display()))?.join(name))
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, ModifyKind};

    use super::*;

    #[test]
    fn writes_to_sources_count() {
        // The folders above may be hidden.
        let places = Places {
            top: "/home/.x".into(),
            deep: vec!["/home/.x/components".into()],
            more: Arc::new(ArcSwap::from_pointee(vec!["/home/.y/migrations".into()])),
        };
        let event = |kind, path: &str| Event::new(kind).add_path(path.into());
        let counts = |event: &Event| places.counts(event);
        let modified = EventKind::Modify(ModifyKind::Any);
        for (path, expected) in [
            ("/home/.x/components/audit/src/lib.rs", true),
            ("/home/.x/Cargo.toml", true),
            ("/home/.y/migrations/1.sql", true),
            ("/home/.x/.cargo", true),
            ("/home/.x/.cargo/config.toml", true),
            ("/home/.x/.cargo/.package-cache", false),
            ("/home/.x/target", false),
            ("/home/.x/components/audit/target/debug/x", false),
            ("/home/.x/components/audit/.lib.rs.swp", false),
        ] {
            assert_eq!(counts(&event(modified, path)), expected, "{path}");
        }
        let path = "/home/.x/components/audit";
        assert!(counts(&event(EventKind::Create(CreateKind::Folder), path)));
        assert!(!counts(&event(EventKind::Access(AccessKind::Open(AccessMode::Any)), path)));
        let written = AccessKind::Close(AccessMode::Write);
        assert!(counts(&event(EventKind::Access(written), path)));
        assert!(counts(&Event::new(EventKind::Other)), "events were lost");
    }
}
