//! What fences a run: its memory, its effects, and what is kept of its output.

use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::ResourceLimiter;

use super::Failure;
use super::text::cut;
use crate::delivery::LogLine;
use crate::effect::Effect;
use crate::manifest::Limits;

/// Sums up linear memories and tables. Initial sizes are counted too.
pub struct Memory {
    limit: usize,
    held: usize,
    /// The last wish for more was refused.
    pub exhausted: bool,
}

/// A table element is a pointer.
const ELEMENT: usize = size_of::<usize>();

impl Memory {
    pub fn new(limit: usize) -> Self {
        Self { limit, held: 0, exhausted: false }
    }

    /// Memory never shrinks, so this is also the most that was held.
    pub fn held(&self) -> usize {
        self.held
    }

    fn grow(&mut self, more: usize) -> bool {
        let held = self.held.checked_add(more).filter(|held| *held <= self.limit);
        self.exhausted = held.is_none();
        self.held = held.unwrap_or(self.held);
        !self.exhausted
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(ELEMENT)))
    }
}

/// The effects of a run, in order. They are held outside of the guest's memory, so that their
/// bytes are bounded as well as their number.
pub struct Effects {
    list: Vec<Effect>,
    bytes: usize,
    limit: u32,
    bytes_limit: usize,
}

/// A limit was passed that ends the run, whatever the guest would make of an error.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Stop(pub Failure);

impl Effects {
    pub fn new(limits: &Limits) -> Self {
        Self { list: Vec::new(), bytes: 0, limit: limits.effects, bytes_limit: limits.memory }
    }

    /// The position that the next effect will have.
    pub fn next_index(&self) -> u32 {
        u32::try_from(self.list.len()).unwrap_or(u32::MAX)
    }

    /// Records an effect; `size` is about how many bytes it holds.
    pub fn record(&mut self, effect: Effect, size: usize) -> Result<(), Stop> {
        if self.next_index() >= self.limit {
            return Err(Stop(Failure::TooManyEffects(self.limit)));
        }
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.bytes_limit {
            return Err(Stop(Failure::EffectsTooLarge(self.bytes_limit)));
        }
        self.list.push(effect);
        Ok(())
    }

    pub fn into_list(self) -> Vec<Effect> {
        self.list
    }
}

/// What a run writes, kept up to a limit. Shared with WASI's streams, hence the lock; nobody waits
/// for it, since a guest does one thing at a time.
#[derive(Clone)]
pub struct Output(Arc<Mutex<Written>>);

/// Which stream a guest wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

struct Written {
    lines: Vec<LogLine>,
    left: usize,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// The end of stderr, kept beyond the limit: a panic says there why.
    last_words: Vec<u8>,
}

/// What a line costs beside its text, so that empty lines are not free.
const LINE: usize = 32;
const LAST_WORDS: usize = 2 << 10;

