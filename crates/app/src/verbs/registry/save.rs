//! `shipway save`

use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use shipway_oci::Digest;

use crate::archive::{self, Wanted};
use crate::cli::SaveArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

pub(crate) fn run(engine: &Engine, args: &SaveArgs, ui: &mut Ui) -> Result<u8, Failure> {
    if args.output.is_none() && io::stdout().is_terminal() {
        return Err(Failure::new(
            "an archive is nothing for a terminal",
            format!("write it to a file: `shipway save -o FILE {}`", args.names.join(" ")),
        ));
    }
    // What is written must not be collected on the way.
    let _lease = engine.store.lease()?;
    let images = wanted(engine, &args.names)?;
    match &args.output {
        None => {
            let mut out = BufWriter::with_capacity(1 << 18, ui.out());
            archive::save(engine, &images, &mut out)?;
            out.flush().map_err(|error| unwritable(Path::new("-"), &error))?;
        }
        Some(path) => to_file(engine, &images, path)?,
    }
    Ok(0)
}

/// Returns each image once, with the names that were asked for.
fn wanted(engine: &Engine, names: &[String]) -> Result<Vec<Wanted>, Failure> {
    let mut images: Vec<Wanted> = Vec::new();
    for name in names {
        let found = engine.store.resolve(name)?;
        let same = |image: &&mut Wanted| -> bool { key(image) == (found.image_id, found.manifest) };
        match images.iter_mut().find(same) {
            Some(image) => image.names.extend(found.name),
            None => images.push(Wanted { names: found.name.clone().into_iter().collect(), found }),
        }
    }
    Ok(images)
}

fn key(image: &Wanted) -> (Digest, Digest) {
    (image.found.image_id, image.found.manifest)
}

/// Writes beside the file first: what was there stays if something goes wrong.
fn to_file(engine: &Engine, images: &[Wanted], path: &Path) -> Result<(), Failure> {
    let unwritable = |error: io::Error| unwritable(path, &error);
    let special = fs_err::metadata(path).is_ok_and(|found| !found.is_file());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = if special { path.to_owned() } else { path.with_file_name(name) };
    let mut options = std::fs::OpenOptions::new();
    options.write(true).mode(0o600);
    let opened = if special { options.open(&part) } else { options.create_new(true).open(&part) };
    let file = opened.map_err(unwritable)?;
    let saved = (|| {
        let mut out = BufWriter::with_capacity(1 << 18, &file);
        archive::save(engine, images, &mut out)?;
        out.flush().map_err(unwritable)?;
        if special { Ok(()) } else { fs_err::rename(&part, path).map_err(unwritable) }
    })();
    if saved.is_err() && !special {
        // The first error is the one that matters.
        drop(fs_err::remove_file(&part));
    }
    saved
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        format!("could not write `{}`: {error}", path.display()),
        "name another file: `shipway save -o FILE IMAGE`",
    )
}
