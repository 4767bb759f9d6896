//! Runs what builds a part, and shows that it goes on.

use std::io::{BufRead as _, BufReader, IsTerminal as _, Read, stderr};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::say;

/// How often a log that is no terminal is told.
const TELL: Duration = Duration::from_secs(20);
/// Lines that are shown of what failed.
const SHOWN: usize = 30;

/// Runs it to its end; each line that it writes is a step.
pub fn run(command: &mut Command, what: &str) -> anyhow::Result<()> {
    steps(command, what).map(drop)
}

/// The same, with what it wrote to stdout.
pub fn answer(command: &mut Command, what: &str) -> anyhow::Result<String> {
    steps(command, what)
}

fn steps(command: &mut Command, what: &str) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn();
    let mut child = child.with_context(|| format!("{program} cannot be run"))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let stdout = stdout.context("stdout is a pipe")?;
    let reading = thread::spawn(move || follow(stdout, |_| {}));
    let mut shown = Shown::of(what);
    let errors = follow(stderr.context("stderr is a pipe")?, |line| shown.step(line));
    let answer = reading.join().ok().context("its output was not read")?;
    let status = child.wait()?;
    shown.end();
    if !status.success() {
        let lines: Vec<_> = answer.lines().chain(errors.lines()).collect();
        let last = lines.get(lines.len().saturating_sub(SHOWN)..).unwrap_or_default();
        bail!("{what} failed; {program} said:\n{}", last.join("\n"));
    }
    Ok(answer)
}

fn follow(from: impl Read, mut step: impl FnMut(&str)) -> String {
    let mut all = String::new();
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        step(&line);
        all.push_str(&line);
        all.push('\n');
    }
    all
}

/// A line that changes on a terminal; a line now and then in a log.
struct Shown {
    what: String,
    bar: ProgressBar,
    steps: usize,
    began: Instant,
    told: Instant,
}

impl Shown {
    fn of(what: &str) -> Self {
        let bar = if stderr().is_terminal() {
            let style = ProgressStyle::with_template("{spinner} {prefix} [{elapsed}] {wide_msg}");
            let bar = ProgressBar::new_spinner().with_prefix(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            style.map_or(bar.clone(), |style| bar.with_style(style))
        } else {
            say::note(format!("{what} …"));
            ProgressBar::hidden()
        };
        let now = now();
        Self { what: what.to_owned(), bar, steps: 0, began: now, told: now }
    }

    fn step(&mut self, line: &str) {
        self.steps += 1;
        self.bar.set_message(format!("{} · {line}", self.steps));
        if self.bar.is_hidden() && self.told.elapsed() > TELL {
            self.told = now();
            let seconds = self.began.elapsed().as_secs();
            say::note(format!("{} … {seconds} s, step {}: {line}", self.what, self.steps));
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
        say::note(format!("{}: {:.0?}", self.what, self.began.elapsed()));
    }
}

fn now() -> Instant {
    Instant::now()
}
