//! The files of a result: those for one platform, or for several.

use std::io::{self, Write};
use std::path::PathBuf;

use shipway_build::Built;
use shipway_layers::{Clash, LayerStore as _, find_clash, serialise_each, serialise_together};
use shipway_linux::{Overlay, Root};
use shipway_oci::Platform;

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

/// The files of a result.
pub(super) enum Files {
    /// In one place. No path is that of two trees, but for directories.
    Together(Vec<Root>),
    /// In a directory for each platform.
    Each(Vec<(PathBuf, Root)>),
}

impl Files {
    /// Returns the files of a result, read-only.
    pub(super) fn of(engine: &Engine, built: &Built, split: Split) -> Result<Self, Failure> {
        let parts = match built.parts.as_slice() {
            [] => vec![(platform_of(engine, built)?, built)],
            parts => parts.iter().map(|(platform, part)| (platform.clone(), part)).collect(),
        };
        let is_split = match split {
            Split::Several => !built.parts.is_empty(),
            Split::Always => true,
            Split::Never => false,
        };
        let trees = parts.iter().map(|(_, part)| mount(engine, part)).collect::<Result<Vec<_>, _>>()?;
        let platforms = parts.into_iter().map(|(platform, _)| platform);
        if is_split {
            return Ok(Self::Each(platforms.map(|platform| directory_of(&platform)).zip(trees).collect()));
        }
        let unreadable = |error: io::Error| {
            let hint = "see whether the store is sound: `shipway system fsck`";
            Failure::new(format!("could not read what was built: {error}"), hint)
        };
        match find_clash(&trees).map_err(unreadable)? {
            None => Ok(Self::Together(trees)),
            Some(clash) => Err(refuse(&clash, &platforms.collect::<Vec<_>>())),
        }
    }

    /// Writes them as a tar archive.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Together(trees) => serialise_together(trees, out),
            Self::Each(trees) => serialise_each(trees, out),
        }
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
    let config = engine.store.config(&built.image_id)?;
    let platform = Platform::linux(&config.architecture);
    Ok(Platform { os: config.os, variant: config.variant, ..platform })
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
