//! Builds the components and the guests for the sandbox, so that plain `cargo test` is enough.
//! They go to a target folder of their own: the outer build holds the lock of its own folder.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const TARGET: &str = "wasm32-wasip2";

/// Whatever changes what the components are built to.
const WATCHED: [&str; 7] = [
    "components",
    "tests/guests",
    "wit",
    ".cargo/config.toml",
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
];

fn main() -> Result<(), Box<dyn Error>> {
    // Asked for now, not when this was compiled: clones may share a target folder.
    let own = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("no CARGO_MANIFEST_DIR")?);
    let root = own.parent().ok_or("no workspace")?;
    for path in WATCHED {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    let components = crates_in(&root.join("components"))?;
    let guests = crates_in(&root.join("tests/guests"))?;
    add_target(root)?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    let target = out.ancestors().nth(4).ok_or("OUT_DIR is not in a target folder")?.join("guests");
    let packages = components.iter().cloned().chain(guests.iter().map(|name| guest(name)));
    build(root, &target, packages)?;
    let built = target.join(TARGET).join("release");
    fs::write(out.join("built.rs"), table(&components, &guests, &built)?)?;
    Ok(())
}

/// Names of the folders that hold a crate with a component.
fn crates_in(folder: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let manifest = entry.path().join("Cargo.toml");
        if manifest.is_file() && fs::read_to_string(manifest)?.contains("cdylib") {
            names.push(entry.file_name().into_string().map_err(|name| format!("{name:?}"))?);
        }
    }
    names.sort();
    Ok(names)
}

fn guest(name: &str) -> String {
    format!("guest-{name}")
}

/// rustup installs the target of rust-toolchain.toml, unless it is told not to install by itself.
fn add_target(root: &Path) -> Result<(), Box<dyn Error>> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let probe =
        Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output()?;
    if Path::new(String::from_utf8(probe.stdout)?.trim()).is_dir() {
        return Ok(());
    }
    println!("cargo::warning=adding the Rust target {TARGET}, which components are built for");
    let added = Command::new("rustup").args(["target", "add", TARGET]).current_dir(root).status();
    match added {
        Ok(status) if status.success() => Ok(()),
        _ => Err(format!("cannot add the Rust target; run `rustup target add {TARGET}`").into()),
    }
}

fn build(
    root: &Path,
    target: &Path,
    packages: impl Iterator<Item = String>,
) -> Result<(), Box<dyn Error>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args(["build", "--locked", "--release", "--target", TARGET]);
    command.arg("--target-dir").arg(target);
    command.args(packages.flat_map(|package| ["--package".to_owned(), package]));
    // Meant for the outer build: they would hide the flags that components are built with, and
    // lint instead of building.
    for name in
        ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET"]
    {
        command.env_remove(name);
    }
    match command.status()?.success() {
        true => Ok(()),
        false => Err("cannot build the components; cargo said above why".into()),
    }
}

/// A constant with the path of each, and a macro that names every guest.
fn table(components: &[String], guests: &[String], built: &Path) -> Result<String, Box<dyn Error>> {
    let mut table = String::new();
    let file = |package: &str| built.join(format!("{}.wasm", package.replace('-', "_")));
    for name in components {
        constant(&mut table, name, &file(name))?;
    }
    for name in guests {
        constant(&mut table, name, &file(&guest(name)))?;
    }
    writeln!(table, "/// Calls a macro with the name of each guest.\n#[macro_export]")?;
    writeln!(table, "macro_rules! foreach_guest {{\n    ($each:ident) => {{")?;
    for name in guests {
        writeln!(table, "        $each!({});", name.replace('-', "_"))?;
    }
    writeln!(table, "    }};\n}}")?;
    Ok(table)
}

fn constant(table: &mut String, name: &str, file: &Path) -> Result<(), Box<dyn Error>> {
    let constant = name.to_uppercase().replace('-', "_");
    writeln!(table, "/// The built `{name}`.\npub const {constant}: &str = {file:?};")?;
    Ok(())
}
