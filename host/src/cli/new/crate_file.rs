//! The `Cargo.toml` of a new component: as much as possible is the workspace's, so that it is
//! decided in one place; the rest is written out.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use toml::Table;

/// What a component takes over from the workspace that it is in; nothing without one.
#[derive(Default)]
pub struct CrateFile {
    /// Whether it is a member by being in `components/`.
    pub is_joined: bool,
    /// Whether the world's interfaces are in the workspace.
    pub has_wit: bool,
    /// Names of the workspace's packages and all that they depend on.
    pub packages: Vec<String>,
    package: Table,
    dependencies: Table,
    has_lints: bool,
}

/// Keys of `[package]`, and what stands there without a workspace.
const PACKAGE: [(&str, Option<&str>); 5] = [
    ("version", Some("\"0.1.0\"")),
    ("edition", Some("\"2024\"")),
    ("rust-version", None),
    ("license", None),
    ("publish", Some("false")),
];

const DEPENDENCIES: [(&str, &str); 3] = [
    ("serde", "{ version = \"1.0.229\", features = [\"derive\"] }"),
    ("serde_json", "\"1.0.154\""),
    (
        "wit-bindgen",
        "{ version = \"0.61.1\", default-features = false, features = [\"macros\", \"realloc\"] }",
    ),
];

impl CrateFile {
    /// From the workspace beside `components`, if there is one that takes it in.
    pub fn of_workspace(components: &Path) -> anyhow::Result<Self> {
        let root = components.parent().unwrap_or(components);
        let file = root.join("Cargo.toml");
        let Ok(text) = std::fs::read_to_string(&file) else { return Ok(Self::default()) };
        let read: Table = toml::from_str(&text)
            .with_context(|| format!("{} cannot be read; mend it first", file.display()))?;
        let Some(workspace) = read.get("workspace").and_then(|value| value.as_table()) else {
            return Ok(Self::default());
        };
        let pattern = components.file_name().map(|name| format!("{}/*", name.to_string_lossy()));
        let members = workspace.get("members").and_then(|members| members.as_array());
        let mut members = members.into_iter().flatten().filter_map(|member| member.as_str());
        if !members.any(|member| pattern.as_deref() == Some(member)) {
            return Ok(Self::default());
        }
        let table = |key: &str| workspace.get(key).and_then(|value| value.as_table()).cloned();
        let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
        Ok(Self {
            is_joined: true,
            has_wit: root.join("wit/world.wit").is_file(),
            packages: packages(&lock),
            package: table("package").unwrap_or_default(),
            dependencies: table("dependencies").unwrap_or_default(),
            has_lints: workspace.contains_key("lints"),
        })
    }

    /// The file for a component of this name.
    pub fn text(&self, name: &str) -> String {
        let mut text =
            format!("[package]\nname = \"{name}\"\ndescription = \"Greets every new task\"\n");
        for (key, alone) in PACKAGE {
            match alone {
                _ if self.package.contains_key(key) => line(&mut text, key, None),
                Some(alone) => line(&mut text, key, Some(alone)),
                None => {}
            }
        }
        text += "\n[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\nbench = false\n\n[dependencies]\n";
        for (key, alone) in DEPENDENCIES {
            line(&mut text, key, Some(alone).filter(|_| !self.dependencies.contains_key(key)));
        }
        text += match (self.is_joined, self.has_lints) {
            (_, true) => "\n[lints]\nworkspace = true\n",
            (true, false) => LINTS,
            (false, false) => ALONE,
        };
        text
    }
}

const LINTS: &str = "\n[lints.rust]\nunsafe_code = \"deny\"\n";

const ALONE: &str = "\n[lints.rust]\nunsafe_code = \"deny\"\n\n\
                     # It stands alone, also below the folder of another workspace.\n[workspace]\n";

/// Without a value of its own it is the workspace's.
fn line(text: &mut String, key: &str, value: Option<&str>) {
    let written = match value {
        Some(value) => writeln!(text, "{key} = {value}"),
        None => writeln!(text, "{key}.workspace = true"),
    };
    written.expect("a String takes everything");
}

fn packages(lock: &str) -> Vec<String> {
    let names = lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    #[test]
    fn in_this_workspace_it_is_written_like_the_others() {
        let ours = CrateFile::of_workspace(&root().join("components")).unwrap();
        assert!(ours.is_joined && ours.has_wit && ours.packages.iter().any(|name| name == "audit"));
        let text = ours.text("greeter");
        for key in ["version", "edition", "rust-version", "license", "publish", "wit-bindgen"] {
            assert!(text.contains(&format!("\n{key}.workspace = true\n")), "{key}: {text}");
        }
        assert!(text.ends_with("[lints]\nworkspace = true\n"), "{text}");
    }

    #[test]
    fn alone_it_asks_for_the_versions_that_this_workspace_has() {
        let text = CrateFile::default().text("greeter");
        let alone: Table = toml::from_str(&text).unwrap();
        assert!(alone.contains_key("workspace"), "{text}");
        let ours = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        let ours: Table = toml::from_str(&ours).unwrap();
        let version = |table: &toml::Value| match table {
            toml::Value::Table(table) => table["version"].as_str().unwrap().to_owned(),
            other => other.as_str().unwrap().to_owned(),
        };
        for (name, asked) in alone["dependencies"].as_table().unwrap() {
            let of_ours = &ours["workspace"]["dependencies"][name];
            assert_eq!(version(asked), version(of_ours), "{name}");
        }
    }
}
