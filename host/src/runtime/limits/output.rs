//! What a run writes, by whatever way, kept up to a limit and cut there without a fault.

use std::sync::{Arc, Mutex, PoisonError};

use crate::delivery::LogLine;
use crate::runtime::text::cut;

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
}
