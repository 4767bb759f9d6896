//! A folder with contracts and built components, as `wharf serve` finds them in an image.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use wharf_test_real::Yard;
use wharf_tests::built;
use wharf_tests::folder::copy;
use wharf_tests::host::root;

pub struct Project {
    folder: PathBuf,
}

/// Its guest imports all of these.
const DOES: &str = r#"
[grants]
publish = ["com.things.said.v1"]
state = ["todo-statestore"]
secrets = { todo-secrets = ["none"] }
jobs = ["caps-*"]
bindings = ["notify-file"]
"#;

impl Project {
    /// With nothing but the contracts that come with Wharf.
    pub fn new(yard: &Yard) -> anyhow::Result<Self> {
        let folder = yard.folder("project")?;
        copy(&root().join("contracts"), &folder.join("contracts"));
        fs::create_dir_all(folder.join("components"))?;
        Ok(Self { folder })
    }

    /// With the four components that come with Wharf.
    pub fn todo(yard: &Yard) -> anyhow::Result<Self> {
        let project = Self::new(yard)?.with_known("audit", built::AUDIT)?;
        let project = project.with_known("recurring", built::RECURRING)?;
        let project = project.with_known("reminder", built::REMINDER)?;
        project.with_known("notification", built::NOTIFICATION)
    }

    /// With audit alone, whose table has no key that would hide what happens twice.
    pub fn audit(yard: &Yard) -> anyhow::Result<Self> {
        Self::new(yard)?.with_known("audit", built::AUDIT)?.counting()
    }

    /// Its audit has no key that would hide what happens twice.
    pub fn counting(self) -> anyhow::Result<Self> {
        let manifest = "components/audit/component.toml";
        let this = self.edited(manifest, "ON CONFLICT DO NOTHING", "")?;
        let table = "components/audit/migrations/postgres/0001_audit_log.sql";
        this.edited(table, ",\n    PRIMARY KEY (contract, source, event_id, type)", "")
    }

    /// A component that does what its events say, and publishes what came of it on `echoes`; `on` is
    /// what it gets.
    pub fn with_doer(self, on: &str) -> anyhow::Result<Self> {
        let manifest = format!("name = \"doer\"\nversion = \"0.1.0\"\n[[on]]\n{on}\n{DOES}");
        self.with("doer", built::CAPABILITIES, &manifest)
    }

    /// A component that comes with Wharf, and the migrations that it shares.
    fn with_known(self, name: &str, wasm: &str) -> anyhow::Result<Self> {
        for folder in [name, "todo"].map(|name| format!("components/{name}")) {
            let migrations = format!("{folder}/migrations");
            copy(&root().join(&migrations), &self.folder.join(migrations));
        }
        let manifest = format!("components/{name}/component.toml");
        let text = fs::read_to_string(root().join(manifest))?;
        self.with(name, wasm, &text)
    }

    /// A component of a manifest and a built file.
    pub fn with(self, name: &str, wasm: &str, manifest: &str) -> anyhow::Result<Self> {
        let this = self.file(&format!("components/{name}/component.toml"), manifest)?;
        fs::copy(wasm, this.path(&format!("components/{name}/{name}.wasm")))?;
        Ok(this)
    }

    /// A further contract.
    pub fn contract(self, name: &str, text: &str) -> anyhow::Result<Self> {
        self.file(&format!("contracts/{name}/contract.toml"), text)
    }

    /// Any file.
    pub fn file(self, path: &str, text: &str) -> anyhow::Result<Self> {
        let path = self.path(path);
        fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
        fs::write(path, text)?;
        Ok(self)
    }

    /// Replaces a part of a file, which must be there.
    pub fn edited(self, path: &str, from: &str, to: &str) -> anyhow::Result<Self> {
        let text = fs::read_to_string(self.path(path))?;
        ensure!(text.contains(from), "{path} does not hold `{from}`");
        self.file(path, &text.replace(from, to))
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }
}
