//! What the host costs, each thing beside the same logic run natively. `cargo bench` runs all of
//! them, `cargo bench -- ledger host` these two. tests/README.md says what each one measures.

mod decode;
mod host;
mod ledger;
mod rows;
mod sandbox;

/// As in the host's binary: allocation is a good part of what is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // cargo itself says `--bench`.
    let mut wanted: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let rows = wanted.iter().find_map(|wanted| wanted.parse().ok()).unwrap_or(rows::ROWS);
    wanted.retain(|wanted| wanted.parse::<u64>().is_err());
    let all: [(&str, &dyn Fn()); 5] = [
        ("sandbox", &sandbox::run),
        ("decode", &decode::run),
        ("ledger", &ledger::run),
        ("rows", &|| rows::run(rows)),
        ("host", &host::run),
    ];
    for (name, run) in all {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            run();
        }
    }
}