impl Output {
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Mutex::new(Written {
            lines: Vec::new(),
            left: limit,
            stdout: Vec::new(),
            stderr: Vec::new(),
            last_words: Vec::new(),
        })))
    }

    /// Keeps a whole line.
    pub fn line(&self, level: &'static str, text: &str) {
        self.with(|written| written.line(level, text));
    }

    /// Keeps bytes of a stream, which become lines at line breaks and at the end.
    pub fn write(&self, stream: Stream, bytes: &[u8]) {
        self.with(|written| written.write(stream, bytes));
    }

    /// What a panic said, with its place.
    pub fn panic_text(&self) -> Option<String> {
        self.with(|written| panic_text(&String::from_utf8_lossy(&written.last_words)))
    }

    /// Every line, with a last one that says so when something was cut.
    pub fn take(&self) -> Vec<LogLine> {
        self.with(Written::finish)
    }

    fn with<T>(&self, f: impl FnOnce(&mut Written) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Written {
    fn line(&mut self, level: &'static str, text: &str) {
        let Some(left) = self.left.checked_sub(LINE).filter(|left| *left > 0) else {
            self.left = 0;
            return;
        };
        let kept = cut(text, left);
        self.left = if kept.len() < text.len() { 0 } else { left - kept.len() };
        self.lines.push(LogLine { level: level.into(), text: kept.to_owned() });
    }

    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        if stream == Stream::Stderr {
            self.remember(bytes);
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let partial = self.partial(stream);
            partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || partial.len() >= self.left {
                self.flush(stream);
            }
            if self.left == 0 {
                return;
            }
        }
    }

    fn remember(&mut self, bytes: &[u8]) {
        self.last_words.extend_from_slice(bytes);
        let too_many = self.last_words.len().saturating_sub(LAST_WORDS);
        self.last_words.drain(..too_many);
    }

    fn partial(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn flush(&mut self, stream: Stream) {
        let level = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        let bytes = std::mem::take(self.partial(stream));
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches(['\n', '\r']);
        if !text.is_empty() {
            self.line(level, text);
        }
    }

    fn finish(&mut self) -> Vec<LogLine> {
        self.flush(Stream::Stdout);
        self.flush(Stream::Stderr);
        let mut lines = std::mem::take(&mut self.lines);
        if self.left == 0 {
            let text = "more was written than `output` under [limits] keeps".to_owned();
            lines.push(LogLine { level: "host".into(), text });
        }
        lines
    }
}

/// Rust writes `thread '…' panicked at <place>:`, the text, and notes about backtraces.
fn panic_text(stderr: &str) -> Option<String> {
    let (_, said) = stderr.rsplit_once(" panicked at ")?;
    let said = said.split("\nnote: ").next().unwrap_or(said).trim();
    Some(format!("panicked at {}", said.replacen(":\n", ": ", 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(output: &Output) -> Vec<(String, String)> {
        output.take().into_iter().map(|line| (line.level.into_owned(), line.text)).collect()
    }

    #[test]
    fn streams_become_lines() {
        let output = Output::new(1000);
        output.write(Stream::Stdout, b"one\ntw");
        output.line("info", "between");
        output.write(Stream::Stdout, b"o\n\n");
        output.write(Stream::Stderr, b"\xff end");
        let expected = [("stdout", "one"), ("info", "between"), ("stdout", "two")]
            .map(|(level, text)| (level.to_owned(), text.to_owned()));
        let lines = texts(&output);
        assert_eq!(lines[..3], expected);
        assert_eq!(lines[3].1, "\u{fffd} end");
    }

    #[test]
    fn output_is_cut_at_its_limit_and_says_so() {
        let output = Output::new(100);
        output.write(Stream::Stdout, "ä".repeat(1_000_000).as_bytes());
        output.write(Stream::Stderr, b"thread 'main' panicked at src/lib.rs:1:2:\nno\nnote: run");
        let lines = texts(&output);
        assert_eq!(lines.len(), 2);
        assert!(lines[0].1.len() <= 100 && lines[0].1.starts_with('ä'));
        assert_eq!(lines[1].0, "host");
        assert_eq!(output.panic_text().as_deref(), Some("panicked at src/lib.rs:1:2: no"));
    }

    #[test]
    fn empty_and_endless_lines_cost_too() {
        let output = Output::new(1 << 10);
        for _ in 0..100_000 {
            output.line("info", "");
            output.write(Stream::Stdout, b"x\n");
        }
        assert!(texts(&output).len() <= 33);
    }

    #[test]
    fn memory_is_a_sum() {
        let mut memory = Memory::new(1000);
        assert!(memory.memory_growing(0, 600, None).unwrap());
        assert!(memory.table_growing(0, 50, None).unwrap());
        assert_eq!(memory.held(), 1000);
        assert!(!memory.memory_growing(600, 601, None).unwrap());
        assert!(memory.exhausted);
        assert_eq!(memory.held(), 1000);
    }
}
