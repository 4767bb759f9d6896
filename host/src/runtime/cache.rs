//! Compiled code on disk, so that a start or a swap back does not compile again. Compiled code is
//! run as it is found: only the host's own user may reach the folder, and a file is whole or not
//! there at all.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Files that are kept; the oldest go when another is written.
const KEPT: usize = 32;

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
            tracing::warn!(
                folder = %folder.display(), error = format!("{error:#}"),
                "the cache of compiled code cannot be used; components are compiled at every start"
            );
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

impl Cache {
    /// Makes the folder if it is not there, and keeps everyone else out of it. That fails for a
    /// folder of another user, which must not be trusted.
    fn open(folder: &Path) -> anyhow::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
            .context("cannot keep others out of it")?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn file(&self, wasm: &[u8]) -> PathBuf {
        let digest = Sha256::digest(wasm);
        let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(name).with_extension("cwasm")
    }

    /// Readers see the old file or the new one, also after the machine stopped in between.
    fn write(&self, file: &Path, component: &Component) -> anyhow::Result<()> {
        let code = component.serialize().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        let mut draft = tempfile::Builder::new().suffix(".part").tempfile_in(&self.folder)?;
        draft.write_all(&code)?;
        draft.as_file().sync_all()?;
        draft.persist(file)?;
        self.prune()
    }

    fn prune(&self) -> anyhow::Result<()> {
        let entries = fs::read_dir(&self.folder)?.filter_map(|entry| {
            let entry = entry.ok()?;
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

/// The compiled component of a file, if it is there and fits.
fn found(engine: &Engine, file: &Path) -> Option<Component> {
    if !file.exists() {
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
    // folder that no other user can reach, and files of it are replaced and never changed.
    unsafe { Component::deserialize_file(engine, file) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(component)`, made different by a custom section of one byte.
    fn wasm(mark: u8) -> Vec<u8> {
        let mut wasm = b"\0asm\x0d\0\x01\0".to_vec();
        wasm.extend([0, 3, 1, b'x', mark]);
        wasm
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    fn cached(engine: &Engine, folder: &Path, wasm: &[u8]) -> bool {
        compile(engine, Some(folder), wasm).unwrap().cached
    }

    #[test]
    fn what_was_compiled_once_is_found() {
        let parent = tempfile::tempdir().unwrap();
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
        let folder = tempfile::tempdir().unwrap();
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
        let folder = tempfile::tempdir().unwrap();
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
    fn a_folder_that_cannot_be_made_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(!cached(&Engine::default(), &file, &wasm(1)));
        assert!(!cached(&Engine::default(), &file.join("below"), &wasm(1)));
    }
}
