//! Finds out whether there is a PostgreSQL for the tests, so that tests which need one are ignored
//! aloud where there is none.

#[path = "src/binaries.rs"]
mod binaries;

#[expect(clippy::disallowed_methods, reason = "tests are told of their database here")]
fn main() {
    println!("cargo::rerun-if-env-changed=DATABASE_URL");
    println!("cargo::rerun-if-env-changed=PATH");
    println!("cargo::rustc-check-cfg=cfg(is_missing)");
    let given = std::env::var("DATABASE_URL").is_ok_and(|url| !url.is_empty());
    match binaries::binaries() {
        Some(folder) => {
            println!("cargo::rerun-if-changed={}", folder.join("postgres").display());
        }
        None if given => {}
        None => {
            println!("cargo::rustc-cfg=is_missing");
            println!("cargo::warning={}; tests that need it are ignored", binaries::MISSING);
        }
    }
}
