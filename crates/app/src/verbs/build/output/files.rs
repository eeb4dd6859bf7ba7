//! The files of a result: those for one platform, or for several.

use std::io::{self, Write};
use std::path::PathBuf;

use shipway_build::Built;
use shipway_layers::{Clash, LayerStore as _, Times, find_clash, serialise_each, serialise_together};
use shipway_linux::{Overlay, Root};
use shipway_oci::Platform;

use super::documents::{self, Document, Wish};
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;

/// Whether the files for a platform have a directory of their own. Compat: buildx, `platform-split`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::verbs::build) enum Split {
    /// Where there are several platforms.
    #[default]
    Several,
    /// Always.
    Always,
    /// Never: what is for several platforms is in one place.
    Never,
}

/// Where files and what is attested of them go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::verbs::build) struct Arrangement {
    pub(in crate::verbs::build) split: Split,
    /// What names of documents begin with. Compat: buildx, `attestation-prefix`.
    pub(in crate::verbs::build) prefix: String,
    /// What the directory has beside the result is removed. Compat: BuildKit, `mode=delete`.
    pub(in crate::verbs::build) is_alone: bool,
}

/// The files of a result, and what is attested of them.
pub(super) struct Files {
    pub(super) trees: Trees,
    pub(super) documents: Vec<Document>,
    /// When the documents were written, in seconds since the epoch.
    pub(super) written: u64,
}

/// The files of a result.
pub(super) enum Trees {
    /// In one place. No path is that of two trees, but for directories.
    Together(Vec<Root>),
    /// In a directory for each platform.
    Each(Vec<(PathBuf, Root)>),
}

impl Files {
    /// Returns the files of a result, read-only.
    pub(super) fn of(
        engine: &Engine,
        built: &Built,
        arrangement: &Arrangement,
        wish: Wish,
    ) -> Result<Self, Failure> {
        let parts = match built.parts.as_slice() {
            [] => vec![(platform_of(engine, built)?, built)],
            parts => parts.iter().map(|(platform, part)| (platform.clone(), part)).collect(),
        };
        let is_split = match arrangement.split {
            Split::Several => !built.parts.is_empty(),
            Split::Always => true,
            Split::Never => false,
        };
        let trees = parts.iter().map(|(_, part)| mount(engine, part)).collect::<Result<Vec<_>, _>>()?;
        let unreadable = |error: io::Error| {
            let hint = "see whether the store is sound: `shipway system fsck`";
            Failure::new(format!("could not read what was built: {error}"), hint)
        };
        let mut documents = Vec::new();
        for ((platform, part), tree) in parts.iter().zip(&trees) {
            let place = |name: &str| {
                place_of(&format!("{}{name}", arrangement.prefix), platform, is_split, parts.len() > 1)
            };
            documents.extend(documents::of(engine, (part, tree), wish, &place).map_err(unreadable)?);
        }
        let platforms = parts.into_iter().map(|(platform, _)| platform);
        let trees = if is_split {
            Trees::Each(platforms.map(|platform| directory_of(&platform)).zip(trees).collect())
        } else {
            match find_clash(&trees).map_err(unreadable)? {
                None => Trees::Together(trees),
                Some(clash) => return Err(refuse(&clash, &platforms.collect::<Vec<_>>())),
            }
        };
        let written = wish.epoch.unwrap_or_else(|| u64::try_from(clock::now()).unwrap_or_default());
        Ok(Self { trees, documents, written })
    }

    /// Writes them as a tar archive.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let trees = |out: &mut dyn Write| match &self.trees {
            Trees::Together(trees) => serialise_together(trees, Times::Seconds, out),
            Trees::Each(trees) => serialise_each(trees, out),
        };
        if self.documents.is_empty() {
            return trees(out);
        }
        documents::append(&self.documents, self.written, out, trees)
    }
}

/// Returns where a document about the files for a platform goes. Compat: BuildKit, beside them, or else with the platform in its name.
fn place_of(name: &str, platform: &Platform, is_split: bool, are_several: bool) -> PathBuf {
    let directory = directory_of(platform);
    match name.rsplit_once('.').filter(|_| are_several && !is_split) {
        Some((stem, ending)) => PathBuf::from(format!("{stem}.{}.{ending}", directory.display())),
        None if is_split => directory.join(name),
        None => PathBuf::from(name),
    }
}

fn refuse(Clash { path, trees: (first, second) }: &Clash, platforms: &[Platform]) -> Failure {
    let (first, second) = (&platforms[*first], &platforms[*second]);
    Failure::new(
        format!("`/{}` is there for {first} and for {second}", path.display()),
        "give each platform its own directory: leave out `platform-split=false`; or give the files different names by TARGETARCH",
    )
}

/// Returns where the files for a platform go. Compat: buildx, such as `linux_arm64`.
fn directory_of(platform: &Platform) -> PathBuf {
    PathBuf::from(platform.to_string().replace('/', "_"))
}

fn platform_of(engine: &Engine, built: &Built) -> Result<Platform, Failure> {
    Ok(engine.store.config(&built.image_id)?.platform())
}

/// Returns the files of an image, read-only.
fn mount(engine: &Engine, built: &Built) -> Result<Root, Failure> {
    let config = engine.store.config(&built.image_id)?;
    let layers = engine.layers.resolve(&config.rootfs.diff_ids)?;
    let overlay = Overlay { lowers: engine.layers.view(&layers), ..Overlay::default() };
    let mounted = overlay.mount_detached().map_err(|error| {
        Failure::new(
            format!("could not mount the image's layers: {error}"),
            "run as root on Linux 5.15 or newer",
        )
    })?;
    Ok(Root::from_fd(mounted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_where_the_files_are_that_they_are_about() {
        let arm = "linux/arm/v7".parse().unwrap();
        for (is_split, are_several, want) in [
            (false, false, "sbom.spdx.json"),
            (true, false, "linux_arm_v7/sbom.spdx.json"),
            (true, true, "linux_arm_v7/sbom.spdx.json"),
            (false, true, "sbom.spdx.linux_arm_v7.json"),
        ] {
            assert_eq!(place_of("sbom.spdx.json", &arm, is_split, are_several), PathBuf::from(want));
        }
    }
}
