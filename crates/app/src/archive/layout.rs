//! An image of an OCI layout that is a directory: `oci-layout://DIR[:TAG][@DIGEST]`. Compat: buildx.

use std::path::{Path, PathBuf};

use shipway_distribution::select;
use shipway_oci::{Descriptor, Digest, Index, Platform};

use super::files::Files;
use super::{CONTAINERD_NAME, INDEX, REF_NAME};
use crate::bases::is_for;
use crate::engine::Engine;
use crate::failure::Failure;

/// What an image without a tag is called.
const LATEST: &str = "latest";

/// Names an image of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LayoutImage {
    dir: PathBuf,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl LayoutImage {
    /// Reads what is behind `oci-layout://`. A tag has no slash; a directory whose name has a colon is found as it is.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let (place, digest) = match text.rsplit_once('@') {
            Some((place, digest)) if !digest.contains('/') => {
                let digest = digest.parse().map_err(|error| {
                    Failure::new(
                        format!("`{digest}` is no digest: {error}"),
                        "write it as oci-layout://DIR@sha256:… with its 64 letters and digits",
                    )
                })?;
                (place, Some(digest))
            }
            _ => (text, None),
        };
        let (dir, tag) = match place.rsplit_once(':') {
            Some((dir, tag)) if !tag.contains('/') && !Path::new(place).is_dir() => {
                (dir, Some(tag.to_owned()).filter(|tag| !tag.is_empty()))
            }
            _ => (place, None),
        };
        if dir.is_empty() {
            return Err(Failure::new(
                "the OCI layout has no directory",
                "write it as oci-layout://DIR, or oci-layout://DIR:TAG",
            ));
        }
        Ok(Self { dir: PathBuf::from(dir), tag, digest })
    }

    /// Brings the image for a platform into the store, without a name, and returns the digest of its config, and that of what is named in
    /// the layout. The caller holds a lease.
    pub(crate) fn load(&self, engine: &Engine, platform: &Platform) -> Result<(Digest, Digest), Failure> {
        let files = Files::open_directory(engine, &self.dir, platform.clone())?;
        let bytes = files.document(INDEX)?.ok_or_else(|| files.wrong("it has no index.json"))?;
        let index = files.index(&bytes)?;
        let entry = self.find(&index, platform).map_err(|why| files.wrong(why))?;
        let image_id = files.image_alone(&entry)?.image_id;
        let config = engine.store.config(&image_id)?;
        if !is_for(platform, &config.os, &config.architecture) {
            let has = format!("{}/{}", config.os, config.architecture);
            return Err(files.wrong(format!("its image is for {has}, not for {platform}")));
        }
        Ok((image_id, entry.digest))
    }

    /// Returns the entry that is meant: of several with the tag, or several without any, the one for the platform. Compat: BuildKit, a
    /// digest goes before a tag, and may be of something that the index does not list itself.
    fn find(&self, index: &Index, platform: &Platform) -> Result<Descriptor, String> {
        if let Some(digest) = self.digest {
            let listed = index.manifests.iter().find(|entry| entry.digest == digest);
            return Ok(listed.cloned().unwrap_or_else(|| Descriptor::new("", digest, 0)));
        }
        let wanted = self.tag.as_deref().unwrap_or(LATEST);
        let tags: Vec<&str> = index.manifests.iter().filter_map(tag_of).collect();
        let is_meant =
            |entry: &&Descriptor| tag_of(entry) == Some(wanted) || (self.tag.is_none() && tags.is_empty());
        let mut meant: Vec<Descriptor> = index.manifests.iter().filter(is_meant).cloned().collect();
        if let ([], None, [only]) = (meant.as_slice(), &self.tag, index.manifests.as_slice()) {
            meant.push(only.clone());
        }
        match meant.as_slice() {
            [] if index.manifests.is_empty() => Err("its index is empty".to_owned()),
            [] => {
                let there = if tags.is_empty() { "none".to_owned() } else { tags.join(", ") };
                Err(format!("it has no image with the tag `{wanted}`; the tags are: {there}"))
            }
            // One image may have several names, and what is no manifest may have images for all platforms.
            [first, rest @ ..]
                if rest.iter().all(|other| other.digest == first.digest)
                    || !first.media_type.is_manifest() =>
            {
                Ok(first.clone())
            }
            _ => {
                let meant = Index { manifests: meant, ..index.clone() };
                select(&meant, platform).cloned().ok_or_else(|| format!("it has nothing for {platform}"))
            }
        }
    }
}

