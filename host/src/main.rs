//! The `wharf` program.

use std::process::ExitCode;

/// The sandbox allocates and frees much; mimalloc is faster at it than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    wharf::cli::main()
}
