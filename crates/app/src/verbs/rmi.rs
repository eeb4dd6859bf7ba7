//! `shipway rmi`

use shipway_kubelet::pod_of_image;
use shipway_oci::Reference;
use shipway_runtime::Status;
use shipway_store::{Found, ImageRecord, Removal};

use super::each;
use crate::cli::RmiArgs;
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

pub(crate) fn run(engine: &Engine, args: &RmiArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let code = each(&args.names, ui, |name, ui| one(engine, name, args.force, ui))?;
    engine.store.gc(clock::now())?;
    Ok(code)
}

fn one(engine: &Engine, name: &str, force: bool, ui: &mut Ui) -> Result<(), Failure> {
    let found = engine.store.resolve(name)?;
    let images: Vec<ImageRecord> =
        engine.store.images()?.into_iter().filter(|image| image.image_id == found.image_id).collect();
    let found = meant(name, found, &images)?;
    let names = images.len();
    let last = names <= 1 || found.name.is_none();
    if last && force {
        refuse_running(engine, &found)?;
    } else if last {
        engine.store.refuse_image_in_use(&found.image_id)?;
        if let Some(pod) = pod_of_image(&engine.containers, &found.image_id) {
            return Err(Failure::new(
                format!("image {} is used by pod {pod}", found.image_id.short()),
                "delete the pod or its Deployment first, or remove the image by force: `shipway rmi -f NAME`",
            ));
        }
    }
    if found.name.is_none() && names > 1 && !force {
        return Err(Failure::new(
            format!("image {} has {names} names", found.image_id.short()),
            "remove it by name, or with all its names: `shipway rmi -f ID`",
        ));
    }
    let removed = match &found.name {
        Some(name) if !(force && names <= 1) => engine.store.untag(name)?,
        _ => engine.store.remove_image(found.image_id)?,
    };
    for removal in removed {
        match removal {
            Removal::Untagged(name) => ui.line(format!("Untagged: {}", name.familiar())),
            Removal::Deleted(id) => ui.line(format!("Deleted: {id}")),
        }
    }
    Ok(())
}

/// Returns what is to go: of `NAME@DIGEST`, the name in that repository, and none of another one.
fn meant(text: &str, found: Found, images: &[ImageRecord]) -> Result<Found, Failure> {
    let Some(reference) = text.parse::<Reference>().ok().filter(|reference| reference.digest().is_some())
    else {
        return Ok(found);
    };
    let names: Vec<&Reference> = images.iter().filter_map(|image| image.name.as_ref()).collect();
    let own: Vec<&Reference> = names.iter().copied().filter(|name| name.name() == reference.name()).collect();
    let short = found.image_id.short();
    match own.as_slice() {
        [name] => Ok(Found { name: Some((*name).clone()), ..found }),
        [] if names.is_empty() => Ok(Found { name: None, ..found }),
        [] => Err(Failure::new(
            format!("image {short} has no name in `{}`", reference.familiar_name()),
            format!("`shipway images` lists its names; with all of them: `shipway rmi -f {short}`"),
        )),
        [first, ..] => Err(Failure::new(
            format!("image {short} has {} names in `{}`", own.len(), reference.familiar_name()),
            format!("say which: `shipway rmi {}`", first.familiar()),
        )),
    }
}

/// Nothing takes the image of a container that runs.
fn refuse_running(engine: &Engine, found: &Found) -> Result<(), Failure> {
    let runs = |id: &str| {
        let state = engine.containers.get(id).and_then(|container| container.state());
        state.is_ok_and(|state| state.status == Status::Running)
    };
    let rows = engine.store.containers()?.into_iter();
    match rows.filter(|row| row.image_id == found.image_id).find(|row| runs(&row.id)) {
        Some(row) => Err(Failure::new(
            format!("image {} is used by the running container {}", found.image_id.short(), row.name),
            format!("stop it first: `shipway stop {}`", row.name),
        )),
        None => Ok(()),
    }
}
