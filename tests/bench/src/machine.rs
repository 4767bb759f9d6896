//! What figures depend on: the machine, and how busy it is.

use std::fs;
use std::path::Path;

/// In a few words; `place` is where the databases are.
pub fn machine(place: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cores = if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
    let files = file_system(place).unwrap_or_else(|| "an unknown file system".to_owned());
    format!("{cores}, databases on {files}; load {} before", load())
}

/// How many programs wanted a core in the last minute.
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("–").to_owned()
}

/// What a folder is on. In memory nothing is synced: such figures say nothing.
fn file_system(place: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let around = mounts.filter(|(folder, _)| place.starts_with(folder));
    let (_, name) = around.max_by_key(|(folder, _)| folder.len())?;
    match name {
        "tmpfs" | "ramfs" => {
            Some(format!("{name}, WHICH IS MEMORY: set TMPDIR to a folder on a disk"))
        }
        name => Some(name.to_owned()),
    }
}
