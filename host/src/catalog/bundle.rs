//! A component as one file: a tar of manifest, wasm and migrations, for whichever database its host
//! has. What is unpacked came from anywhere: nothing of it touches the disk, and each size is bounded
//! before it is read.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use tar::{Archive, Builder, Entry, EntryType, Header};

use super::load::{Offer, Script};
use crate::ledger::Migration;
use crate::manifest::{Database, Manifest};

/// The most that one entry may hold, in bytes.
const MOST_ENTRY: u64 = 64 << 20;

/// The most that all entries may hold together, in bytes.
const MOST: u64 = 128 << 20;

/// The most entries.
const MOST_ENTRIES: usize = 1000;

const MANIFEST: &str = "component.toml";
const WASM: &str = "component.wasm";
/// Below it, `<database>/<set>/<name>`, in the order in which they are applied.
const MIGRATIONS: &str = "migrations";

/// The same offer gives the same bytes.
pub fn pack(offer: &Offer) -> anyhow::Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    add(&mut tar, MANIFEST, offer.text.as_bytes())?;
    add(&mut tar, WASM, &offer.wasm)?;
    for Script { database, migration: Migration { set, name, sql }, .. } in &offer.migrations {
        add(&mut tar, &format!("{MIGRATIONS}/{database}/{set}/{name}"), sql.as_bytes())?;
    }
    Ok(tar.into_inner()?)
}

fn add(tar: &mut Builder<Vec<u8>>, path: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, path, bytes).with_context(|| format!("{path} cannot be packed"))
}

/// The way back; `named` stands for the file in messages about its manifest.
pub fn unpack(bundle: &[u8], named: &str) -> anyhow::Result<Offer> {
    let mut found = Found::default();
    let mut archive = Archive::new(bundle);
    let entries = archive.entries().context("it is not a tar")?;
    for (index, entry) in entries.enumerate() {
        if index == MOST_ENTRIES {
            bail!("it has more than {MOST_ENTRIES} entries");
        }
        found.take(entry.context("it is not a tar, or cut off")?)?;
    }
    let file = PathBuf::from(named).join(MANIFEST);
    let text =
        found.manifest.with_context(|| format!("it has no {MANIFEST}; put it at the top"))?;
    let wasm = found.wasm.with_context(|| {
        format!("it has no {WASM}; put the built component at the top under that name")
    })?;
    let manifest = Manifest::parse(&file, &text).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", lines.join("\n"))
    })?;
    Ok(Offer::new(file, manifest, text, wasm, found.migrations))
}

#[derive(Default)]
struct Found {
    manifest: Option<String>,
    wasm: Option<Vec<u8>>,
    migrations: Vec<Script>,
    /// Bytes so far.
    size: u64,
}

impl Found {
    fn take(&mut self, mut entry: Entry<'_, &[u8]>) -> anyhow::Result<()> {
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        match entry.header().entry_type() {
            EntryType::Directory => return Ok(()),
            EntryType::Regular => {}
            _ => bail!("`{path}` is neither a file nor a folder; pack no links"),
        }
        self.size = self.size.saturating_add(entry.size());
        if entry.size() > MOST_ENTRY || self.size > MOST {
            bail!(
                "`{path}` is too large: {} MiB for each entry and {} MiB for all are allowed",
                MOST_ENTRY >> 20,
                MOST >> 20
            );
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        if bytes.len() as u64 != entry.size() {
            bail!("`{path}` is cut off");
        }
        let text = |bytes| String::from_utf8(bytes).with_context(|| format!("`{path}` is no text"));
        let parts: Vec<_> = path.split('/').skip_while(|part| *part == ".").collect();
        let repeated = match parts.as_slice() {
            [MANIFEST] => self.manifest.replace(text(bytes)?).is_some(),
            [WASM] => self.wasm.replace(bytes).is_some(),
            [MIGRATIONS, database, set, name] if is_plain(set) && is_plain(name) => {
                let is_named = |one: &Database| one.to_string() == *database;
                let database = Database::ALL.into_iter().find(is_named).with_context(|| {
                    format!("`{path}` is for no database that is known: sqlite or postgres")
                })?;
                let sql = text(bytes)?;
                let migration = Migration { set: (*set).into(), name: (*name).into(), sql };
                self.migrations.push(Script { file: PathBuf::from(&path), database, migration });
                false
            }
            _ => bail!(
                "`{path}` does not belong in a bundle; it holds {MANIFEST}, {WASM} and \
                 {MIGRATIONS}/<database>/<set>/<name>"
            ),
        };
        if repeated {
            bail!("`{path}` is there twice");
        }
        Ok(())
    }
}

/// A name of its own, and no way out of the bundle.
fn is_plain(name: &str) -> bool {
    !["", ".", ".."].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "name = \"a\"\nversion = \"1\"\n[[on]]\nevent = \"x\"\n";

    fn offer() -> Offer {
        let file = PathBuf::from("components/a/component.toml");
        let manifest = Manifest::parse(&file, TEXT).unwrap();
        let script_for = |database, set: &str, name: &str| Script {
            file: PathBuf::from(name),
            database,
            migration: Migration { set: set.into(), name: name.into(), sql: format!("-- {name}") },
        };
        let script = |set: &str, name: &str| script_for(Database::Sqlite, set, name);
        // The order of sets is the manifest's, not that of names.
        let long = format!("{}.sql", "n".repeat(150));
        let migrations = vec![
            script("todo", "0001.sql"),
            script("a", "0002.sql"),
            script("a", &long),
            script_for(Database::Postgres, "todo", "0001.sql"),
        ];
        Offer::new(file, manifest, TEXT.to_owned(), b"\0asm".to_vec(), migrations)
    }

    fn entry(path: &str, kind: EntryType, size: u64, bytes: &[u8]) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        if kind == EntryType::Symlink {
            header.set_link_name("/etc/passwd").unwrap();
        }
        // Written by hand: the library refuses to make such a path.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        let mut tar = Builder::new(Vec::new());
        tar.append(&header, bytes).unwrap();
        tar.into_inner().unwrap()
    }

