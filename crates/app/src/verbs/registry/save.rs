//! `shipway save`

use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::path::Path;

use shipway_oci::{Digest, Reference};
use shipway_store::Found;

use crate::archive::{self, Saved, Wanted};
use crate::cli::SaveArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::local_names::{self, resolve};
use crate::part_file;
use crate::ui::Ui;
use crate::variants::image_for;

pub(crate) fn run(engine: &Engine, args: &SaveArgs, ui: &mut Ui) -> Result<u8, Failure> {
    if args.output.is_none() && io::stdout().is_terminal() {
        return Err(Failure::new(
            "an archive is nothing for a terminal",
            format!("write it to a file: `shipway save -o FILE {}`", args.names.join(" ")),
        ));
    }
    // What is written must not be collected on the way.
    let _lease = engine.store.lease()?;
    let images = wanted(engine, args)?;
    let mut saved = Saved::default();
    match &args.output {
        None => {
            let mut out = BufWriter::with_capacity(1 << 18, ui.out());
            saved = archive::save(engine, &images, &mut out)?;
            out.flush().map_err(archive::unwritable)?;
        }
        Some(path) => {
            part_file::write(path, 0o600, &|error| unwritable(path, error), |out| {
                saved = archive::save(engine, &images, out)?;
                Ok(())
            })?;
        }
    }
    saved.notes.iter().for_each(|note| ui.note(note));
    Ok(0)
}

/// Returns each image once, with the names that were asked for.
fn wanted(engine: &Engine, args: &SaveArgs) -> Result<Vec<Wanted>, Failure> {
    let mut images: Vec<Wanted> = Vec::new();
    let names = args.names.iter().map(|name| meant(engine, name)).collect::<Result<Vec<_>, _>>()?;
    for name in names.iter().flatten() {
        let mut found = image_for(engine, name, resolve(engine, name)?, args.platform.as_ref())?;
        if args.platform.is_some() {
            // Its index would be for all platforms.
            found.index = None;
        }
        let same = |image: &&mut Wanted| -> bool { key(&image.found) == key(&found) };
        match images.iter_mut().find(same) {
            Some(image) => {
                let known = |name: &Reference| image.names.contains(name);
                let new = found.name.filter(|name| !known(name));
                image.names.extend(new);
            }
            None => {
                images.push(Wanted {
                    names: found.name.clone().into_iter().collect(),
                    found,
                    packing: None,
                    annotations: Vec::new(),
                });
            }
        }
    }
    Ok(images)
}

/// Returns all names that one stands for. Compat: docker, a repository without a tag is all of its tags.
fn meant(engine: &Engine, name: &str) -> Result<Vec<String>, Failure> {
    let last = name.rsplit('/').next().unwrap_or_default();
    let repository = name.parse::<Reference>().ok().filter(|_| !last.contains([':', '@']));
    let tags = repository.map(|repository| local_names::tags_of(engine, &repository)).transpose()?;
    // Where there are none it may be an id.
    Ok(tags
        .filter(|tags| !tags.is_empty())
        .map_or_else(|| vec![name.to_owned()], |tags| tags.iter().map(Reference::to_string).collect()))
}

fn key(found: &Found) -> (Digest, Digest, Option<Digest>) {
    (found.image_id, found.manifest, found.index)
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        format!("could not write `{}`: {error}", path.display()),
        "name another file: `shipway save -o FILE IMAGE`",
    )
}
