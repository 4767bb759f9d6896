//! Compiled code on disk, so that a start or a swap back does not compile again. Compiled code is
//! run as it is found: only the host's own user may reach the folder, both belong to that user, and
//! a file is whole or not there at all.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Context as _, ensure};
use rustix::process::geteuid;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Files that are kept; the oldest go when another is written.
const KEPT: usize = 32;
/// How a file begins that is being written; `.part` ends it.
const DRAFT: &str = ".wharf-";

/// A folder of compiled components, by the digest of their wasm.
pub struct Cache {
    folder: PathBuf,
}

/// A compiled component, and whether it was found compiled.
pub struct Compiled {
    pub component: Component,
    pub cached: bool,
}

/// Takes the component from the cache, or compiles it and leaves it there. What goes wrong with
/// the cache costs time and is no error.
pub fn compile(engine: &Engine, cache: Option<&Path>, wasm: &[u8]) -> wasmtime::Result<Compiled> {
    let cache = cache.and_then(|folder| {
        let opened = Cache::open(folder).inspect_err(|error| {
            if is_news(folder) {
                tracing::warn!(
                    folder = %folder.display(), error = format!("{error:#}"),
                    "the cache of compiled code is not used; components are compiled at every start"
                );
            }
        });
        opened.ok()
    });
    let Some(cache) = cache else {
        return Ok(Compiled { component: Component::new(engine, wasm)?, cached: false });
    };
    let file = cache.file(wasm);
    if let Some(component) = found(engine, &file) {
        return Ok(Compiled { component, cached: true });
    }
    let component = Component::new(engine, wasm)?;
    if let Err(error) = cache.write(&file, &component) {
        tracing::warn!(
            file = %file.display(), error = format!("{error:#}"),
            "compiled code cannot be kept; it will be compiled again"
        );
    }
    Ok(Compiled { component, cached: false })
}

/// Whether nothing was said of this folder yet: it is opened for every component.
fn is_news(folder: &Path) -> bool {
    static TOLD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned())
}

impl Cache {
    /// Makes the folder if it is not there, for this user alone. One that others may reach is not
    /// trusted: what they put there would be run.
    fn open(folder: &Path) -> anyhow::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).context(
            "it cannot be made; name another folder as `cache` in the configuration (WHARF_CACHE)",
        )?;
        let found = fs::metadata(folder)?;
        ensure!(
            is_own(&found),
            "it belongs to user {}, not to {}; name another folder as `cache` in the configuration \
             (WHARF_CACHE)",
            found.uid(),
            geteuid().as_raw()
        );
        let mode = found.mode() & 0o777;
        ensure!(
            mode & 0o077 == 0,
            "it is open to other users (mode {mode:03o}); run `chmod 700 '{}'`",
            folder.display()
        );
        Ok(Self { folder: folder.to_owned() })
    }

    fn file(&self, wasm: &[u8]) -> PathBuf {
        let name = crate::name::hex(&Sha256::digest(wasm));
        self.folder.join(name).with_extension("cwasm")
    }

    /// Readers see the old file or the new one, also after the machine stopped in between.
    fn write(&self, file: &Path, component: &Component) -> anyhow::Result<()> {
        let code = component.serialize().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        let mut draft =
            tempfile::Builder::new().prefix(DRAFT).suffix(".part").tempfile_in(&self.folder)?;
        draft.write_all(&code)?;
        draft.as_file().sync_all()?;
        draft.persist(file)?;
        self.prune()
    }

    /// Whatever else lies in the folder is not ours to remove.
    fn prune(&self) -> anyhow::Result<()> {
        let entries = fs::read_dir(&self.folder)?.filter_map(|entry| {
            let entry = entry.ok().filter(|entry| is_written_here(&entry.path()))?;
            Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
        });
        let mut files: Vec<(SystemTime, PathBuf)> = entries.collect();
        files.sort_by(|one, other| other.cmp(one));
        for (_, file) in files.into_iter().skip(KEPT) {
            // Another host that shares the folder may have been faster.
            _ = fs::remove_file(file);
        }
        Ok(())
    }
}

/// A name that only this module gives: compiled code, or a draft that a crash left.
fn is_written_here(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_digest = |name: &str| name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
    name.strip_suffix(".cwasm").is_some_and(is_digest)
        || name.starts_with(DRAFT) && name.ends_with(".part")
}

fn is_own(found: &Metadata) -> bool {
    found.uid() == geteuid().as_raw()
}

/// The compiled component of a file, if it is there and fits.
fn found(engine: &Engine, file: &Path) -> Option<Component> {
    let found = fs::metadata(file).ok()?;
    if !is_own(&found) || found.mode() & 0o022 != 0 {
        tracing::warn!(
            file = %file.display(),
            "compiled code that another user may have written is replaced"
        );
        return None;
    }
    let read = read(engine, file).inspect_err(|error| {
        tracing::warn!(
            file = %file.display(), error = format!("{error:#}"),
            "compiled code does not fit; it is compiled anew"
        );
    });
    read.ok()
}