    #[test]
    fn what_is_packed_is_unpacked_as_it_was() {
        let offer = offer();
        let bundle = pack(&offer).unwrap();
        assert_eq!(bundle, pack(&offer).unwrap());
        let again = unpack(&bundle, "upload").unwrap();
        assert_eq!(
            (&again.digest, &again.text, &again.wasm),
            (&offer.digest, &offer.text, &offer.wasm)
        );
        let migrations = |offer: &Offer| -> Vec<_> {
            let both = offer.migrations.iter();
            both.map(|script| (script.database, script.migration.clone())).collect()
        };
        assert_eq!(migrations(&again), migrations(&offer));
        assert_eq!(again.manifest.file, PathBuf::from("upload/component.toml"));
    }

    #[test]
    fn what_does_not_belong_is_refused() {
        let file = |path: &str| entry(path, EntryType::Regular, 1, b"x");
        for (tar, says) in [
            (file("../component.toml"), "does not belong"),
            (file("/component.toml"), "does not belong"),
            (file("migrations/sqlite/../0001.sql"), "does not belong"),
            (file("migrations/sqlite/a/b/0001.sql"), "does not belong"),
            (file("migrations/a/0001.sql"), "does not belong"),
            (file("migrations/mysql/a/0001.sql"), "no database that is known"),
            (file("run.sh"), "does not belong"),
            (entry("component.wasm", EntryType::Symlink, 0, b""), "pack no links"),
            (entry("component.wasm", EntryType::Link, 0, b""), "pack no links"),
            (entry("component.wasm", EntryType::Regular, 65 << 20, b"x"), "too large: 64 MiB"),
            (entry("component.toml", EntryType::Regular, 5000, b"\xff\xff"), "cut off"),
            (entry("component.toml", EntryType::Regular, 2, b"\xff\xff"), "no text"),
            (file("component.wasm"), "no component.toml"),
            (b"not a tar at all, and longer than nothing".to_vec(), "not a tar"),
            (Vec::new(), "no component.toml"),
        ] {
            let error = unpack(&tar, "upload").map(|_| ()).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains(says), "`{error}` does not say `{says}`");
        }
    }

    #[test]
    fn many_small_entries_and_repeated_ones_are_refused() {
        let tar = |paths: &[&str]| {
            let mut tar = Builder::new(Vec::new());
            paths.iter().for_each(|path| add(&mut tar, path, TEXT.as_bytes()).unwrap());
            tar.into_inner().unwrap()
        };
        let error = unpack(&tar(&["component.toml"; 2]), "upload").map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("there twice"), "{error}");
        let many = vec!["migrations/sqlite/a/1.sql"; MOST_ENTRIES + 1];
        let error = unpack(&tar(&many), "upload").map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("more than 1000 entries"), "{error}");
    }

    #[test]
    fn a_manifest_with_a_fault_is_told_with_its_line() {
        let broken = Offer { text: TEXT.replace("event", "evnt"), ..offer() };
        let error = unpack(&pack(&broken).unwrap(), "upload").map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("upload/component.toml:4"), "{error}");
    }
}
