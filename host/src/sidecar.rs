//! What daprd makes of its own files. It ignores names that it does not know, leaves out what it
//! cannot read, and loses events where a retry ends, mostly with a line in its log or less. This
//! says so before. Facts are those of the Dapr version in `components.txt`.

mod component;
mod duration;
mod kafka;
mod lacking;
mod resiliency;
mod shape;
mod subscription;
mod table;
mod yaml;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use self::resiliency::Policies;
use self::shape::Shape;
use self::yaml::{Node, Unreadable};
use crate::config::Subscriptions;
use crate::contract::Contracts;
use crate::problem::Problem;

/// The host that the daprd is for.
#[derive(Debug, Clone, Copy)]
pub struct Host<'a> {
    /// Its Dapr app id.
    pub app_id: &'a str,
    /// What it takes and uses.
    pub contracts: &'a Contracts,
    /// Who says what it takes.
    pub subscriptions: Subscriptions,
}

/// One document of one file.
struct Document<'a> {
    file: &'a Path,
    text: &'a str,
    /// Its place in the file.
    number: usize,
    kind: Kind,
    root: Node,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Component,
    Subscription,
    /// A Subscription of `dapr.io/v1alpha1`.
    OldSubscription,
    Resiliency,
    Configuration,
    /// One that this does not look into.
    Other,
}

/// The resources of one folder, that is of one daprd.
struct Resources<'a> {
    documents: Vec<Document<'a>>,
    policies: Policies,
    host: Host<'a>,
}

/// Whether a text has a Dapr resource in it, or is meant to.
pub fn is_dapr(text: &str) -> bool {
    let is_comment = |line: &&str| line.trim_start().starts_with('#');
    let mut lines = text.lines().filter(|line| !is_comment(line));
    lines.any(|line| line.contains("apiVersion") && line.contains("dapr.io/"))
}

/// Whether a part of a text is no YAML, and something of it names Dapr: others' files may be templates.
pub fn is_unreadable(text: &str) -> bool {
    text.contains("dapr.io/") && yaml::documents(text).iter().any(|(_, read)| read.is_err())
}

/// Every problem of the files of one folder, by file and line.
pub fn check(files: &[(PathBuf, String)], host: Host<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut documents = Vec::new();
    for (file, text) in files {
        for (number, read) in yaml::documents(text) {
            match read {
                Ok(root) => documents.extend(document(file, text, number, root, &mut problems)),
                Err(why) => problems.push(unreadable(file, text, why)),
            }
        }
    }
    problems.extend(duplicates(&documents));
    let policies = Policies::of(&documents, host);
    let resources = Resources { documents, policies, host };
    for document in &resources.documents {
        problems.extend(match document.kind {
            Kind::Component => component::check(document, &resources),
            Kind::Subscription | Kind::OldSubscription => subscription::check(document, &resources),
            Kind::Resiliency => resiliency::check(document, &resources),
            Kind::Configuration => access(document),
            Kind::Other => Vec::new(),
        });
    }
    problems.extend(subscription::twice(&resources));
    problems.extend(kafka::shared_groups(&resources));
    problems.extend(lacking::check(&resources));
    problems.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    problems
}

/// The topics of the contracts that no Subscription of any of these folders names, where files are
/// to name them.
pub fn undeclared(folders: &[&[(PathBuf, String)]], host: Host<'_>) -> Vec<Problem> {
    if host.subscriptions == Subscriptions::Programmatic {
        return Vec::new();
    }
    let files = folders.iter().flat_map(|files| files.iter());
    let documents: Vec<_> = files
        .flat_map(|(file, text)| {
            let roots = yaml::documents(text).into_iter();
            let roots = roots.filter_map(|(number, read)| Some((number, read.ok()?)));
            // What is wrong with them is told by `check`.
            roots.filter_map(|(number, root)| document(file, text, number, root, &mut Vec::new()))
        })
        .collect();
    subscription::undeclared(&documents, host)
}

fn unreadable(file: &Path, text: &str, Unreadable { at, why }: Unreadable) -> Problem {
    let says = match why.as_str() {
        "duplicated key in mapping" => {
            "a key is there twice, and daprd takes one of them".to_owned()
        }
        why => format!("daprd leaves out this document, which cannot be read: {why}"),
    };
    Problem::at(file, text, at, says)
}

