//! What the host costs, each thing beside the same logic run natively. `cargo bench` runs all of
//! them, `cargo bench -- ledger host` these two. tests/README.md says what each one measures.

mod decode;
mod host;
mod ledger;
mod sandbox;

/// As in the host's binary: allocation is a good part of what is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let all: [(&str, fn()); 4] = [
        ("sandbox", sandbox::run),
        ("decode", decode::run),
        ("ledger", ledger::run),
        ("host", host::run),
    ];
    // cargo itself says `--bench`.
    let wanted: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, run) in all {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            run();
        }
    }
}
