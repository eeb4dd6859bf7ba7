//! An image as `save` writes it: its configuration and its files.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use flate2::read::GzDecoder;
use serde_json::Value;

use super::tree::Tree;

/// Spec: RFC 1952, what a compressed layer begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What a builder made.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) config: Value,
    pub(crate) tree: Tree,
}

/// An entry of the archive; Docker 20.10 saves a layer that occurs again as a link to it.
enum Saved {
    Content(Vec<u8>),
    Link(String),
}

impl Image {
    /// Reads an archive of one image.
    pub(crate) fn read(archive: &Path) -> anyhow::Result<Self> {
        let mut files = HashMap::new();
        for entry in tar::Archive::new(fs_err::File::open(archive)?).entries()? {
            let mut entry = entry?;
            let name = entry.path()?.to_string_lossy().into_owned();
            let saved = match entry.link_name()? {
                Some(target) => Saved::Link(beside(&name, &target.to_string_lossy())),
                None => {
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content)?;
                    Saved::Content(content)
                }
            };
            files.insert(name, saved);
        }
        let manifest: Value = serde_json::from_slice(content(&files, "manifest.json")?)?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("manifest.json names no file");
        let config = serde_json::from_slice(content(&files, &text(&manifest[0]["Config"])?)?)?;
        let mut tree = Tree::default();
        for layer in manifest[0]["Layers"].as_array().into_iter().flatten() {
            let layer = content(&files, &text(layer)?)?;
            if layer.starts_with(&GZIP) { tree.apply(GzDecoder::new(layer))? } else { tree.apply(layer)? }
        }
        Ok(Self { config, tree })
    }
}

fn content<'a>(files: &'a HashMap<String, Saved>, name: &str) -> anyhow::Result<&'a [u8]> {
    match files.get(name) {
        Some(Saved::Content(content)) => Ok(content),
        Some(Saved::Link(target)) if target != name => content(files, target),
        _ => bail!("the archive has no `{name}`"),
    }
}

/// Returns what a link names that lies at `name`.
fn beside(name: &str, target: &str) -> String {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_occurs_again_is_found() {
        assert_eq!(beside("b/layer.tar", "../a/layer.tar"), "a/layer.tar");
    }
}
