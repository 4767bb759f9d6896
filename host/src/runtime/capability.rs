//! What a guest can reach: one file for each interface, each with a short-lived view that borrows
//! just what the interface may touch. An interface that is not linked here cannot be imported.

mod config;
mod delivery;
mod logging;
mod publish;
mod sql;
mod stdio;

use wasmtime::component::Linker;

use super::Waiting;
use super::invoke::Run;

pub use stdio::wasi;

/// Calls that did not get what they asked for, and that the invocation must answer for.
#[derive(Debug, Default)]
pub struct Refusals {
    /// The texts of calls that were not granted.
    pub denied: Vec<String>,
    /// Something was away.
    pub unavailable: bool,
    pub waiting: Waiting,
}

/// A guest may call in a loop; the first few refusals say enough.
const REFUSALS_KEPT: usize = 10;

impl Refusals {
    fn denied(&mut self, why: &crate::grant::Denied) -> String {
        let text = why.to_string();
        if self.denied.len() < REFUSALS_KEPT && !self.denied.contains(&text) {
            self.denied.push(text.clone());
        }
        text
    }
}

pub fn link(linker: &mut Linker<Run>) -> wasmtime::Result<()> {
    publish::link(linker)?;
    sql::link(linker)?;
    delivery::link(linker)?;
    logging::link(linker)?;
    config::link(linker)
}

/// Why an import cannot be had, in words that help; `None` when the linker is to decide.
pub fn refusal(import: &str) -> Option<&'static str> {
    const OURS: [&str; 4] = ["types", "publish", "sql", "delivery"];
    const LATER: [&str; 4] = ["state", "secrets", "jobs", "bindings"];
    const WASI: [&str; 8] =
        ["cli", "clocks", "config", "filesystem", "io", "logging", "random", "sockets"];
    let name = import.split('@').next().unwrap_or(import);
    if let Some(interface) = name.strip_prefix("wharf:worker/") {
        return match interface {
            _ if OURS.contains(&interface) => None,
            _ if LATER.contains(&interface) => {
                Some("this version of wharf does not provide yet; build the component without it")
            }
            _ => Some("the world has not; build the component against wit/ of this version"),
        };
    }
    let package = name.strip_prefix("wasi:").and_then(|rest| rest.split('/').next());
    match package {
        Some(package) if WASI.contains(&package) => None,
        _ => Some(
            "the sandbox does not have; a component reaches the world through wharf:worker only",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_that_cannot_be_had_are_told_apart() {
        for fine in ["wharf:worker/publish@0.1.0", "wasi:io/poll@0.2.6", "wharf:worker/types@0.1.0"]
        {
            assert_eq!(refusal(fine), None, "{fine}");
        }
        for (import, says) in [
            ("wharf:worker/state@0.1.0", "not provide yet"),
            ("wharf:worker/teleport@0.1.0", "the world has not"),
            ("wasi:http/outgoing-handler@0.2.0", "the sandbox does not have"),
            ("random-name", "the sandbox does not have"),
        ] {
            assert!(refusal(import).unwrap().contains(says), "{import}");
        }
    }
}
