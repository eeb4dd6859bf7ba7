//! `--output`. Compat: buildx, `type=local|tar|oci|docker|image|registry`, a directory alone, and `-` for a tar on the standard output.

mod documents;
mod files;
mod shape;
mod stale;
mod typed;

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use shipway_build::Built;
use shipway_distribution::Departure;
use shipway_layers::{Budget, LayerError, Times, serialise_together, unpack_owned};
use shipway_linux::{OpenFlags, Root, own_ids};
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
pub(super) use files::{Arrangement, Split};
pub(super) use shape::{Form, fit, shape};
pub(super) use typed::{Outputs, parse};

/// A file without a name.
const UNNAMED: i32 = OpenFlags::TMPFILE.bits().cast_signed();

const FORM: &str = "write it as `-o DIRECTORY`, or `-o type=local|tar|oci|docker|image|registry,dest=PATH`";

const ELSEWHERE: &str = "name another place: `-o DIRECTORY`, or `dest=PATH` behind the type";
const ROOM: &str =
    "make room there (`df -h PATH`), or name another place: `-o DIRECTORY`, or `dest=PATH` behind the type";

/// Where a result goes beside the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Its files into a directory.
    Local(PathBuf, Arrangement),
    /// Its files as a tar.
    Tar(Place, Arrangement),
    /// The image as an archive, which is both an OCI layout and what `docker load` reads, under these names; under those of the build if
    /// it says none.
    Archive(Place, Form, Vec<Reference>),
    /// The image as an OCI layout in a directory.
    Layout(PathBuf, Form, Vec<Reference>),
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
            Self::Archive(_, form, _) | Self::Layout(_, form, _) | Self::Image { form, .. } => *form,
            Self::Local(..) | Self::Tar(..) | Self::Nothing => Form::default(),
        }
    }

    /// Returns whether it has a list of what is in it.
    pub(super) fn lists_image(&self) -> bool {
        matches!(self, Self::Archive(..) | Self::Layout(..))
    }

    /// Returns the names that an archive or a layout says; none if it is another output.
    pub(super) fn archive_names(&self) -> &[Reference] {
        match self {
            Self::Archive(_, _, names) | Self::Layout(_, _, names) => names,
            _ => &[],
        }
    }

    /// Lets an archive or a layout say the names of the result.
    pub(super) fn forget_names(&mut self) {
        if let Self::Archive(_, _, names) | Self::Layout(_, _, names) = self {
            names.clear();
        }
    }

    /// Returns the file or directory that it is written to.
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Local(path, _) | Self::Layout(path, ..) => Some(path),
            Self::Tar(Place::File(path), _) | Self::Archive(Place::File(path), ..) => Some(path),
            _ => None,
        }
    }

    /// Returns whether it is written to the standard output.
    pub(super) fn uses_stdout(&self) -> bool {
        matches!(self, Self::Tar(Place::Stdout, _) | Self::Archive(Place::Stdout, ..))
    }
}

/// Refuses places that nothing can be written to, before anything is built for them. Compat: buildx.
pub(super) fn check_places(outputs: &[Output]) -> Result<(), Failure> {
    for output in outputs {
        let (path, is_directory) = match output {
            Output::Local(path, _) | Output::Layout(path, ..) => (path, true),
            Output::Tar(Place::File(path), _) | Output::Archive(Place::File(path), ..) => (path, false),
            _ => continue,
        };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let why = match fs_err::metadata(path) {
            Ok(found) if is_directory && !found.is_dir() => "it is no directory",
            Ok(found) if !is_directory && found.is_dir() => {
                "it is a directory, and a file is wanted: dest=FILE"
            }
            // A device or pipe is written as it is.
            Ok(found) if !is_directory && !found.is_file() => continue,
            _ => {
                try_place(if is_directory { path } else { parent.unwrap_or(Path::new(".")) }, path)?;
                continue;
            }
        };
        return Err(Failure::new(format!("could not write `{}`: {why}", path.display()), FORM));
    }
    Ok(())
}

/// Refuses a directory that is to have nothing beside the result (`mode=delete`) where it would lose what the build reads, or other results:
/// `others` are what it reads and writes besides.
pub(super) fn check_others(outputs: &[Output], others: &[&Path]) -> Result<(), Failure> {
    for output in outputs {
        let Output::Local(directory, Arrangement { is_alone: true, .. }) = output else { continue };
        let written = outputs.iter().filter(|other| !std::ptr::eq(*other, output)).filter_map(Output::path);
        let place = real(directory);
        let is_lost = |path: &&Path| real(path).starts_with(&place);
        if let Some(path) = written.chain(others.iter().copied()).find(is_lost) {
            return Err(Failure::new(
                format!(
                    "mode=delete would remove `{}`, which is in `{}`",
                    path.display(),
                    directory.display()
                ),
                "write to a directory of its own, or leave `mode=delete` out",
            ));
        }
    }
    Ok(())
}

