//! The folder of one test: the data, configuration and logs of all that it starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use tempfile::TempDir;

/// It goes with this value, unless it is kept. What was started in it must have ended before: name
/// it first.
#[derive(Debug)]
pub struct Yard {
    folder: PathBuf,
    kept: AtomicBool,
}

impl Yard {
    /// `name` begins the folder's name, in the system's folder for temporary files.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let folder =
            TempDir::with_prefix(format!("wharf-{name}-")).context("no temporary folder")?;
        fs::create_dir(folder.path().join("logs"))?;
        Ok(Self { folder: folder.keep(), kept: AtomicBool::new(false) })
    }

    /// Leaves everything there, and says where that is.
    pub fn keep(&self) -> &Path {
        self.kept.store(true, Ordering::Relaxed);
        &self.folder
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// Where what `name` writes goes.
    pub fn log(&self, name: &str) -> PathBuf {
        self.path("logs").join(format!("{name}.log"))
    }

    /// Writes a file, and gives its path.
    pub fn write(&self, path: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.path(path);
        let folder = path.parent().context("a file is in a folder")?;
        fs::create_dir_all(folder)?;
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// A folder of resources for a daprd: each text is one YAML file.
    pub fn resources(&self, name: &str, texts: &[&str]) -> anyhow::Result<PathBuf> {
        let folder = self.folder(&format!("resources-{name}"))?;
        for (number, text) in texts.iter().enumerate() {
            fs::write(folder.join(format!("{number}.yaml")), text)?;
        }
        Ok(folder)
    }

    /// Makes a folder.
    pub fn folder(&self, path: &str) -> anyhow::Result<PathBuf> {
        let path = self.path(path);
        fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(path)
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        if !self.kept.load(Ordering::Relaxed) {
            // What is left is in the system's folder for temporary files.
            _ = fs::remove_dir_all(&self.folder);
        }
    }
}
