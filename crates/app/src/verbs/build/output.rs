//! `--output`. Compat: buildx, `type=local|tar|oci|docker|image|registry`, a directory alone, and `-` for a tar on the standard output.

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use shipway_build::Built;
use shipway_layers::{Budget, LayerStore as _, serialise, unpack};
use shipway_linux::{Overlay, Root};
use shipway_oci::Reference;
use shipway_store::Found;

use crate::archive::{self, Wanted};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::part_file;
use crate::ui::Ui;
use crate::units;

const FORM: &str = "write it as `-o DIRECTORY`, or `-o type=local|tar|oci|docker|image|registry,dest=PATH`";

/// Where a result goes beside the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Its files into a directory.
    Local(PathBuf),
    /// Its files as a tar.
    Tar(Place),
    /// The image as an archive, which is both an OCI layout and what `docker load` reads.
    Archive(Place),
    /// The image as an OCI layout in a directory.
    Layout(PathBuf),
    /// More names, and whether they are pushed.
    Image { names: Vec<Reference>, push: bool },
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
        matches!(self, Self::Image { .. })
    }

    /// Returns whether it is written to the standard output.
    pub(super) fn uses_stdout(&self) -> bool {
        matches!(self, Self::Tar(Place::Stdout) | Self::Archive(Place::Stdout))
    }
}

/// Reads what was typed.
pub(super) fn parse(texts: &[String]) -> Result<Vec<Output>, Failure> {
    let outputs: Vec<Output> = texts.iter().map(|text| one(text)).collect::<Result<_, _>>()?;
    if outputs.iter().filter(|output| output.uses_stdout()).count() > 1 {
        return Err(Failure::new("only one output can be the standard output", FORM));
    }
    if outputs.iter().any(Output::uses_stdout) && io::stdout().is_terminal() {
        return Err(Failure::new(
            "an archive is nothing for a terminal",
            "write it to a file: `-o type=tar,dest=FILE`",
        ));
    }
    Ok(outputs)
}

fn one(text: &str) -> Result<Output, Failure> {
    let refuse = |why: String| Failure::new(format!("--output `{text}`: {why}"), FORM);
    if text == "-" {
        return Ok(Output::Tar(Place::Stdout));
    }
    if !text.contains('=') {
        return Ok(Output::Local(PathBuf::from(text)));
    }
    let (mut kind, mut dest, mut names, mut push, mut is_tar) = (None, None, Vec::new(), false, true);
    for field in text.split(',') {
        let (key, value) = field.split_once('=').unwrap_or((field, "true"));
        let flag =
            || units::truth(value).ok_or_else(|| refuse(format!("`{key}` is true or false, not `{value}`")));
        match key {
            "type" => kind = Some(value),
            "dest" => dest = Some(value),
            "name" => {
                let name = value.parse().map_err(|error| refuse(format!("`{value}` is no name: {error}")))?;
                names.push(name);
            }
            "push" => push = flag()?,
            "tar" => is_tar = flag()?,
            // As it is anyway.
            "oci-mediatypes" | "unpack" | "store" | "platform-split" if flag().is_ok() => {}
            _ if field.split_once('=').is_none() && !names.is_empty() => {
                let name = field.parse().map_err(|error| refuse(format!("`{field}` is no name: {error}")))?;
                names.push(name);
            }
            _ => return Err(refuse(format!("`{key}` is not there yet"))),
        }
    }
    let place = || match dest {
        None | Some("-" | "") => Place::Stdout,
        Some(path) => Place::File(PathBuf::from(path)),
    };
    let directory = || match dest {
        None | Some("" | "-") => Err(refuse("it names no directory: dest=DIRECTORY".to_owned())),
        Some(path) => Ok(PathBuf::from(path)),
    };
    match kind.unwrap_or("") {
        "local" => Ok(Output::Local(directory()?)),
        "tar" => Ok(Output::Tar(place())),
        "oci" if !is_tar => Ok(Output::Layout(directory()?)),
        // Compat: buildx, without a file the image goes to the engine, which has it.
        "docker" if dest.is_none() => Ok(Output::Image { names, push: false }),
        "oci" | "docker" => Ok(Output::Archive(place())),
        "image" => Ok(Output::Image { names, push }),
        "registry" => Ok(Output::Image { names, push: true }),
        "" => Err(refuse("it has no type".to_owned())),
        other => Err(refuse(format!("type `{other}` is not there yet"))),
    }
}

/// Writes a result where it is wanted.
pub(super) fn write(engine: &Engine, built: &Built, output: &Output, ui: &mut Ui) -> Result<(), Failure> {
    // What is written must not be collected on the way.
    let _lease = engine.store.lease()?;
    match output {
        Output::Local(directory) => {
            let root = files_of(engine, built)?;
            into(directory, |out| serialise(&root, out).map_err(|error| unwritable(directory, &error)))
        }
        Output::Tar(place) => {
            let root = files_of(engine, built)?;
            to(place, ui, |out| serialise(&root, out).map_err(|error| unwritable(path_of(place), &error)))
        }
        Output::Archive(place) => to(place, ui, |out| save(engine, built, out)),
        Output::Layout(directory) => into(directory, |out| save(engine, built, out)),
        Output::Image { .. } => Ok(()),
    }
}

fn save(engine: &Engine, built: &Built, out: &mut dyn Write) -> Result<(), Failure> {
    let index = built.index.map(|(digest, _)| digest);
    let found = Found { index, ..Found::new(built.image_id, built.manifest) };
    // What was built just now is all here.
    archive::save(engine, &[Wanted { found, names: built.tags.clone() }], out).map(drop)
}

/// Returns the files of an image, read-only.
fn files_of(engine: &Engine, built: &Built) -> Result<Root, Failure> {
    let config = engine.store.config(&built.image_id)?;
    let layers = engine.layers.resolve(&config.rootfs.diff_ids)?;
    let overlay = Overlay { lowers: engine.layers.view(&layers), upper: None, work: None };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read_as_buildx_reads_them() {
        let file = |path: &str| Place::File(PathBuf::from(path));
        for (text, want) in [
            ("out", Output::Local("out".into())),
            ("-", Output::Tar(Place::Stdout)),
            ("type=local,dest=a/b", Output::Local("a/b".into())),
            ("type=tar,dest=x.tar", Output::Tar(file("x.tar"))),
            ("type=oci,dest=x", Output::Archive(file("x"))),
            ("type=docker,dest=-", Output::Archive(Place::Stdout)),
            ("type=docker", Output::Image { names: Vec::new(), push: false }),
            ("type=oci,tar=false,dest=x", Output::Layout("x".into())),
            (
                "type=registry,name=a.test/b",
                Output::Image { names: vec!["a.test/b".parse().unwrap()], push: true },
            ),
            ("type=image,push=false", Output::Image { names: Vec::new(), push: false }),
        ] {
            assert_eq!(one(text).unwrap(), want, "case {text}");
        }
        for (text, want) in [
            ("dest=x", "it has no type"),
            ("type=local", "names no directory"),
            ("type=estargz", "type `estargz` is not there yet"),
            ("type=image,compression=zstd", "`compression` is not there yet"),
            ("type=image,push=maybe", "is true or false"),
        ] {
            let failure = one(text).unwrap_err();
            assert!(failure.text().contains(want), "{text}: {}", failure.text());
        }
        assert!(parse(&["-".to_owned(), "type=oci".to_owned()]).is_err());
    }
}
