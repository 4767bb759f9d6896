//! Imports, as a component's bytes name them: whether this host has them, and what a manifest must
//! grant for each. A component that imports what it is granted nothing of could only fail later.

use crate::manifest::Manifest;

/// An interface of the world that needs a grant.
struct Granted {
    interface: &'static str,
    /// Where it is granted, as the manifest's sections are written.
    section: &'static str,
    /// What to write there.
    line: &'static str,
    has_any: fn(&Manifest) -> bool,
}

const GRANTED: [Granted; 6] = [
    Granted {
        interface: "publish",
        section: "[grants] publish",
        line: "publish = [\"<event type>\"] under [grants]",
        has_any: |manifest| !manifest.grants.publish.is_empty(),
    },
    Granted {
        interface: "state",
        section: "[grants] state",
        line: "state = [\"<store>\"] under [grants]",
        has_any: |manifest| !manifest.grants.state.is_empty(),
    },
    Granted {
        interface: "secrets",
        section: "[grants] secrets",
        line: "secrets = { <store> = [\"<name>\"] } under [grants]",
        has_any: |manifest| manifest.grants.secrets.values().any(|names| !names.is_empty()),
    },
    Granted {
        interface: "jobs",
        section: "[grants] jobs",
        line: "jobs = [\"<name or pattern>\"] under [grants]",
        has_any: |manifest| !manifest.grants.jobs.is_empty(),
    },
    Granted {
        interface: "sql",
        section: "[sql]",
        line: "[sql.<name>] with a statement",
        has_any: |manifest| !manifest.sql.is_empty(),
    },
    Granted {
        interface: "bindings",
        section: "[grants] bindings",
        line: "bindings = [\"<name>\"] under [grants]",
        has_any: |manifest| !manifest.grants.bindings.is_empty(),
    },
];

/// Interfaces of the world that anyone may import.
const OPEN: [&str; 2] = ["types", "delivery"];

/// Why an import cannot be had, in words that help; `None` when the linker is to decide.
pub fn refusal(import: &str) -> Option<&'static str> {
    const WASI: [&str; 8] =
        ["cli", "clocks", "config", "filesystem", "io", "logging", "random", "sockets"];
    if let Some(interface) = interface(import) {
        let is_ours = OPEN.contains(&interface) || granted(interface).is_some();
        let why = "the world has not; build the component against wit/ of this version";
        return (!is_ours).then_some(why);
    }
    let package = import.strip_prefix("wasi:").and_then(|rest| rest.split('/').next());
    match package {
        Some(package) if WASI.contains(&package) => None,
        _ => Some(
            "the sandbox does not have; a component reaches the world through wharf:worker only",
        ),
    }
}

/// The section of the manifest that an import needs something in; `None` when it needs nothing.
pub fn grant(import: &str) -> Option<&'static str> {
    granted(interface(import)?).map(|granted| granted.section)
}

/// Why a component with this manifest cannot have an import: nothing is granted for it.
pub fn ungranted(manifest: &Manifest, import: &str) -> Option<String> {
    let granted = granted(interface(import)?)?;
    let file = manifest.file.display();
    (!(granted.has_any)(manifest)).then(|| {
        let line = granted.line;
        format!("its manifest grants nothing for; add {line} in {file}, or build it without")
    })
}

fn interface(import: &str) -> Option<&str> {
    import.split('@').next()?.strip_prefix("wharf:worker/")
}

fn granted(interface: &str) -> Option<&'static Granted> {
    GRANTED.iter().find(|granted| granted.interface == interface)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn imports_that_cannot_be_had_are_told_apart() {
        for fine in [
            "wharf:worker/publish@0.1.0",
            "wharf:worker/state@0.1.0",
            "wharf:worker/bindings@0.1.0",
            "wasi:io/poll@0.2.6",
            "wharf:worker/types@0.1.0",
        ] {
            assert_eq!(refusal(fine), None, "{fine}");
        }
        for (import, says) in [
            ("wharf:worker/teleport@0.1.0", "the world has not"),
            ("wasi:http/outgoing-handler@0.2.0", "the sandbox does not have"),
            ("random-name", "the sandbox does not have"),
        ] {
            assert!(refusal(import).unwrap().contains(says), "{import}");
        }
    }

    #[test]
    fn each_import_needs_its_own_grant() {
        let ungranted = |rest: &str| {
            let text = format!("name = \"a\"\nversion = \"1\"\n[[on]]\nevent = \"*\"\n{rest}");
            let manifest = Manifest::parse(Path::new("component.toml"), &text).unwrap();
            let imports = GRANTED.iter().map(|granted| granted.interface);
            let imports = imports.chain(OPEN).map(|name| format!("wharf:worker/{name}@0.1.0"));
            let imports = imports.filter(|import| super::ungranted(&manifest, import).is_some());
            imports.collect::<Vec<_>>().join(" ").replace("wharf:worker/", "").replace("@0.1.0", "")
        };
        assert_eq!(ungranted(""), "publish state secrets jobs sql bindings");
        for (rest, without) in [
            ("[grants]\npublish = [\"t\"]\n", "state secrets jobs sql bindings"),
            ("[grants]\nstate = [\"s\"]\n", "publish secrets jobs sql bindings"),
            ("[grants]\nsecrets = { s = [\"k\"] }\n", "publish state jobs sql bindings"),
            ("[grants]\nsecrets = { s = [] }\n", "publish state secrets jobs sql bindings"),
            ("[grants]\njobs = [\"*\"]\n", "publish state secrets sql bindings"),
            ("[sql.s]\nquery = \"SELECT 1\"\n", "publish state secrets jobs bindings"),
            ("[grants]\nbindings = [\"b\"]\n", "publish state secrets jobs sql"),
        ] {
            assert_eq!(ungranted(rest), without, "{rest}");
        }
        assert_eq!(grant("wharf:worker/state@0.1.0"), Some("[grants] state"));
        assert_eq!(grant("wasi:io/poll@0.2.6"), None);
    }
}
