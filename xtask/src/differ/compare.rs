//! What differs between two images.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::image::Image;
use super::tree::{Node, Tree};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Where: `result`, `config.NAME`, `history`, `/path WHAT`.
    pub(crate) place: String,
    pub(crate) theirs: String,
    pub(crate) ours: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}\n      docker:  {}\n      shipway: {}", self.place, self.theirs, self.ours)
    }
}

/// What a context's files are dated, if they are dated at all: before this. What is younger was made by a build.
const OLD: u64 = 1_600_000_000;

/// Fields that say nothing about the image: Docker's own bookkeeping, and what it writes into every image.
const UNTOLD: [&str; 9] = [
    "Hostname",
    "Domainname",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "Tty",
    "OpenStdin",
    "StdinOnce",
    "Image",
];

/// What BuildKit notes beside each of its steps.
const BUILDKIT: &str = "buildkit.dockerfile.v0";

/// Compares what both made, the words of their histories only if asked for: BuildKit has changed them over time.
pub(crate) fn compare(theirs: &Image, ours: &Image, with_words: bool) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut note = |place: String, theirs: String, ours: String| {
        if theirs != ours {
            found.push(Difference { place, theirs, ours });
        }
    };
    for name in ["os", "architecture", "author"] {
        note(name.to_owned(), text(&theirs.config[name]), text(&ours.config[name]));
    }
    let fields = |config: &Value| -> BTreeSet<String> {
        config["config"].as_object().into_iter().flat_map(|fields| fields.keys().cloned()).collect()
    };
    for name in &fields(&theirs.config) | &fields(&ours.config) {
        if !UNTOLD.contains(&name.as_str()) {
            let (theirs, ours) = (&theirs.config["config"][&name], &ours.config["config"][&name]);
            note(format!("config.{name}"), text(theirs), text(ours));
        }
    }
    note("history".to_owned(), history(&theirs.config), history(&ours.config));
    let entries = |config: &Value| config["history"].as_array().cloned().unwrap_or_default();
    for (place, (there, here)) in entries(&theirs.config).iter().zip(&entries(&ours.config)).enumerate() {
        // What a base image says of itself is its own.
        let is_told = with_words && there["comment"] == BUILDKIT;
        for name in ["created_by", "comment"].into_iter().filter(|_| is_told) {
            note(format!("history {place} {name}"), text(&there[name]), text(&here[name]));
        }
    }
    for path in &theirs.tree.paths() | &ours.tree.paths() {
        files(&theirs.tree, &ours.tree, path, &mut note);
    }
    found
}

fn files(theirs: &Tree, ours: &Tree, path: &str, note: &mut impl FnMut(String, String, String)) {
    let (there, here) = match (theirs.get(path), ours.get(path)) {
        (Some(there), Some(here)) => (there, here),
        (there, here) => {
            let told = |node: Option<&Node>| node.map_or("not there", |node| node.kind.as_str()).to_owned();
            // Not every builder writes the root directory into a layer.
            if !path.is_empty() {
                note(format!("/{path}"), told(there), told(here));
            }
            return;
        }
    };
    let mut compare = |what: &str, there: String, here: String| note(format!("/{path} {what}"), there, here);
    compare("kind", there.kind.clone(), here.kind.clone());
    compare("mode", format!("{:o}", there.mode), format!("{:o}", here.mode));
    compare("owner", format!("{:?}", there.owner), format!("{:?}", here.owner));
    compare("content", there.content.clone(), here.content.clone());
    compare("xattrs", format!("{:?}", there.xattrs), format!("{:?}", here.xattrs));
    compare("names", format!("{:?}", theirs.other_names(path)), format!("{:?}", ours.other_names(path)));
    if there.mtime < OLD || here.mtime < OLD {
        compare("time", dated(there), dated(here));
    }
}

fn dated(node: &Node) -> String {
    if node.mtime < OLD { node.mtime.to_string() } else { "of the build".to_owned() }
}

/// Returns a value as JSON; what is empty is nothing.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Array(values) if values.is_empty() => String::new(),
        Value::Object(fields) if fields.is_empty() => String::new(),
        Value::Bool(false) => String::new(),
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            // The order of an object's fields says nothing.
            let fields: std::collections::BTreeMap<_, _> = fields.iter().collect();
            serde_json::to_string(&fields).unwrap_or_default()
        }
        other => other.to_string(),
    }
}

/// Returns a letter per instruction: `L` for one that made a layer, `-` for one that made none.
fn history(config: &Value) -> String {
    let steps = config["history"].as_array().into_iter().flatten();
    steps.map(|step| if step["empty_layer"] == true { '-' } else { 'L' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn image(config: Value, entries: &[(&str, u32, u64)]) -> Image {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, mode, mtime) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(*mode);
            header.set_size(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(*mtime);
            archive.append_data(&mut header, path, std::io::empty()).unwrap();
        }
        let mut tree = Tree::default();
        tree.apply(&archive.into_inner().unwrap()[..]).unwrap();
        Image { config, tree }
    }

    #[test]
    fn every_difference_has_its_place() {
        let old = 1_000_000_000;
        let new = 1_790_000_000;
        let theirs =
            json!({"os": "linux", "config": {"Env": ["A=1"], "Cmd": null, "Image": "x"}, "history": [{}]});
        let ours = json!({"os": "linux", "config": {"Env": ["A=2"], "Labels": {}}, "history": [{"empty_layer": true}]});
        let theirs = image(theirs, &[("a", 0o644, old), ("b", 0o4755, new), ("c", 0o644, new)]);
        let ours = image(ours, &[("a", 0o644, new), ("b", 0o755, new + 9), ("d", 0o644, new)]);
        let places: Vec<String> =
            compare(&theirs, &ours, true).into_iter().map(|found| found.place).collect();
        assert_eq!(places, ["config.Env", "history", "/a time", "/b mode", "/c", "/d"]);
        assert_eq!(compare(&theirs, &theirs, true), []);
    }
}