/// What daprd would take it for. One that it takes for nothing is a problem.
fn document<'a>(
    file: &'a Path,
    text: &'a str,
    number: usize,
    root: Node,
    problems: &mut Vec<Problem>,
) -> Option<Document<'a>> {
    let version = root.text_at(&["apiVersion"]).unwrap_or_default();
    if !version.starts_with("dapr.io/") {
        // Another's, such as a Deployment in the same file.
        return None;
    }
    let (kind, known) = match (root.text_at(&["kind"]).unwrap_or_default(), version) {
        ("Component", "dapr.io/v1alpha1") => (Kind::Component, true),
        ("Subscription", "dapr.io/v2alpha1") => (Kind::Subscription, true),
        ("Subscription", "dapr.io/v1alpha1") => (Kind::OldSubscription, true),
        ("Resiliency", "dapr.io/v1alpha1") => (Kind::Resiliency, true),
        ("Configuration", "dapr.io/v1alpha1") => (Kind::Configuration, true),
        (kind, "dapr.io/v1alpha1") => (Kind::Other, OTHER_KINDS.contains(&kind)),
        (_, _) => (Kind::Other, false),
    };
    let document = Document { file, text, number, kind, root };
    if !known {
        problems.push(unknown_kind(&document));
        return None;
    }
    problems.extend(
        document
            .shape()
            .map(|shape| shape::check(&document, &document.root, shape))
            .into_iter()
            .flatten(),
    );
    problems.extend(refused(&document));
    if document.name().is_none() {
        let text = "it has no name; daprd leaves it out".to_owned();
        problems.push(document.error(&document.root.at, text).help("give metadata.name"));
    }
    Some(document)
}

/// What daprd does without, and Kubernetes does not.
fn refused(document: &Document<'_>) -> Option<Problem> {
    let required: &[_] = match document.kind {
        Kind::Component => &["type", "version", "metadata"],
        Kind::Subscription => &["pubsubname", "topic", "routes"],
        Kind::OldSubscription => &["pubsubname", "topic", "route"],
        Kind::Resiliency => &["policies", "targets"],
        Kind::Configuration | Kind::Other => &[],
    };
    let spec = document.root.get("spec")?;
    // What daprd cannot do without, either, is told elsewhere.
    let daprds = ["type", "pubsubname", "topic", "route", "routes"];
    let missing = required.iter().find(|key| spec.get(key).is_none() && !daprds.contains(key))?;
    let text = format!("Kubernetes refuses it without spec.{missing}");
    Some(document.warning(&spec.at, text).help(format!("give spec.{missing}, be it empty")))
}

const KINDS: [&str; 4] = ["Component", "Subscription", "Resiliency", "Configuration"];
const OTHER_KINDS: [&str; 3] = ["HTTPEndpoint", "MCPServer", "WorkflowAccessPolicy"];

fn unknown_kind(document: &Document<'_>) -> Problem {
    let kind = document.root.get("kind");
    let version = document.root.text_at(&["apiVersion"]).unwrap_or_default();
    let name = kind.and_then(Node::text).unwrap_or_default();
    let at = kind.map_or_else(|| document.root.at.clone(), |kind| kind.at.clone());
    let text = format!("daprd knows no `{name}` of {version}, and leaves it out");
    let problem = document.error(&at, text);
    if KINDS.contains(&name) {
        let right = if name == "Subscription" { "dapr.io/v2alpha1" } else { "dapr.io/v1alpha1" };
        return problem.help(format!("write apiVersion: {right}"));
    }
    match nearest(name, KINDS.into_iter().chain(OTHER_KINDS)) {
        Some(right) => problem.help(format!("did you mean `{right}`?")),
        None => problem,
    }
}

