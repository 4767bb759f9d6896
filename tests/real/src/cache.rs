//! Where built parts are kept: outside the clone, so that they are built once. A folder gets its
//! name when it is whole, and one process at a time makes it.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::say;

/// The folder `name`, whole: as it was made before, or as `make` makes it now.
pub fn made(name: &str, make: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<PathBuf> {
    let folder = folder(name)?;
    if folder.is_dir() {
        return Ok(folder);
    }
    let parts = folder.parent().context("a part is in a folder")?;
    fs::create_dir_all(parts).with_context(|| parts.display().to_string())?;
    let _alone = alone(name, &parts.join(format!("{name}.lock")))?;
    if folder.is_dir() {
        return Ok(folder);
    }
    let unfinished = parts.join(format!("{name}.unfinished"));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    fs::create_dir(&unfinished)?;
    make(&unfinished)?;
    fs::rename(&unfinished, &folder)?;
    Ok(folder)
}

/// Where it is, or will be.
pub fn folder(name: &str) -> anyhow::Result<PathBuf> {
    Ok(parts()?.join(name))
}

/// `WHARF_PARTS`, else `wharf/parts` in the user's cache folder.
fn parts() -> anyhow::Result<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    if let Some(path) = std::env::var_os("WHARF_PARTS") {
        return absolute(path).context("WHARF_PARTS is not absolute; give a path from the root");
    }
    let caches = std::env::var_os("XDG_CACHE_HOME").and_then(absolute);
    let caches = caches.or_else(|| Some(absolute(std::env::var_os("HOME")?)?.join(".cache")));
    let caches = caches.context("nothing says where to keep built parts; set WHARF_PARTS")?;
    Ok(caches.join("wharf/parts"))
}

/// Holds the lock until it is dropped, or this process ends.
fn alone(name: &str, path: &Path) -> anyhow::Result<File> {
    let lock = File::create(path).with_context(|| path.display().to_string())?;
    match lock.try_lock() {
        Ok(()) => return Ok(lock),
        Err(TryLockError::WouldBlock) => say::note(format!("{name}: another process makes it")),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    lock.lock()?;
    Ok(lock)
}
