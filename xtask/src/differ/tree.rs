//! The files that layers leave, read from their archives without help of the program that is tested.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};
use tar::EntryType;

/// What a file is, beside its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// `file`, `directory`, `link to …`, `pipe`, `device …`.
    pub(crate) kind: String,
    pub(crate) mode: u32,
    pub(crate) owner: (u64, u64),
    /// Size and SHA-256 of a file.
    pub(crate) content: String,
    pub(crate) xattrs: BTreeMap<String, String>,
    /// Seconds since 1970.
    pub(crate) mtime: u64,
}

impl Node {
    /// A directory that no layer speaks of.
    fn implied() -> Self {
        let (kind, content, xattrs) = ("directory".to_owned(), String::new(), BTreeMap::new());
        Self { kind, mode: 0o755, owner: (0, 0), content, xattrs, mtime: u64::MAX }
    }
}

/// Paths without a leading slash; the root directory is the empty one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    paths: BTreeMap<String, usize>,
}

/// An archive's entry that has yet to be put in its place.
enum Entry {
    Node(String, Node),
    Hard(String, String),
}

/// Spec: image-spec layer.md#whiteouts
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";
/// Spec: the pax keywords of star(5), which Go's and GNU's tar write.
const XATTR: &str = "SCHILY.xattr.";

impl Tree {
    /// Puts a layer on what is there.
    pub(crate) fn apply(&mut self, layer: impl Read) -> anyhow::Result<()> {
        let mut archive = tar::Archive::new(layer);
        let mut entries = Vec::new();
        let mut removed = Vec::new();
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = plain(&entry.path_bytes());
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if name == OPAQUE {
                removed.push((parent.to_owned(), false));
            } else if let Some(gone) = name.strip_prefix(WHITEOUT) {
                removed.push((join(parent, gone), true));
            } else {
                entries.push(read(path.clone(), &mut entry).with_context(|| format!("at `{path}`"))?);
            }
        }
        // What a layer removes is what lies below it, wherever in the archive that is said.
        for (path, itself) in removed {
            self.remove(&path, itself);
        }
        entries.into_iter().try_for_each(|entry| self.put(entry))
    }

    fn put(&mut self, entry: Entry) -> anyhow::Result<()> {
        let (path, number) = match entry {
            Entry::Node(path, node) => {
                self.nodes.push(node);
                (path, self.nodes.len() - 1)
            }
            Entry::Hard(path, target) => {
                let number = self.paths.get(&target).with_context(|| format!("`{path}` links to nothing"))?;
                (path, *number)
            }
        };
        if self.nodes[number].kind != "directory" {
            self.remove(&path, true);
        }
        // Layers need not have the directories on the way; who unpacks them makes those that are not there.
        for (at, _) in path.match_indices('/') {
            if !self.paths.contains_key(&path[..at]) {
                self.nodes.push(Node::implied());
                self.paths.insert(path[..at].to_owned(), self.nodes.len() - 1);
            }
        }
        self.paths.insert(path, number);
        Ok(())
    }

    fn remove(&mut self, path: &str, itself: bool) {
        let below = format!("{path}/");
        self.paths.retain(|known, _number| !(known.starts_with(&below) || itself && known == path));
    }

    /// Returns what lies at a path.
    pub(crate) fn get(&self, path: &str) -> Option<&Node> {
        self.paths.get(path).map(|number| &self.nodes[*number])
    }

    /// Returns all paths.
    pub(crate) fn paths(&self) -> BTreeSet<&str> {
        self.paths.keys().map(String::as_str).collect()
    }

    /// Returns the other names of what lies at a path.
    pub(crate) fn other_names(&self, path: &str) -> Vec<&str> {
        let Some(number) = self.paths.get(path) else { return Vec::new() };
        let same = self.paths.iter().filter(|(other, at)| *at == number && *other != path);
        same.map(|(other, _)| other.as_str()).collect()
    }
}

/// Returns a path without `./`, `/` and a slash at its end.
fn plain(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    names.join("/")
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") }
}

fn read<R: Read>(path: String, entry: &mut tar::Entry<'_, R>) -> anyhow::Result<Entry> {
    let mut xattrs = BTreeMap::new();
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        if let Some(name) = extension.key().ok().and_then(|key| key.strip_prefix(XATTR)) {
            xattrs.insert(name.to_owned(), shown(extension.value_bytes()));
        }
    }
    let header = entry.header();
    let device = || -> anyhow::Result<String> {
        Ok(format!("{}:{}", header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0)))
    };
    let target = entry.link_name_bytes().map(|name| name.into_owned()).unwrap_or_default();
    let kind = match header.entry_type() {
        EntryType::Regular | EntryType::Continuous => "file".to_owned(),
        EntryType::Directory => "directory".to_owned(),
        EntryType::Symlink => format!("link to {}", String::from_utf8_lossy(&target)),
        EntryType::Link => return Ok(Entry::Hard(path, plain(&target))),
        EntryType::Fifo => "pipe".to_owned(),
        EntryType::Char => format!("character device {}", device()?),
        EntryType::Block => format!("block device {}", device()?),
        other => bail!("an entry of the unknown type {other:?}"),
    };
    let (mode, owner, mtime) = (header.mode()? & 0o7777, (header.uid()?, header.gid()?), header.mtime()?);
    let mode = if kind.starts_with("link") { 0o777 } else { mode };
    let content = if kind == "file" { digest(entry)? } else { String::new() };
    Ok(Entry::Node(path, Node { kind, mode, owner, content, xattrs, mtime }))
}

fn digest(content: &mut impl Read) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let size = content.read_to_end(&mut bytes)?;
    Ok(format!("{size} bytes, {}", shown(&Sha256::digest(&bytes)[..8])))
}

fn shown(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(0);
            if *kind == EntryType::Link {
                archive.append_link(&mut header, path, content).unwrap();
            } else {
                header.set_size(content.len() as u64);
                archive.append_data(&mut header, path, content.as_bytes()).unwrap();
            }
        }
        archive.into_inner().unwrap()
    }

    #[test]
    fn layers_add_replace_and_remove() {
        let (file, directory, link) = (EntryType::Regular, EntryType::Directory, EntryType::Link);
        let mut tree = Tree::default();
        tree.apply(
            &layer(&[("d/", directory, ""), ("d/a", file, "a"), ("d/b", link, "d/a"), ("e", file, "e")])[..],
        )
        .unwrap();
        assert_eq!(tree.other_names("d/a"), ["d/b"]);
        tree.apply(&layer(&[("d/.wh.a", file, ""), (".wh.e", file, ""), ("./f", file, "f")])[..]).unwrap();
        assert_eq!(tree.paths(), BTreeSet::from(["d", "d/b", "f"]));
        tree.apply(&layer(&[("d/g", file, "g"), ("d/.wh..wh..opq", file, "")])[..]).unwrap();
        assert_eq!(tree.paths(), BTreeSet::from(["d", "d/g", "f"]));
        tree.apply(&layer(&[("d", file, "now a file")])[..]).unwrap();
        assert_eq!(tree.paths(), BTreeSet::from(["d", "f"]));
    }

    #[test]
    fn names_are_read_as_they_are_meant() {
        for (text, want) in
            [("./", ""), ("/", ""), (".", ""), ("./a/b/", "a/b"), (".hidden", ".hidden"), ("./.h", ".h")]
        {
            assert_eq!(plain(text.as_bytes()), want, "{text}");
        }
    }
}
