//! What a chain of layers means: applied one after the other to an empty tree, in memory.
//!
//! Written from the specification and from what tar programs do, not from the code under test. Layers and trees have one short
//! notation, entries separated by `; `:
//!
//! `d/` a directory, `f=text` a file, `s->target` a symlink, `h=>target` a hard link, `p|` a FIFO, `c!1:3` a character device,
//! `-d/f` a whiteout, `-d/*` an opaque mark; then, if not as usual, mode (octal), owner (`1:2`), attributes (`user.x=1`).
//! In a tree a file with several names lists them: `a=text {a,b}`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use shipway_linux::{Kind, Metadata, Root};

use crate::tar_bytes::{Raw, end, pax, record};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Directory,
    File(String),
    Symlink(String),
    Link(String),
    Fifo,
    Device(u32, u32),
    Gone,
    Opaque,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) path: String,
    pub(crate) what: What,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) xattrs: BTreeMap<String, String>,
}

fn usual_mode(what: &What) -> u32 {
    match what {
        What::Directory => 0o755,
        What::Symlink(_) => 0o777,
        _ => 0o644,
    }
}

/// Reads the notation.
pub(crate) fn parse(text: &str) -> Vec<Item> {
    text.split("; ").filter(|text| !text.is_empty()).map(parse_item).collect()
}

fn parse_item(text: &str) -> Item {
    let mut words = text.split(' ');
    let first = words.next().unwrap();
    let (path, what) = if let Some(path) = first.strip_prefix('-') {
        match path.strip_suffix('*') {
            Some(directory) => (directory.trim_end_matches('/'), What::Opaque),
            None => (path, What::Gone),
        }
    } else if let Some((path, target)) = first.split_once("->") {
        (path, What::Symlink(target.to_owned()))
    } else if let Some((path, target)) = first.split_once("=>") {
        (path, What::Link(target.to_owned()))
    } else if let Some((path, content)) = first.split_once('=') {
        (path, What::File(content.to_owned()))
    } else if let Some((path, device)) = first.split_once('!') {
        let (major, minor) = device.split_once(':').unwrap();
        (path, What::Device(major.parse().unwrap(), minor.parse().unwrap()))
    } else if let Some(path) = first.strip_suffix('|') {
        (path, What::Fifo)
    } else {
        (first.strip_suffix('/').unwrap(), What::Directory)
    };
    let path = if path == "." { "" } else { path };
    let (mode, xattrs) = (usual_mode(&what), BTreeMap::new());
    let mut item = Item { path: path.to_owned(), what, mode, owner: (0, 0), xattrs };
    for word in words {
        if let Some((key, value)) = word.split_once('=') {
            item.xattrs.insert(key.to_owned(), value.to_owned());
        } else if let Some((uid, gid)) = word.split_once(':') {
            item.owner = (uid.parse().unwrap(), gid.parse().unwrap());
        } else {
            item.mode = u32::from_str_radix(word, 8).unwrap();
        }
    }
    item
}

/// Writes a layer as an archive.
pub(crate) fn archive(items: &[Item]) -> Vec<u8> {
    let mut out = Vec::new();
    for item in items {
        let (kind, name, content) = match &item.what {
            What::Directory if item.path.is_empty() => (b'5', "./".to_owned(), ""),
            What::Directory => (b'5', format!("{}/", item.path), ""),
            What::File(content) => (b'0', item.path.clone(), content.as_str()),
            What::Symlink(target) => (b'2', item.path.clone(), target.as_str()),
            What::Link(target) => (b'1', item.path.clone(), target.as_str()),
            What::Fifo => (b'6', item.path.clone(), ""),
            What::Device(..) => (b'3', item.path.clone(), ""),
            What::Gone => {
                let (parent, name) = item.path.rsplit_once('/').map_or(("", item.path.as_str()), |pair| pair);
                let slash = if parent.is_empty() { "" } else { "/" };
                (b'0', format!("{parent}{slash}.wh.{name}"), "")
            }
            What::Opaque if item.path.is_empty() => (b'0', ".wh..wh..opq".to_owned(), ""),
            What::Opaque => (b'0', format!("{}/.wh..wh..opq", item.path), ""),
        };
        let records: Vec<u8> = item
            .xattrs
            .iter()
            .flat_map(|(key, value)| record(&format!("SCHILY.xattr.{key}"), value.as_bytes()))
            .collect();
        if !records.is_empty() {
            pax(&records, &mut out);
        }
        let mut raw = Raw::new(kind, &name, content);
        (raw.mode, raw.owner) = (item.mode, item.owner);
        if let What::Device(major, minor) = item.what {
            raw.device = (major, minor);
        }
        raw.write(&mut out);
    }
    end(out)
}

