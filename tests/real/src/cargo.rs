//! A cargo for what is built from within a program that cargo runs.

use std::env;
use std::process::Command;

/// As the one that built this program. What `cargo run` says of this program is nothing to another
/// build: it would build anew all that looks at it.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}
