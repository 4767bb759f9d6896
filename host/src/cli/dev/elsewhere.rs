//! The folders elsewhere that a component is made from: shared migrations, and crates that its own
//! depends on by their paths. They may be another component's.

use std::fs;
use std::iter;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::manifest::Manifest;

/// Those that are there, beside the component's own folder and what that is in.
pub fn folders(folder: &Path, manifest: &Manifest, workspace: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = manifest.migrations.iter().map(|set| folder.join(set)).collect();
    found.extend(crates(folder, workspace));
    let own = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let is_elsewhere = |path: &PathBuf| !path.starts_with(&own) && !own.starts_with(path);
    let mut found: Vec<_> = found.iter().filter_map(|path| path.canonicalize().ok()).collect();
    found.retain(is_elsewhere);
    found.sort();
    found.dedup();
    found
}

/// Also what those depend on that a crate depends on.
fn crates(folder: &Path, workspace: &Path) -> Vec<PathBuf> {
    let shared = table(workspace);
    let shared = shared.get("workspace").and_then(|found| found.get("dependencies"));
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(from) = open.pop() {
        let cargo = table(&from);
        let named = dependencies(&cargo).filter_map(|(name, wanted)| match wanted.get("path") {
            Some(path) => Some(from.join(path.as_str()?)),
            None => {
                wanted.get("workspace")?;
                Some(workspace.join(shared?.get(name)?.get("path")?.as_str()?))
            }
        });
        // One place has many names: `a/../b` is `b`.
        for path in named.filter_map(|path| path.canonicalize().ok()) {
            if !found.contains(&path) {
                found.push(path.clone());
                open.push(path);
            }
        }
    }
    found
}

/// What a build needs, on whatever target.
fn dependencies(cargo: &Table) -> impl Iterator<Item = (&String, &Value)> {
    let targets = cargo.get("target").and_then(Value::as_table).into_iter();
    let targets = targets.flat_map(Table::values).filter_map(Value::as_table);
    iter::once(cargo).chain(targets).flat_map(|table| {
        let kinds = ["dependencies", "build-dependencies"].into_iter();
        kinds.filter_map(|kind| table.get(kind)?.as_table()).flatten()
    })
}

/// A folder's Cargo.toml; nothing where there is none, or none that can be read: its build tells.
fn table(folder: &Path) -> Table {
    let text = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
    text.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn migrations_and_crates_elsewhere_are_found() {
        let place = TempDir::new().unwrap();
        let root = place.path().canonicalize().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("Cargo.toml", "[workspace.dependencies]\ninner = { path = \"libs/inner\" }\n");
        write("libs/inner/Cargo.toml", "");
        write("components/b/migrations/1.sql", "");
        write(
            "components/b/Cargo.toml",
            "[dependencies]\na = { path = \"../a\" }\ninner.workspace = true\nserde = \"1\"\n",
        );
        write("components/a/migrations/1.sql", "");
        write(
            "components/a/Cargo.toml",
            "[target.'cfg(unix)'.dependencies]\nb = { path = \"../b\" }\n\
             [build-dependencies]\nroot = { path = \"../..\" }\ngone = { path = \"../gone\" }\n",
        );
        let text = "name = \"a\"\nversion = \"1\"\n[[on]]\nevent = \"x\"\n";
        let sets = "migrations = [\"migrations\", \"../c/migrations\", \"../gone\"]\n";
        write("components/c/migrations/1.sql", "");
        let folder = root.join("components/a");
        let manifest = Manifest::parse(&folder, &format!("{sets}{text}")).unwrap();
        let found = folders(&folder, &manifest, &root);
        let expected = ["components/b", "components/c/migrations", "libs/inner"];
        assert_eq!(found, expected.map(|path| root.join(path)));
    }
}
