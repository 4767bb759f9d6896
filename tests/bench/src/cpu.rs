//! Processor time, of this process and of others with all that they started. From `/proc`; elsewhere
//! there is none.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What this process has used, on all cores.
pub fn own() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(used.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds)
        + Duration::from_nanos(u64::try_from(used.tv_nsec).unwrap_or_default())
}

/// What a process and its descendants have used, those included that have ended; in steps of 10 ms.
pub fn tree(root: u32) -> Option<Duration> {
    trees(&[root]).pop().flatten()
}

/// The same of several processes, at one moment.
pub fn trees(roots: &[u32]) -> Vec<Option<Duration>> {
    let processes = processes();
    roots.iter().map(|root| used(*root, &processes)).collect()
}

fn used(root: u32, processes: &HashMap<u32, Stat>) -> Option<Duration> {
    processes.get(&root)?;
    let belongs = |mut id: u32| {
        // A chain of parents is short; one that changes under our eyes ends here too.
        for _ in 0..64 {
            if id == root {
                return true;
            }
            match processes.get(&id) {
                Some(stat) => id = stat.parent,
                None => return false,
            }
        }
        false
    };
    let ticks = processes.iter().filter(|(id, _)| belongs(**id)).map(|(_, stat)| stat.ticks);
    Some(Duration::from_millis(ticks.sum::<u64>() * 10))
}

/// Most memory that a process has had, in bytes.
pub fn peak_memory(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

struct Stat {
    parent: u32,
    /// Its own time and that of the children that it has waited for.
    ticks: u64,
}

fn processes() -> HashMap<u32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stat = |entry: fs::DirEntry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        Some((id, parse(&fs::read_to_string(entry.path().join("stat")).ok()?)?))
    };
    entries.filter_map(stat).collect()
}

fn parse(stat: &str) -> Option<Stat> {
    // The name of the program may hold anything, hence the last parenthesis.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let ticks = fields.skip(9).take(4).map(|field| field.parse::<u64>().ok());
    Some(Stat { parent, ticks: ticks.sum::<Option<u64>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_is_read_whatever_the_program_is_called() {
        let stat = parse("17 (a) b) S 4 17 17 0 -1 4194304 10 20 0 0 5 6 7 8 20 0 1 0").unwrap();
        assert_eq!((stat.parent, stat.ticks), (4, 26));
    }
}