/// Returns where a path leads, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = absolute.ancestors().find_map(|above| Some((above, fs_err::canonicalize(above).ok()?)));
    match there {
        Some((above, found)) => match absolute.strip_prefix(above) {
            Ok(rest) if !rest.as_os_str().is_empty() => found.join(rest),
            _ => found,
        },
        None => absolute,
    }
}

/// Makes something where a result is to go, and takes it away again: some places say only then that they take nothing.
fn try_place(directory: &Path, path: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| unwritable(path, &error);
    let directory = std::path::absolute(directory).map_err(failed)?;
    let above = directory.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
    // Nobody sees it, nor does the directory change. Not all file systems have that.
    if OpenOptions::new().write(true).custom_flags(UNNAMED).mode(0o600).open(above).is_ok() {
        return Ok(());
    }
    let trial = above.join(format!(".shipway.{}", std::process::id()));
    let made = DirBuilder::new().mode(0o700).create(&trial);
    made.and_then(|()| fs_err::remove_dir(&trial)).map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => failed(error),
        _ => Failure::new(
            format!(
                "could not write `{}`: nothing can be made in `{}`: {error}",
                path.display(),
                above.display()
            ),
            ELSEWHERE,
        ),
    })
}

/// Writes a result, which has the form that is wanted, where it is wanted; `said` is for what lists it in an archive or a layout. Returns
/// what these say of it.
pub(super) fn write(
    engine: &Engine,
    built: &Built,
    (output, wish, said): (&Output, Wish, &[(String, String)]),
    ui: &mut Ui,
) -> Result<Option<Descriptor>, Failure> {
    // What is written must not be collected on the way.
    let _lease = engine.store.lease()?;
    let mut image = None;
    let mut save = |form: &Form, names: &[Reference], out: &mut dyn Write| {
        let names = if names.is_empty() { &built.tags } else { names }.to_vec();
        let annotations = said_of(engine, built, said)?;
        let wanted = Wanted { found: found(built), names, packing: form.packing, annotations };
        // What was built just now is all here: there is nothing to note.
        image = archive::save(engine, &[wanted], out)?.images.pop();
        Ok(())
    };
    match output {
        Output::Local(directory, arrangement) => {
            let files = Files::of(engine, built, arrangement, wish)?;
            local(&files, directory)?;
            let cleaned = if arrangement.is_alone { stale::remove(directory, &files) } else { Ok(()) };
            cleaned.map_err(|error| unwritable(directory, &error))
        }
        Output::Tar(place, arrangement) => {
            let files = Files::of(engine, built, arrangement, wish)?;
            to(place, ui, |out| files.write(out).map_err(|error| unwritable(path_of(place), &error)))
        }
        Output::Archive(place, form, names) => to(place, ui, |out| save(form, names, out)),
        Output::Layout(directory, form, names) => into(directory, |out| save(form, names, out)),
        Output::Image { .. } | Output::Nothing => Ok(()),
    }?;
    Ok(image)
}

/// Writes files into a directory.
fn local(files: &Files, directory: &Path) -> Result<(), Failure> {
    let write = |trees: &[Root], directory: &Path| {
        into(directory, |out| {
            serialise_together(trees, Times::Exact, out).map_err(|error| unwritable(directory, &error))
        })
    };
    match &files.trees {
        Trees::Together(trees) => write(trees, directory),
        Trees::Each(trees) => {
            trees.iter().try_for_each(|(name, root)| write(slice::from_ref(root), &directory.join(name)))
        }
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

/// Returns what lists an image says of it: when it was made, and what is wanted. Compat: BuildKit, which says when it was written.
fn said_of(
    engine: &Engine,
    built: &Built,
    said: &[(String, String)],
) -> Result<Vec<(String, String)>, Failure> {
    let created = engine.store.config(&built.image_id)?.created;
    let created = created.map(|time| ("org.opencontainers.image.created".to_owned(), time));
    Ok(created.into_iter().chain(said.iter().cloned()).collect())
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
    let path = path_of(place);
    let content = |out: &mut dyn Write| {
        let mut out = Watched { out, failure: None };
        let written = content(&mut out);
        // Whoever wrote may have put it in words of his own.
        out.failure.map_or(written, |error| Err(unwritable(path, &error)))
    };
    match place {
        // Compat: buildx, others may read it.
        Place::File(path) => {
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                fs_err::create_dir_all(parent).map_err(|error| unwritable(path, &error))?;
            }
            part_file::write(path, 0o666, &|error| unwritable(path, error), content)
        }
        Place::Stdout => {
            let mut out = io::BufWriter::with_capacity(1 << 18, ui.out());
            content(&mut out)?;
            out.flush().map_err(|error| unwritable(Path::new("-"), &error))
        }
    }
}

/// Unpacks what is written into a directory; what is there already stays, or is replaced. Compat: buildx, all of it belongs to whoever asks.
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
        let unpacked = unpack_owned(&root, &mut reader, Budget::default(), own_ids());
        let unpacked = unpacked.map(drop).map_err(|error| not_unpacked(directory, error));
        let is_cause = has_failed.load(Ordering::Acquire);
        // A writer whose reader went away ends too.
        drop(reader);
        let written = writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if is_cause { written } else { unpacked.and(written) }
    })
}

