//! `wharf new`: makes a component that builds, runs and has a test that passes, to begin from.

mod crate_file;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;

use self::crate_file::CrateFile;
use crate::catalog::load;
use crate::cli::print;
use crate::config::{self, Config};
use crate::name::ComponentId;

/// Make a component that builds and passes its test
///
/// It comes into components/NAME, wants com.todo.task.created.v1 and logs a greeting. A `wharf dev`
/// that runs picks it up by itself. In a workspace that has components/* as members it joins that;
/// elsewhere it stands alone, and brings the interfaces of the world with it.
#[derive(Args)]
#[command(after_help = "Examples:
  wharf new greeter
  wharf new greeter && cargo test -p greeter")]
pub struct New {
    /// Its name: a-z, 0-9 and -, beginning with a letter
    #[arg(value_name = "NAME")]
    name: ComponentId,
}

/// The world's interfaces, which a component that stands alone is built against.
const WIT: [(&str, &str); 11] = [
    ("bindings.wit", include_str!("../../../wit/bindings.wit")),
    ("delivery.wit", include_str!("../../../wit/delivery.wit")),
    ("jobs.wit", include_str!("../../../wit/jobs.wit")),
    ("publish.wit", include_str!("../../../wit/publish.wit")),
    ("secrets.wit", include_str!("../../../wit/secrets.wit")),
    ("sql.wit", include_str!("../../../wit/sql.wit")),
    ("state.wit", include_str!("../../../wit/state.wit")),
    ("types.wit", include_str!("../../../wit/types.wit")),
    ("world.wit", include_str!("../../../wit/world.wit")),
    ("deps/wasi-config/store.wit", include_str!("../../../wit/deps/wasi-config/store.wit")),
    ("deps/wasi-logging/logging.wit", include_str!("../../../wit/deps/wasi-logging/logging.wit")),
];

const MANIFEST: &str = include_str!("../../templates/component/component.toml");
const LIB: &str = include_str!("../../templates/component/src/lib.rs");
const GREETING: &str = include_str!("../../templates/component/src/greeting.rs");

/// Components begin with the memory that they need; see the workspace's own.
const CARGO_CONFIG: &str = "# It begins with the memory that it needs: growing it would cost each event more than handling it.
[target.wasm32-wasip2]
rustflags = [\"-Clink-arg=--initial-memory=2097152\"]
";

impl New {
    pub fn run(self) -> anyhow::Result<()> {
        let config = Config::load(None).map_err(|error| anyhow!("{error}"))?;
        let name = self.name.as_str();
        let folder = config.components.join(name);
        let workspace = CrateFile::of_workspace(&config.components)?;
        check(name, &folder, &config.components, &workspace)?;
        let files = files(name, &workspace);
        for (file, text) in &files {
            write(&folder.join(file), text)?;
        }
        print::line(next(name, &folder, workspace.is_joined));
        Ok(())
    }
}

fn check(
    name: &str,
    folder: &Path,
    components: &Path,
    workspace: &CrateFile,
) -> anyhow::Result<()> {
    const RESERVED: [&str; 12] = [
        "-",
        "test",
        "core",
        "std",
        "alloc",
        "proc-macro",
        "self",
        "super",
        "crate",
        "build",
        "deps",
        "examples",
    ];
    if RESERVED.contains(&name) || is_keyword(name) {
        bail!("`{name}` cannot be the name of a crate; choose another, such as `{name}-tasks`");
    }
    if folder.exists() {
        bail!("{} is there already; choose another name, or remove it", folder.display());
    }
    let others = load::component_folders(components).unwrap_or_default();
    for other in others {
        if load::read_manifest(&other).is_ok_and(|manifest| manifest.name.as_str() == name) {
            bail!("component `{name}` is in {}; choose another name", other.display());
        }
    }
    if workspace.is_joined && workspace.packages.iter().any(|package| package == name) {
        bail!(
            "a package of the workspace is called `{name}`, or one that it depends on; choose \
             another name"
        );
    }
    Ok(())
}

fn is_keyword(name: &str) -> bool {
    const KEYWORDS: &str = " abstract as async await become box break const continue crate do dyn \
        else enum extern false final fn for gen if impl in let loop macro match mod move mut \
        override priv pub ref return static struct trait true try type typeof union unsafe unsized \
        use virtual where while yield ";
    KEYWORDS.split_whitespace().any(|keyword| keyword == name)
}

/// The manifest comes last: with it, the folder is a component.
fn files(name: &str, workspace: &CrateFile) -> Vec<(PathBuf, String)> {
    let wit = if workspace.has_wit { "../../wit" } else { "wit" };
    let fill = |template: &str| {
        let filled = template.replace("{name}", name).replace("{crate}", &name.replace('-', "_"));
        filled.replace("{wit}", wit)
    };
    let mut files = vec![
        (PathBuf::from("Cargo.toml"), workspace.text(name)),
        (PathBuf::from("src/lib.rs"), fill(LIB)),
        (PathBuf::from("src/greeting.rs"), GREETING.to_owned()),
    ];
    if !workspace.has_wit {
        let wit = WIT.iter().map(|(file, text)| (Path::new("wit").join(file), (*text).to_owned()));
        files.extend(wit);
    }
    if !workspace.is_joined {
        files.push((PathBuf::from(".cargo/config.toml"), CARGO_CONFIG.to_owned()));
    }
    files.push((PathBuf::from("component.toml"), fill(MANIFEST)));
    files
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let cannot = || format!("{} cannot be written", file.display());
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(cannot)?;
    }
    fs::write(file, text).with_context(cannot)
}

fn next(name: &str, folder: &Path, joined: bool) -> String {
    let program = if config::run_by_cargo() { "cargo wharf" } else { "wharf" };
    let test = match joined {
        true => format!("cargo test -p {name}"),
        false => format!("(cd {} && cargo test)", folder.display()),
    };
    let place = folder.display();
    format!(
        "made {place}\n\n  \
         {place}/src/greeting.rs  decides what is said, and has a test\n  \
         {place}/src/lib.rs       speaks with the host\n  \
         {place}/component.toml   says what it wants and what it may do\n\n\
         Try:\n  \
         {test}\n  \
         {program} dev                                  # one that runs takes it by itself\n  \
         {program} emit com.todo.task.created.v1\n  \
         {program} deliveries --component {name}"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_component_that_stands_alone_brings_every_interface() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
        let mut found = BTreeSet::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => {
                        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                        assert!(found.insert(name));
                    }
                }
            }
        }
        assert_eq!(
            WIT.map(|(file, _)| file.to_owned()).into_iter().collect::<BTreeSet<_>>(),
            found
        );
    }

    #[test]
    fn names_that_rust_has_taken_are_refused() {
        let alone = CrateFile::default();
        let check = |name: &str| check(name, Path::new("nowhere"), Path::new("nowhere"), &alone);
        for name in ["match", "test", "std", "-"] {
            let error = check(name).unwrap_err().to_string();
            assert!(error.contains("choose another"), "{error}");
        }
        check("greeter").unwrap();
    }
}
