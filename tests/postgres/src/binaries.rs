//! Where a server's programs are. The build script asks, too.

use std::fs;
use std::path::{Path, PathBuf};

/// What to do about it.
pub const MISSING: &str = "PostgreSQL is missing: give DATABASE_URL, or install its server \
    (Debian: apt-get install postgresql), or put `initdb` and `postgres` on the PATH";

/// The newest installed.
#[expect(clippy::disallowed_methods, reason = "where programs are is not configuration")]
pub fn binaries() -> Option<PathBuf> {
    let has = |folder: &Path| folder.join("postgres").is_file() && folder.join("initdb").is_file();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let mut debian: Vec<_> = debian.map(|entry| entry.path()).collect();
    debian.sort_by_key(|path| std::cmp::Reverse(version(path)));
    let debian = debian.into_iter().map(|path| path.join("bin"));
    let path = std::env::var("PATH").unwrap_or_default();
    let path: Vec<_> = std::env::split_paths(&path).collect();
    debian.chain(path).find(|folder| has(folder))
}
