//! `--output`. Compat: buildx, `type=local|tar|oci|docker|image|registry`, a directory alone, and `-` for a tar on the standard output.

mod typed;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use shipway_build::Built;
use shipway_distribution::{Departure, Packing};
use shipway_layers::{Budget, LayerStore as _, serialise, serialise_each, unpack};
use shipway_linux::{Overlay, Root};
use shipway_oci::{Platform, Reference};
use shipway_store::Found;

use crate::archive::{self, Wanted};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::part_file;
use crate::ui::Ui;

pub(super) use typed::{Outputs, parse};

const FORM: &str = "write it as `-o DIRECTORY`, or `-o type=local|tar|oci|docker|image|registry,dest=PATH`";

/// Where a result goes beside the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Its files into a directory.
    Local(PathBuf),
    /// Its files as a tar.
    Tar(Place),
    /// The image as an archive, which is both an OCI layout and what `docker load` reads.
    Archive(Place, Option<Packing>),
    /// The image as an OCI layout in a directory.
    Layout(PathBuf, Option<Packing>),
    /// More names, and how they are pushed if they are.
    Image { names: Vec<Reference>, push: Option<Departure> },
    /// Nowhere: only the steps are kept.
    Nothing,
}

/// A file, or the standard output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    File(PathBuf),
    Stdout,
}

impl Output {
    /// Returns whether the image itself is wanted in the store.
    pub(super) fn is_image(&self) -> bool {
        matches!(self, Self::Image { push, .. } if !push.is_some_and(|how| how.by_digest))
    }

    /// Returns whether it is written to the standard output.
    pub(super) fn uses_stdout(&self) -> bool {
        matches!(self, Self::Tar(Place::Stdout) | Self::Archive(Place::Stdout, _))
    }
}

/// Writes a result where it is wanted.
pub(super) fn write(engine: &Engine, built: &Built, output: &Output, ui: &mut Ui) -> Result<(), Failure> {
    // What is written must not be collected on the way.
    let _lease = engine.store.lease()?;
    match output {
        Output::Local(directory) if built.parts.is_empty() => local(engine, built, directory),
        Output::Local(directory) => built
            .parts
            .iter()
            .try_for_each(|(platform, part)| local(engine, part, &directory.join(directory_of(platform)))),
        Output::Tar(place) if built.parts.is_empty() => {
            let root = files_of(engine, built)?;
            to(place, ui, |out| serialise(&root, out).map_err(|error| unwritable(path_of(place), &error)))
        }
        Output::Tar(place) => {
            let mut trees = Vec::new();
            for (platform, part) in &built.parts {
                trees.push((directory_of(platform), files_of(engine, part)?));
            }
            to(place, ui, |out| {
                serialise_each(&trees, out).map_err(|error| unwritable(path_of(place), &error))
            })
        }
        Output::Archive(place, packing) => to(place, ui, |out| save(engine, built, *packing, out)),
        Output::Layout(directory, packing) => into(directory, |out| save(engine, built, *packing, out)),
        Output::Image { .. } | Output::Nothing => Ok(()),
    }
}

/// Returns where the files for one of several platforms go. Compat: buildx, such as `linux_arm64`.
fn directory_of(platform: &Platform) -> PathBuf {
    PathBuf::from(platform.to_string().replace('/', "_"))
}

/// Writes the files of one image into a directory.
fn local(engine: &Engine, built: &Built, directory: &Path) -> Result<(), Failure> {
    let root = files_of(engine, built)?;
    into(directory, |out| serialise(&root, out).map_err(|error| unwritable(directory, &error)))
}

fn save(
    engine: &Engine,
    built: &Built,
    packing: Option<Packing>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let wanted = Wanted { found: found(built), names: built.tags.clone(), packing };
    // What was built just now is all here.
    archive::save(engine, &[wanted], out).map(drop)
}

/// Returns what was built as the store knows it.
pub(super) fn found(built: &Built) -> Found {
    let index = built.index.map(|(digest, _)| digest);
    Found { index, ..Found::new(built.image_id, built.manifest) }
}

/// Returns the files of an image, read-only.
fn files_of(engine: &Engine, built: &Built) -> Result<Root, Failure> {
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

fn path_of(place: &Place) -> &Path {
    match place {
        Place::File(path) => path,
        Place::Stdout => Path::new("-"),
    }
}

fn to(
    place: &Place,
    ui: &mut Ui,
    content: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
) -> Result<(), Failure> {
    match place {
        Place::File(path) => part_file::write(path, &|error| unwritable(path, error), content),
        Place::Stdout => {
            let mut out = io::BufWriter::with_capacity(1 << 18, ui.out());
            content(&mut out)?;
            out.flush().map_err(|error| unwritable(Path::new("-"), &error))
        }
    }
}

/// Unpacks what is written into a directory; what is there already stays, or is replaced.
fn into(
    directory: &Path,
    content: impl FnOnce(&mut dyn Write) -> Result<(), Failure> + Send,
) -> Result<(), Failure> {
    let failed = |error: io::Error| unwritable(directory, &error);
    fs_err::create_dir_all(directory).map_err(failed)?;
    let root = Root::open(directory).map_err(failed)?;
    let (mut reader, writer) = io::pipe().map_err(failed)?;
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            let mut out = io::BufWriter::with_capacity(1 << 18, writer);
            content(&mut out)?;
            out.flush().map_err(failed)
        });
        let unpacked = unpack(&root, &mut reader, Budget::default()).map(drop).map_err(Failure::from);
        // A writer whose reader went away ends too.
        drop(reader);
        let written = writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        unpacked.and(written)
    })
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("could not write `{}`: {error}", path.display()), FORM)
}
