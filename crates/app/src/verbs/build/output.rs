//! `--output`. Compat: buildx, `type=local|tar|oci|docker|image|registry`, a directory alone, and `-` for a tar on the standard output.

mod documents;
mod files;
mod shape;
mod typed;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use shipway_build::Built;
use shipway_distribution::Departure;
use shipway_layers::{Budget, serialise, serialise_together, unpack};
use shipway_linux::Root;
use shipway_oci::{Descriptor, Reference};
use shipway_store::Found;

use self::documents::Document;
use self::files::{Files, Trees};
use crate::archive::{self, Wanted};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::part_file;
use crate::ui::Ui;

pub(super) use documents::Wish;
pub(super) use files::Split;
pub(super) use shape::{Form, fit, shape};
pub(super) use typed::{Outputs, parse};

const FORM: &str = "write it as `-o DIRECTORY`, or `-o type=local|tar|oci|docker|image|registry,dest=PATH`";

/// Where a result goes beside the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Its files into a directory.
    Local(PathBuf, Split),
    /// Its files as a tar.
    Tar(Place, Split),
    /// The image as an archive, which is both an OCI layout and what `docker load` reads.
    Archive(Place, Form),
    /// The image as an OCI layout in a directory.
    Layout(PathBuf, Form),
    /// More names, and how they are pushed if they are. What is pushed is packed as that says.
    Image { names: Vec<Reference>, push: Option<Departure>, form: Form },
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

    /// Returns the form that it wants.
    pub(super) fn form(&self) -> Form {
        match self {
            Self::Archive(_, form) | Self::Layout(_, form) | Self::Image { form, .. } => *form,
            Self::Local(..) | Self::Tar(..) | Self::Nothing => Form::default(),
        }
    }

    /// Returns whether it is written to the standard output.
    pub(super) fn uses_stdout(&self) -> bool {
        matches!(self, Self::Tar(Place::Stdout, _) | Self::Archive(Place::Stdout, _))
    }
}

/// Refuses places that nothing can be written to, before anything is built for them. Compat: buildx.
pub(super) fn check_places(outputs: &[Output]) -> Result<(), Failure> {
    for output in outputs {
        let (path, is_directory) = match output {
            Output::Local(path, _) | Output::Layout(path, _) => (path, true),
            Output::Tar(Place::File(path), _) | Output::Archive(Place::File(path), _) => (path, false),
            _ => continue,
        };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let why = match fs_err::metadata(path) {
            Ok(found) if is_directory && !found.is_dir() => "it is no directory",
            Ok(found) if !is_directory && found.is_dir() => {
                "it is a directory, and a file is wanted: dest=FILE"
            }
            Err(_) if !is_directory && parent.is_some_and(|parent| !parent.is_dir()) => {
                "its directory is not there"
            }
            _ => continue,
        };
        return Err(Failure::new(format!("could not write `{}`: {why}", path.display()), FORM));
    }
    Ok(())
}

/// Writes a result, which has the form that is wanted, where it is wanted. Returns what an archive or a layout says of it.
pub(super) fn write(
    engine: &Engine,
    built: &Built,
    (output, wish): (&Output, Wish),
    ui: &mut Ui,
) -> Result<Option<Descriptor>, Failure> {
    // What is written must not be collected on the way.
    let _lease = engine.store.lease()?;
    let mut image = None;
    match output {
        Output::Local(directory, split) => local(&Files::of(engine, built, *split, wish)?, directory),
        Output::Tar(place, split) => {
            let files = Files::of(engine, built, *split, wish)?;
            to(place, ui, |out| files.write(out).map_err(|error| unwritable(path_of(place), &error)))
        }
        Output::Archive(place, form) => to(place, ui, |out| save(engine, built, *form, &mut image, out)),
        Output::Layout(directory, form) => into(directory, |out| save(engine, built, *form, &mut image, out)),
        Output::Image { .. } | Output::Nothing => Ok(()),
    }?;
    Ok(image)
}