/// Two of one kind and name keep daprd from starting.
fn duplicates(documents: &[Document<'_>]) -> Vec<Problem> {
    let mut seen = BTreeMap::new();
    let twice = documents.iter().filter_map(|document| {
        // daprd tells subscriptions apart by pubsub and topic.
        if matches!(document.kind, Kind::Subscription | Kind::OldSubscription | Kind::Other) {
            return None;
        }
        let (name, at) = document.name()?;
        let first = seen.insert((document.kind, name.to_owned()), document.file)?;
        let text =
            format!("`{name}` is also in {}; with both daprd does not start", first.display());
        Some(document.error(at, text).help("keep one of them"))
    });
    twice.collect()
}

/// Topics, jobs and bindings of the host are paths, which any app may call unless it is denied.
fn access(document: &Document<'_>) -> Vec<Problem> {
    let action = document.root.find(&["spec", "accessControl", "defaultAction"]);
    if action.and_then(Node::text).is_some_and(|action| action.eq_ignore_ascii_case("deny")) {
        return Vec::new();
    }
    let at = action.or(document.root.get("spec")).unwrap_or(&document.root);
    let text = "any app may call the host's topics, jobs and bindings by service invocation";
    let help = "say accessControl: { defaultAction: deny }, and allow what is to be called";
    vec![document.warning(&at.at, text.to_owned()).help(help)]
}

/// The folder of a file.
fn folder(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Resources<'_> {
    /// The folder that was looked at.
    fn folder(&self) -> impl std::fmt::Display {
        let first = self.documents.first();
        first.map_or(Path::new("."), |first| folder(first.file)).display()
    }

    fn components(&self) -> impl Iterator<Item = &Document<'_>> {
        self.documents.iter().filter(|document| document.kind == Kind::Component)
    }

    fn component(&self, name: &str) -> Option<&Document<'_>> {
        self.components().find(|one| one.name().is_some_and(|(own, _)| own == name))
    }

    /// Whether there is a component of this category, such as `pubsub`.
    fn has(&self, category: &str) -> bool {
        self.components().any(|one| one.category() == category)
    }
}

impl<'a> Host<'a> {
    /// Whether the host takes events of this pubsub. Without contracts it may.
    fn takes(self, pubsub: &str) -> bool {
        let mut contracts = self.contracts.iter().peekable();
        contracts.peek().is_none() || contracts.any(|one| one.pubsub.as_str() == pubsub)
    }

    /// Whether a contract names a component of Dapr, and as what.
    fn uses(self, name: &str) -> bool {
        self.contracts.iter().any(|one| {
            let mut stores = one.state_stores.iter().chain(&one.secret_stores);
            one.pubsub.as_str() == name
                || stores.any(|store| store.as_str() == name)
                || one.bindings.iter().any(|binding| binding.name.as_str() == name)
        })
    }
}

impl<'a> Document<'a> {
    fn error(&self, at: &Range<usize>, message: String) -> Problem {
        Problem::at(self.file, self.text, at.clone(), message)
    }

    fn warning(&self, at: &Range<usize>, message: String) -> Problem {
        self.error(at, message).warning()
    }

    fn name(&self) -> Option<(&str, &Range<usize>)> {
        let name = self.root.find(&["metadata", "name"])?;
        Some((name.text()?, &name.at))
    }

    /// An item of a component's metadata. daprd reads its name in any case.
    fn item(&self, name: &str) -> Option<&Node> {
        let items = self.root.find(&["spec", "metadata"])?.items();
        let is = |item: &&Node| {
            item.text_at(&["name"]).is_some_and(|own| own.eq_ignore_ascii_case(name))
        };
        items.iter().find(is)
    }

    /// The item's value; `None` for one that is elsewhere, such as in a secret.
    fn value(&self, name: &str) -> Option<&Node> {
        self.item(name)?.get("value")
    }

    /// The first part of a component's type.
    fn category(&self) -> &str {
        let ty = self.root.text_at(&["spec", "type"]).unwrap_or_default();
        ty.split_once('.').map_or(ty, |(category, _)| category)
    }

    /// Whether a daprd with this app id loads it.
    fn is_for(&self, app_id: &str) -> bool {
        let scopes = self.root.get("scopes").map(Node::items).unwrap_or_default();
        scopes.is_empty() || scopes.iter().any(|scope| scope.text() == Some(app_id))
    }

    fn shape(&self) -> Option<&'static Shape> {
        match self.kind {
            Kind::Component => Some(&shape::COMPONENT),
            Kind::Subscription => Some(&shape::SUBSCRIPTION_V2),
            Kind::OldSubscription => Some(&shape::SUBSCRIPTION_V1),
            Kind::Resiliency => Some(&shape::RESILIENCY),
            Kind::Configuration => Some(&shape::CONFIGURATION),
            Kind::Other => None,
        }
    }
}

/// The known name that is most like the given one, if one is much like it.
fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    let distance = |other: &str| strsim::damerau_levenshtein(&name, &other.to_ascii_lowercase());
    let nearest = known.into_iter().map(|other| (distance(other), other)).min()?;
    (nearest.0 <= nearest.1.len().max(name.len()) / 3).then_some(nearest.1)
}

#[cfg(test)]
mod tests;
