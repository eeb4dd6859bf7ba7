//! `shipway rmi`

use shipway_kubelet::pod_of_image;
use shipway_store::Removal;

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
    let names = engine.store.images()?.into_iter().filter(|image| image.image_id == found.image_id).count();
    let last = names <= 1 || found.name.is_none();
    if last && !force {
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