/// wasmtime refuses what another version or other settings made.
#[expect(unsafe_code, reason = "compiled code is only ever written by this module")]
fn read(engine: &Engine, file: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file was written whole by `Cache::write` from what this very compiler made, in a
    // folder that no other user can reach; folder and file belong to this user, and files of it are
    // replaced and never changed.
    unsafe { Component::deserialize_file(engine, file) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// `(component)`, made different by a custom section of one byte.
    fn wasm(mark: u8) -> Vec<u8> {
        let mut wasm = b"\0asm\x0d\0\x01\0".to_vec();
        wasm.extend([0, 3, 1, b'x', mark]);
        wasm
    }

    fn own_folder() -> tempfile::TempDir {
        let own = fs::Permissions::from_mode(0o700);
        tempfile::Builder::new().permissions(own).tempdir().unwrap()
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    fn cached(engine: &Engine, folder: &Path, wasm: &[u8]) -> bool {
        compile(engine, Some(folder), wasm).unwrap().cached
    }

    #[test]
    fn what_was_compiled_once_is_found() {
        let parent = own_folder();
        let folder = parent.path().join("cache");
        let engine = Engine::default();
        assert!(!cached(&engine, &folder, &wasm(1)));
        assert!(cached(&engine, &folder, &wasm(1)));
        assert!(!cached(&engine, &folder, &wasm(2)));
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(files(&folder).len(), 2);
        assert!(!compile(&engine, None, &wasm(1)).unwrap().cached);
    }

    #[test]
    fn a_file_that_is_broken_or_of_another_engine_is_replaced() {
        let folder = own_folder();
        let engine = Engine::default();
        cached(&engine, folder.path(), &wasm(1));
        let file = files(folder.path()).remove(0);
        let whole = fs::read(&file).unwrap();
        for broken in [&b""[..], b"nonsense", &whole[..whole.len() / 2]] {
            // As the host itself writes: the file that may still be mapped is left alone.
            fs::remove_file(&file).unwrap();
            fs::write(&file, broken).unwrap();
            assert!(!cached(&engine, folder.path(), &wasm(1)), "{} bytes", broken.len());
            assert!(cached(&engine, folder.path(), &wasm(1)));
        }
        let mut other = wasmtime::Config::new();
        other.consume_fuel(true);
        let other = Engine::new(&other).unwrap();
        assert!(!cached(&other, folder.path(), &wasm(1)));
        assert!(cached(&other, folder.path(), &wasm(1)));
        assert!(!cached(&engine, folder.path(), &wasm(1)));
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let folder = own_folder();
        let engine = Engine::default();
        for number in 0..u8::try_from(KEPT).unwrap() {
            cached(&engine, folder.path(), &wasm(number));
        }
        let oldest = Cache { folder: folder.path().to_owned() }.file(&wasm(7));
        fs::File::open(&oldest).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        cached(&engine, folder.path(), &wasm(200));
        assert_eq!(files(folder.path()).len(), KEPT);
        assert!(!oldest.exists());
        assert!(cached(&engine, folder.path(), &wasm(200)));
    }

    #[test]
    fn what_others_keep_in_the_folder_stays() {
        let folder = own_folder();
        let engine = Engine::default();
        let long_ago = |name: &str| {
            let file = folder.path().join(name);
            fs::write(&file, "").unwrap();
            fs::File::open(&file).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
            file
        };
        let others = ["notes.txt", "mine.cwasm", ".wharf-notes", "a.part"].map(long_ago);
        let draft = long_ago(".wharf-Ab12Cd.part");
        for number in 0..=u8::try_from(KEPT).unwrap() {
            cached(&engine, folder.path(), &wasm(number));
        }
        assert!(others.iter().all(|file| file.exists()), "{:?}", files(folder.path()));
        assert!(!draft.exists());
        assert_eq!(files(folder.path()).len(), KEPT + others.len());
    }

    fn open_to(file: &Path, mode: u32) {
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_folder_that_is_open_to_others_is_not_used() {
        let folder = own_folder();
        let engine = Engine::default();
        cached(&engine, folder.path(), &wasm(1));
        for mode in [0o755, 0o770, 0o701] {
            open_to(folder.path(), mode);
            assert!(!cached(&engine, folder.path(), &wasm(1)), "{mode:o}");
            let refused = format!("{:#}", Cache::open(folder.path()).err().unwrap());
            let says = format!("mode {mode:o}); run `chmod 700 '{}'`", folder.path().display());
            assert!(refused.contains(&says), "{refused}");
        }
        assert!(!is_news(folder.path()), "it was told, and is not told again");
        open_to(folder.path(), 0o700);
        assert!(cached(&engine, folder.path(), &wasm(1)));
    }

    #[test]
    fn a_file_that_others_may_write_is_replaced() {
        let folder = own_folder();
        let engine = Engine::default();
        cached(&engine, folder.path(), &wasm(1));
        open_to(&files(folder.path())[0], 0o620);
        assert!(!cached(&engine, folder.path(), &wasm(1)));
        assert!(cached(&engine, folder.path(), &wasm(1)));
    }

    /// Only the superuser can give a file away; elsewhere there is nothing to test with.
    #[test]
    fn what_belongs_to_another_user_is_not_used() {
        if !geteuid().is_root() {
            return;
        }
        let folder = own_folder();
        let engine = Engine::default();
        cached(&engine, folder.path(), &wasm(1));
        let give = |file: &Path, to| std::os::unix::fs::chown(file, Some(to), None).unwrap();
        give(&files(folder.path())[0], 12345);
        assert!(!cached(&engine, folder.path(), &wasm(1)));
        assert!(cached(&engine, folder.path(), &wasm(1)));
        give(folder.path(), 12345);
        assert!(!cached(&engine, folder.path(), &wasm(1)));
        let refused = format!("{:#}", Cache::open(folder.path()).err().unwrap());
        assert!(refused.contains("belongs to user 12345, not to 0"), "{refused}");
        give(folder.path(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_no_error() {
        let folder = own_folder();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(!cached(&Engine::default(), &file, &wasm(1)));
        assert!(!cached(&Engine::default(), &file.join("below"), &wasm(1)));
    }
}