/// Writes files into a directory.
fn local(files: &Files, directory: &Path) -> Result<(), Failure> {
    let write = |root: &Root, directory: &Path| {
        into(directory, |out| serialise(root, out).map_err(|error| unwritable(directory, &error)))
    };
    match &files.trees {
        Trees::Together(trees) => into(directory, |out| {
            serialise_together(trees, out).map_err(|error| unwritable(directory, &error))
        }),
        Trees::Each(trees) => trees.iter().try_for_each(|(name, root)| write(root, &directory.join(name))),
    }?;
    let written = UNIX_EPOCH + Duration::from_secs(files.written);
    for Document { path, content } in &files.documents {
        let path = directory.join(path);
        let failed = |error: io::Error| unwritable(&path, &error);
        shipway_store::atomic_write(&path, content, 0o600).map_err(failed)?;
        fs_err::File::open(&path).and_then(|file| file.set_modified(written)).map_err(failed)?;
    }
    Ok(())
}

fn save(
    engine: &Engine,
    built: &Built,
    form: Form,
    image: &mut Option<Descriptor>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let wanted = Wanted { found: found(built), names: built.tags.clone(), packing: form.packing };
    // What was built just now is all here: there is nothing to note.
    *image = archive::save(engine, &[wanted], out)?.images.pop();
    Ok(())
}

/// Returns what was built as the store knows it.
pub(super) fn found(built: &Built) -> Found {
    let index = built.index.map(|(digest, _)| digest);
    Found { index, ..Found::new(built.image_id, built.manifest) }
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
        // Compat: buildx, others may read it.
        Place::File(path) => part_file::write(path, 0o666, &|error| unwritable(path, error), content),
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
    let has_failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let has_failed = &has_failed;
        let writing = scope.spawn(move || {
            let mut out = io::BufWriter::with_capacity(1 << 18, writer);
            let written = content(&mut out).and_then(|()| out.flush().map_err(failed));
            // Before the pipe ends: whoever reads then only notices.
            has_failed.store(written.is_err(), Ordering::Release);
            written
        });
        let unpacked = unpack(&root, &mut reader, Budget::default()).map(drop).map_err(Failure::from);
        let is_cause = has_failed.load(Ordering::Acquire);
        // A writer whose reader went away ends too.
        drop(reader);
        let written = writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if is_cause { written } else { unpacked.and(written) }
    })
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("could not write `{}`: {error}", path.display()), FORM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_looked_at_before_anything_is_built() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs_err::write(at("file"), "").unwrap();
        fs_err::create_dir(at("directory")).unwrap();
        let local = |name: &str| Output::Local(at(name), Split::default());
        let tar = |name: &str| Output::Tar(Place::File(at(name)), Split::default());
        for (name, output, want) in [
            ("a directory that is there", local("directory"), None),
            ("one to be made, with those above it", local("new/er"), None),
            ("a file for a directory", local("file"), Some("it is no directory")),
            ("a layout too", Output::Layout(at("file"), Form::default()), Some("it is no directory")),
            ("a file to be replaced", tar("file"), None),
            ("a new file", tar("directory/new"), None),
            ("a directory for a file", tar("directory"), Some("it is a directory")),
            ("a file nowhere", tar("new/x.tar"), Some("its directory is not there")),
            ("a device", Output::Tar(Place::File("/dev/null".into()), Split::default()), None),
            ("a name alone", Output::Tar(Place::File("x.tar".into()), Split::default()), None),
            ("the standard output", Output::Tar(Place::Stdout, Split::default()), None),
        ] {
            let told = check_places(&[Output::Nothing, output]).err();
            let told = told.map(|failure| failure.text()).unwrap_or_default();
            match want {
                Some(want) => assert!(told.contains(want) && told.contains("hint: "), "case {name}: {told}"),
                None => assert_eq!(told, "", "case {name}"),
            }
        }
    }
}
