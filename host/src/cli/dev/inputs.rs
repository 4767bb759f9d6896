//! What components are built from, as digests: whether something is to be built again is told by
//! what the files say, not by which events a file system reports of them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// What files said: their paths and all their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Print([u8; 32]);

/// Cargo's configuration, beside `components/`.
pub const CARGO: &str = ".cargo/config.toml";

/// Files beside `components/` that the builds of a workspace depend on.
const WORKSPACE: [&str; 5] = ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", CARGO, "wit"];

/// Everything in a folder, except for what is hidden or in a target folder.
pub fn folder(folder: &Path) -> Print {
    print(&[folder.to_owned()], &|_| false)
}

/// The same of a component's folder, without the `output` of its build, and of the folders elsewhere
/// that it is made from, without what builds make there.
pub fn component(folder: &Path, output: Option<&Path>, elsewhere: &[PathBuf]) -> Print {
    let output = output.map(|output| folder.join(output));
    let mut paths = vec![folder.to_owned()];
    paths.extend_from_slice(elsewhere);
    print(&paths, &|path| {
        let is_own = path.starts_with(folder);
        let is_wasm = || path.extension().is_some_and(|extension| extension == "wasm");
        if is_own { output.as_deref() == Some(path) } else { is_wasm() }
    })
}

/// What all components share: crates and files below `components/` that belong to none of them, and
/// what is beside it.
pub fn shared(components: &Path) -> Print {
    let root = workspace(components);
    let mut paths = vec![components.to_owned()];
    paths.extend(WORKSPACE.iter().map(|name| root.join(name)));
    print(&paths, &|path| path.join("component.toml").is_file())
}

/// The folder that `components/` is in.
pub fn workspace(components: &Path) -> PathBuf {
    match components.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Whether it is hidden, or made by cargo.
pub fn is_ignored(name: &OsStr) -> bool {
    name == "target" || name.as_encoded_bytes().starts_with(b".")
}

fn print(paths: &[PathBuf], skipped: &dyn Fn(&Path) -> bool) -> Print {
    let mut hasher = Sha256::new();
    for path in paths {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => add_folder(&mut hasher, path, skipped),
            Ok(_) => add_file(&mut hasher, path),
            Err(_) => {}
        }
    }
    Print(hasher.finalize().into())
}

/// What goes away meanwhile is as if it had not been there: its event brings the next look.
fn add_folder(hasher: &mut Sha256, folder: &Path, skipped: &dyn Fn(&Path) -> bool) {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut entries: Vec<_> = entries.filter(|entry| !is_ignored(&entry.file_name())).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if skipped(&path) {
            continue;
        }
        match entry.file_type() {
            // A link to a folder could lead back here.
            Ok(kind) if kind.is_dir() => add_folder(hasher, &path, skipped),
            Ok(_) => add_file(hasher, &path),
            Err(_) => {}
        }
    }
}

fn add_file(hasher: &mut Sha256, path: &Path) {
    if !path.is_file() {
        return;
    }
    let Ok(bytes) = fs::read(path) else { return };
    for part in [path.as_os_str().as_encoded_bytes(), &bytes] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_change_is_seen_where_it_counts() {
        let place = TempDir::new().unwrap();
        let components = place.path().join("components");
        write(&components, "audit/component.toml", "");
        write(&components, "audit/src/lib.rs", "");
        write(&components, "todo/Cargo.toml", "");
        let output = Path::new("audit.wasm");
        write(&components, "other/component.toml", "");
        let elsewhere = [components.join("other/migrations")];
        let audit = components.join("audit");
        let prints = || (component(&audit, Some(output), &elsewhere), shared(&components));
        for (file, own, all) in [
            ("components/audit/src/lib.rs", true, false),
            ("components/audit/new.txt", true, false),
            ("components/audit/target/x", false, false),
            ("components/audit/.lib.rs.swp", false, false),
            ("components/audit/audit.wasm", false, false),
            ("components/other/migrations/1.sql", true, false),
            ("components/other/migrations/made.wasm", false, false),
            ("components/other/src/lib.rs", false, false),
            ("components/todo/src/lib.rs", false, true),
            ("components/README", false, true),
            ("wit/world.wit", false, true),
            ("Cargo.lock", false, true),
            (".cargo/config.toml", false, true),
            ("README", false, false),
        ] {
            let before = prints();
            write(place.path(), file, "changed");
            let after = prints();
            assert_eq!((before.0 != after.0, before.1 != after.1), (own, all), "{file}");
            write(place.path(), file, "changed");
            assert_eq!(prints(), after, "{file}: it says the same");
        }
    }

    #[test]
    fn what_is_there_no_more_counts_too() {
        let place = TempDir::new().unwrap();
        write(place.path(), "src/lib.rs", "");
        let before = folder(place.path());
        fs::remove_file(place.path().join("src/lib.rs")).unwrap();
        assert_ne!(folder(place.path()), before);
    }
}
