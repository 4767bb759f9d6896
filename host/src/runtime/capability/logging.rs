//! `wasi:logging/logging`: lines go to the delivery's log, never to the host's own.

use wasmtime::component::{HasData, Linker};

use crate::runtime::invoke::Run;
use crate::runtime::limits::Output;
use crate::runtime::world::wasi::logging::logging::{self, Level};

pub fn link(linker: &mut Linker<Run>) -> wasmtime::Result<()> {
    logging::add_to_linker::<Run, Linked>(linker, |run| View { output: &run.output })
}

struct Linked;

impl HasData for Linked {
    type Data<'a> = View<'a>;
}

struct View<'a> {
    output: &'a Output,
}

impl logging::Host for View<'_> {
    fn log(&mut self, level: Level, context: String, message: String) -> wasmtime::Result<()> {
        let level = match level {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Critical => "critical",
        };
        match context.is_empty() {
            true => self.output.line(level, &message),
            false => self.output.line(level, &format!("{context}: {message}")),
        }
        Ok(())
    }
}
