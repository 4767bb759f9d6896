//! Notices that files changed. What changed is found out by looking.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::inputs;

/// An editor and a checkout write several files: changes count once it has been quiet for so long.
const QUIET: Duration = Duration::from_millis(150);

/// What never is quiet counts after so long.
const LONGEST: Duration = Duration::from_secs(2);

/// Watches for as long as it lives.
pub struct Watch {
    changed: mpsc::Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Folders with all that is in them, and the workspace that `components` is in.
    pub fn start(components: &Path, contracts: &Path) -> anyhow::Result<Self> {
        // One place is enough: it only says that there is something to look at.
        let (sender, changed) = mpsc::channel(1);
        let root = inputs::workspace(components);
        let deep = [components.to_owned(), contracts.to_owned(), root.join("wit")];
        let bases: Vec<_> = deep.iter().filter_map(|path| path.canonicalize().ok()).collect();
        let top = root.canonicalize().context("the current folder is gone")?;
        let (all, of_top) = (bases.clone(), top.clone());
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Full means that it is known already.
            if event.map_or(true, |event| counts(&event, &all, &of_top)) {
                _ = sender.try_send(());
            }
        })?;
        watcher.watch(&top, RecursiveMode::NonRecursive)?;
        for base in &bases {
            watcher.watch(base, RecursiveMode::Recursive)?;
        }
        Ok(Self { changed, _watcher: watcher })
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

/// Reading changes nothing, and what is hidden or in a target folder is not looked at.
fn counts(event: &Event, bases: &[PathBuf], top: &Path) -> bool {
    let is_read = matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write));
    let is_of_interest = |path: &PathBuf| {
        let inside = bases.iter().find_map(|base| path.strip_prefix(base).ok());
        let inside = inside.or_else(|| path.strip_prefix(top).ok()).unwrap_or(path);
        !inside.iter().any(inputs::is_ignored)
    };
    !is_read && (event.paths.is_empty() || event.paths.iter().any(is_of_interest))
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, ModifyKind};

    use super::*;

    #[test]
    fn writes_to_sources_count() {
        // The folders above may be hidden.
        let (bases, top) = (["/home/.x/components".into()], Path::new("/home/.x"));
        let event = |kind, path: &str| Event::new(kind).add_path(path.into());
        let counts = |event: &Event| counts(event, &bases, top);
        let modified = EventKind::Modify(ModifyKind::Any);
        for (path, expected) in [
            ("/home/.x/components/audit/src/lib.rs", true),
            ("/home/.x/Cargo.toml", true),
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