/// A tree: names, and what they stand for; several names may stand for the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    names: BTreeMap<String, usize>,
    nodes: Vec<Item>,
    /// Whether a layer named one place in two ways, through symlinks of layers below it, or replaced a symlink that it had gone
    /// through. Then the order inside the layer decides, which an unpacked layer no longer has (docs/adr/0008).
    pub(crate) ambiguous: bool,
    /// What was there before the layer, symlinks that the layer went through, and places with the names that it gave them.
    before: BTreeMap<String, usize>,
    passed: Vec<String>,
    placed: Vec<(String, String)>,
}

impl Tree {
    /// Returns what layers mean one on top of the other, or why they mean nothing.
    pub(crate) fn of(layers: &[Vec<Item>]) -> Result<Self, String> {
        let mut tree = Self::default();
        tree.put("", parse_item("./"));
        for layer in layers {
            tree.apply(layer)?;
        }
        Ok(tree)
    }

    fn apply(&mut self, layer: &[Item]) -> Result<(), String> {
        (self.passed, self.placed) = (Vec::new(), Vec::new());
        self.before = self.names.clone();
        let mut whiteouts = Vec::new();
        // Whiteouts speak of what was there before the layer, wherever they stand in it.
        for item in layer {
            match item.what {
                What::Gone => {
                    let path = self.place(&item.path, false)?;
                    self.remove(&path);
                    whiteouts.push(path);
                }
                What::Opaque => {
                    let path = self.follow(&item.path, false)?;
                    let below = if path.is_empty() { path } else { format!("{path}/") };
                    self.names.retain(|name, _| name.is_empty() || !name.starts_with(&below));
                    whiteouts.push(below);
                }
                _ => {}
            }
        }
        let mut whiteouts = whiteouts.into_iter();
        for item in layer {
            if item.what == What::Opaque {
                let now = self.follow(&item.path, true)?;
                let now = if now.is_empty() { now } else { format!("{now}/") };
                self.ambiguous |= whiteouts.next() != Some(now.clone());
                self.note(now.trim_end_matches('/'), &item.path);
                continue;
            }
            if item.path.is_empty() {
                self.put("", item.clone());
                continue;
            }
            let path = self.place(&item.path, true)?;
            if item.what == What::Gone {
                self.ambiguous |= whiteouts.next().as_ref() != Some(&path);
            }
            self.note(&path, &item.path);
            match &item.what {
                What::Gone => {}
                What::Directory if self.is_directory(&path) => self.put(&path, item.clone()),
                What::Link(target) => {
                    let target = self.place(target, false)?;
                    // A file that the layer takes away can still get another name.
                    let node = self.names.get(&target).or_else(|| self.before.get(&target)).copied();
                    let node = node.ok_or("a link to nothing")?;
                    self.ambiguous |= matches!(self.nodes[node].what, What::Symlink(_));
                    self.placed.push((target.clone(), target.clone()));
                    if self.nodes[node].what == What::Directory || target == path {
                        return Err("a link to a directory or itself".to_owned());
                    }
                    self.remove(&path);
                    if target.starts_with(&format!("{path}/")) {
                        return Err("a link to what it replaces".to_owned());
                    }
                    self.names.insert(path, node);
                }
                _ => {
                    self.remove(&path);
                    self.put(&path, item.clone());
                }
            }
        }
        Ok(())
    }

    /// Remembers that the layer calls a place so.
    fn note(&mut self, place: &str, name: &str) {
        let below = format!("{place}/");
        self.ambiguous |= self.passed.iter().any(|passed| passed == place || passed.starts_with(&below));
        let differs = |(known, called): &(String, String)| match known.strip_prefix(place) {
            Some("") => called != name,
            Some(rest) if rest.starts_with('/') => *called != format!("{name}{rest}"),
            _ => false,
        };
        self.ambiguous |= self.placed.iter().any(differs);
        self.placed.push((place.to_owned(), name.to_owned()));
    }

    fn put(&mut self, path: &str, item: Item) {
        self.names.insert(path.to_owned(), self.nodes.len());
        self.nodes.push(item);
    }

    fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        self.names.retain(|name, _| name != path && !name.starts_with(&below));
    }

    fn node(&self, path: &str) -> Option<&Item> {
        self.names.get(path).map(|node| &self.nodes[*node])
    }

    fn is_directory(&self, path: &str) -> bool {
        self.node(path).is_some_and(|node| node.what == What::Directory)
    }

    /// Follows the symlinks to the directory that an entry goes into.
    fn place(&mut self, path: &str, make: bool) -> Result<String, String> {
        let Some((parent, name)) = path.rsplit_once('/') else { return Ok(path.to_owned()) };
        let parent = self.follow(parent, make)?;
        Ok(if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") })
    }

    fn follow(&mut self, path: &str, make: bool) -> Result<String, String> {
        let mut rest: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut found = String::new();
        let mut links = 0;
        while let Some(name) = rest.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    found.truncate(found.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = if found.is_empty() { name } else { format!("{found}/{name}") };
            match self.node(&next).map(|node| node.what.clone()) {
                Some(What::Symlink(target)) => {
                    links += 1;
                    self.passed.push(next);
                    if links > 40 {
                        return Err("a loop".to_owned());
                    }
                    if target.starts_with('/') {
                        found.clear();
                    }
                    rest.extend(target.split('/').rev().map(str::to_owned));
                    continue;
                }
                Some(What::Directory) => {}
                None if make => self.put(&next, parse_item("x/")),
                None => {}
                Some(_) => return Err(format!("`{next}` is in the way")),
            }
            found = next;
        }
        Ok(found)
    }

    /// Writes the tree in the notation.
    pub(crate) fn render(&self) -> String {
        let mut groups: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for (name, node) in &self.names {
            groups.entry(*node).or_default().push(name);
        }
        let lines = self.names.iter().map(|(name, node)| {
            let item = Item { path: name.clone(), ..self.nodes[*node].clone() };
            render(&item, &groups[node])
        });
        lines.filter(|line| line != "./").collect::<Vec<_>>().join("; ")
    }
}

fn render(item: &Item, group: &[&str]) -> String {
    let path = if item.path.is_empty() { "." } else { &item.path };
    let mut line = match &item.what {
        What::Directory => format!("{path}/"),
        What::File(content) => format!("{path}={content}"),
        What::Symlink(target) => format!("{path}->{target}"),
        What::Fifo => format!("{path}|"),
        What::Device(major, minor) => format!("{path}!{major}:{minor}"),
        What::Link(target) => format!("{path}=>{target}"),
        What::Gone => format!("-{path}"),
        What::Opaque => format!("-{path}/*"),
    };
    if !matches!(item.what, What::Symlink(_)) && item.mode != usual_mode(&item.what) {
        line += &format!(" {:o}", item.mode);
    }
    if item.owner != (0, 0) {
        line += &format!(" {}:{}", item.owner.0, item.owner.1);
    }
    for (key, value) in &item.xattrs {
        line += &format!(" {key}={value}");
    }
    if group.len() > 1 {
        line += &format!(" {{{}}}", group.join(","));
    }
    line
}

/// Writes a layer in the notation.
pub(crate) fn write(layer: &[Item]) -> String {
    layer.iter().map(|item| render(item, &[])).collect::<Vec<_>>().join("; ")
}

/// Reads a real tree and writes it in the notation.
pub(crate) fn render_files(root: &Root) -> String {
    let mut found: Vec<(Item, Metadata)> = Vec::new();
    gather(root, Path::new(""), &mut found);
    found.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
    let mut groups: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for (item, metadata) in found.iter().filter(|(_, metadata)| !metadata.is_directory()) {
        groups.entry(metadata.inode).or_default().push(&item.path);
    }
    let none = Vec::new();
    let lines =
        found.iter().map(|(item, metadata)| render(item, groups.get(&metadata.inode).unwrap_or(&none)));
    lines.filter(|line| line != "./").collect::<Vec<_>>().join("; ")
}

fn gather(root: &Root, path: &Path, found: &mut Vec<(Item, Metadata)>) {
    let Some(metadata) = root.metadata(path).unwrap() else {
        // A whiteout that the kernel lists.
        let listed = parse_item(&format!("{}?=listed,but_not_there", path.display()));
        found.push((listed, root.metadata("").unwrap().unwrap()));
        return;
    };
    let mut xattrs = BTreeMap::new();
    if matches!(metadata.kind, Kind::Directory | Kind::File) {
        for (key, value) in root.xattrs(path).unwrap() {
            xattrs.insert(key, String::from_utf8_lossy(&value).into_owned());
        }
    }
    let what = match metadata.kind {
        Kind::Directory => What::Directory,
        Kind::File => {
            let mut content = Vec::new();
            root.open_file(path).unwrap().read_to_end(&mut content).unwrap();
            assert_eq!(content.len() as u64, metadata.size);
            What::File(String::from_utf8_lossy(&content).into_owned())
        }
        Kind::Symlink => What::Symlink(root.read_link(path).unwrap().to_string_lossy().into_owned()),
        Kind::Special if metadata.mode & 0o170_000 == 0o010_000 => What::Fifo,
        Kind::Special => {
            let number = u32::try_from(metadata.rdev).unwrap();
            What::Device(number >> 8, number & 0xff)
        }
    };
    let is_directory = metadata.is_directory();
    found.push((
        Item {
            path: String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned(),
            mode: metadata.mode & 0o7777,
            owner: (metadata.uid, metadata.gid),
            what,
            xattrs,
        },
        metadata,
    ));
    if is_directory {
        for name in root.names(path).unwrap() {
            gather(root, &path.join(name), found);
        }
    }
}