/// Returns the tag of an entry; some write a whole name.
fn tag_of(entry: &Descriptor) -> Option<&str> {
    let name = entry.annotations.get(REF_NAME).or_else(|| entry.annotations.get(CONTAINERD_NAME))?;
    match name.rsplit_once(':') {
        Some((_, tag)) if !tag.contains('/') => Some(tag),
        _ => Some(name),
    }
}

#[cfg(test)]
mod tests {
    use shipway_oci::MediaType;

    use super::*;

    fn image(dir: &str, tag: Option<&str>, digest: Option<Digest>) -> LayoutImage {
        LayoutImage { dir: PathBuf::from(dir), tag: tag.map(str::to_owned), digest }
    }

    #[test]
    fn a_layout_is_named_with_tag_and_digest() {
        let digest = Digest::of(b"");
        for (text, want) in [
            ("dir".to_owned(), image("dir", None, None)),
            ("/a/dir:v1".to_owned(), image("/a/dir", Some("v1"), None)),
            ("a:b/dir".to_owned(), image("a:b/dir", None, None)),
            (format!("dir@{digest}"), image("dir", None, Some(digest))),
            (format!("dir:v1@{digest}"), image("dir", Some("v1"), Some(digest))),
            ("a@b/dir".to_owned(), image("a@b/dir", None, None)),
        ] {
            assert_eq!(LayoutImage::parse(&text).unwrap(), want, "{text}");
        }
        for (text, want) in
            [("dir@sha256:12", "is no digest"), (":v1", "has no directory"), ("", "has no directory")]
        {
            let failure = LayoutImage::parse(text).unwrap_err();
            assert!(failure.text().contains(want) && failure.text().contains("hint: "), "{}", failure.text());
        }
    }

    #[test]
    fn the_image_that_is_meant_is_found() {
        let entry = |text: &str, name: Option<&str>| {
            let mut entry = Descriptor::new(MediaType::OCI_MANIFEST, Digest::of(text.as_bytes()), 1);
            entry.annotations.extend(name.map(|name| (REF_NAME.to_owned(), name.to_owned())));
            entry
        };
        let index = |manifests: Vec<Descriptor>| Index {
            schema_version: 2,
            media_type: None,
            manifests,
            annotations: std::collections::BTreeMap::new(),
            other: serde_json::Map::new(),
        };
        let two = index(vec![entry("1", Some("v1")), entry("2", Some("host/web:v2"))]);
        let one = index(vec![entry("1", None)]);
        let with_latest = index(vec![entry("1", Some("v1")), entry("2", Some("latest"))]);
        let of = |platform: &str, mut entry: Descriptor| {
            entry.platform = Some(platform.parse().unwrap());
            entry
        };
        let listed = |name| {
            let all = [("1", "linux/amd64"), ("2", "linux/riscv64")]
                .map(|(text, platform)| of(platform, entry(text, name)));
            index(all.to_vec())
        };
        let twice = index(vec![entry("1", Some("a/b:v1")), entry("1", Some("c/d:v1"))]);
        let (plain, tagged) = (listed(None), listed(Some("v1")));
        let (first, second) = (Digest::of(b"1"), Digest::of(b"2"));
        for (name, index, tag, digest, want) in [
            ("by tag", &two, Some("v2"), None, Ok(second)),
            ("the only one", &one, None, None, Ok(first)),
            ("latest", &with_latest, None, None, Ok(second)),
            ("by digest", &two, Some("v2"), Some(first), Ok(first)),
            ("below the index", &two, None, Some(Digest::of(b"3")), Ok(Digest::of(b"3"))),
            ("which?", &two, None, None, Err("no image with the tag `latest`; the tags are: v1, v2")),
            ("not that", &one, Some("v1"), None, Err("no image with the tag `v1`; the tags are: none")),
            ("nothing", &index(vec![]), None, None, Err("its index is empty")),
            ("for the platform", &plain, None, None, Ok(second)),
            ("for the platform by tag", &tagged, Some("v1"), None, Ok(second)),
            ("twice the same", &twice, Some("v1"), None, Ok(first)),
            ("other by digest", &tagged, Some("v1"), Some(first), Ok(first)),
        ] {
            let found =
                image("dir", tag, digest).find(index, &Platform::linux("riscv64")).map(|entry| entry.digest);
            match want {
                Ok(want) => assert_eq!(found, Ok(want), "case {name}"),
                Err(want) => assert!(found.clone().unwrap_err().contains(want), "case {name}: {found:?}"),
            }
        }
    }
}