/// Remembers what went wrong with what it writes to.
struct Watched<'a> {
    out: &'a mut dyn Write,
    failure: Option<io::Error>,
}

impl Watched<'_> {
    fn noted<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        done.map_err(|error| {
            let kind = error.kind();
            self.failure.get_or_insert(error);
            kind.into()
        })
    }
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.out.write(bytes);
        self.noted(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = self.out.flush();
        self.noted(done)
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let place = if path == Path::new("-") {
        "the standard output".to_owned()
    } else {
        format!("`{}`", path.display())
    };
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Failure::new(format!("no space left to write {place}"), ROOM)
        }
        io::ErrorKind::BrokenPipe => Failure::new(
            format!("{place} is not whole: nobody reads the rest of it"),
            "see why what reads it ended, or write to a file: dest=FILE",
        ),
        _ => Failure::new(format!("could not write {place}: {error}"), ELSEWHERE),
    }
}

/// Says what went wrong in the directory that files go to.
fn not_unpacked(directory: &Path, error: LayerError) -> Failure {
    let at = |path: &Path| directory.join(path).display().to_string();
    match &error {
        LayerError::NoSpace { path, .. } => {
            Failure::new(format!("no space left to write `{}`", at(path)), ROOM)
        }
        LayerError::Io { operation, path, source } => {
            Failure::new(format!("could not {operation} `{}`: {source}", at(path)), ELSEWHERE)
        }
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alone_in_its_directory_takes_nothing_else_away() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs_err::create_dir(at("out")).unwrap();
        fs_err::os::unix::fs::symlink("out", at("link")).unwrap();
        let alone = Arrangement { is_alone: true, ..Arrangement::default() };
        let tar = |name: &str| Output::Tar(Place::File(at(name)), Arrangement::default());
        for (directory, output, read, is_refused) in [
            ("out", Output::Nothing, "context", false),
            ("context/out", tar("x.tar"), "context", false),
            ("out", tar("out.tar"), "outer", false),
            ("out", tar("out/x.tar"), "context", true),
            ("link", tar("out/new/x.tar"), "context", true),
            ("out", Output::Local(at("out"), Arrangement::default()), "context", true),
            ("out", Output::Nothing, "out", true),
            ("out", Output::Nothing, "out/cache", true),
            ("", Output::Nothing, "context", true),
        ] {
            let told = check_others(&[Output::Local(at(directory), alone.clone()), output], &[&at(read)]);
            let told = told.map_err(|failure| failure.text());
            assert_eq!(
                told.is_err_and(|text| text.contains("would remove")),
                is_refused,
                "{directory} {read}"
            );
        }
    }

    #[test]
    fn places_are_looked_at_before_anything_is_built() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs_err::write(at("file"), "").unwrap();
        fs_err::create_dir(at("directory")).unwrap();
        let local = |name: &str| Output::Local(at(name), Arrangement::default());
        let tar = |name: &str| Output::Tar(Place::File(at(name)), Arrangement::default());
        for (name, output, want) in [
            ("a directory that is there", local("directory"), None),
            ("one to be made, with those above it", local("new/er"), None),
            ("a file for a directory", local("file"), Some("it is no directory")),
            (
                "a layout too",
                Output::Layout(at("file"), Form::default(), Vec::new()),
                Some("it is no directory"),
            ),
            ("a file to be replaced", tar("file"), None),
            ("a new file", tar("directory/new"), None),
            ("a directory below a file", local("file/new"), Some("nothing can be made in `")),
            (
                "one that takes nothing",
                Output::Local("/proc/x/y".into(), Arrangement::default()),
                Some("`/proc/x/y`"),
            ),
            (
                "a file there",
                Output::Tar(Place::File("/proc/x".into()), Arrangement::default()),
                Some("`/proc/x`"),
            ),
            ("a directory for a file", tar("directory"), Some("it is a directory")),
            ("a file in a directory to be made", tar("new/er/x.tar"), None),
            ("a file below a file", tar("file/x.tar"), Some("nothing can be made in `")),
            ("a device", Output::Tar(Place::File("/dev/null".into()), Arrangement::default()), None),
            ("a name alone", Output::Tar(Place::File("x.tar".into()), Arrangement::default()), None),
            ("the standard output", Output::Tar(Place::Stdout, Arrangement::default()), None),
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
