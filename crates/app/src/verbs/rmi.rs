//! `shipway rmi`

mod platforms;

use std::collections::HashSet;

use shipway_kubelet::{pod_of_image, running_pod_of_image};
use shipway_oci::{ChainId, DiffId, Digest, Reference, chain_id};
use shipway_runtime::Status;
use shipway_store::{Found, ImageRecord, Removal, RepositoryDigest, StoreError};

use super::each;
use crate::cli::RmiArgs;
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::local_names;
use crate::ui::Ui;

pub(crate) fn run(engine: &Engine, args: &RmiArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let mut told = Vec::new();
    let wanted = platforms::parse(&args.platforms)?;
    let code = each(&args.names, ui, |name, ui| {
        if wanted.is_empty() {
            told.extend(one(engine, name, args.force, ui)?);
            return Ok(());
        }
        platforms::run(engine, name, (&wanted, args.force), &mut told, ui)
    })?;
    // One collection for all of them; only then it is known which layers are gone.
    engine.store.gc(engine.store.steady(clock::now()))?;
    let mut chains = HashSet::new();
    for line in told {
        match line {
            Told::Line(line) => ui.line(line),
            Told::Layers(layers) => {
                for chain in gone(engine, &layers)?.into_iter().filter(|chain| chains.insert(*chain)) {
                    ui.line(format!("Deleted: {chain}"));
                }
            }
        }
    }
    Ok(code)
}

/// What is told of a removal.
enum Told {
    Line(String),
    /// The layers of an image that is gone, as far as they are too.
    Layers(Vec<DiffId>),
}

fn one(engine: &Engine, name: &str, force: bool, ui: &mut Ui) -> Result<Vec<Told>, Failure> {
    let Some(found) = find(engine, name, force, ui)? else { return Ok(Vec::new()) };
    let images = engine.store.images_of(&found.image_id)?;
    let found = meant(name, found, &images)?;
    let names: Vec<&Reference> = images.iter().filter_map(|image| image.name.as_ref()).collect();
    let going = match &found.name {
        Some(name) => with_digests(name, &names),
        None if is_one(&names) => names.iter().copied().cloned().collect(),
        None => Vec::new(),
    };
    if found.name.is_none() || going.len() >= names.len() {
        refuse_used(engine, &found, force)?;
    }
    if going.is_empty() && !names.is_empty() && !force {
        return Err(Failure::new(
            format!("image {} has {} names", found.image_id.short(), names.len()),
            "remove it by name, or with all its names: `shipway rmi -f ID`",
        ));
    }
    let known = engine.store.digests(&found.image_id)?;
    let layers = engine.store.config(&found.image_id).map(|config| config.rootfs.diff_ids);
    // Only who insists on an id wants names gone that somebody may be giving the image at this moment.
    let removed = match &found.name {
        None if force => engine.store.remove_image(found.image_id)?,
        None if going.is_empty() => engine.store.remove_unnamed(found.image_id)?,
        _ => untag(engine, &going)?,
    };
    let mut told = Vec::new();
    let mut left: Vec<Reference> = images.into_iter().filter_map(|image| image.name).collect();
    for removal in removed {
        match removal {
            Removal::Untagged(name) => {
                left.retain(|other| *other != name);
                told.push(Told::Line(format!("Untagged: {}", name.familiar())));
                let digests = lost_digests(&name, &left, &known);
                told.extend(
                    digests.map(|digest| Told::Line(format!("Untagged: {}@{digest}", name.familiar_name()))),
                );
            }
            Removal::Deleted(id) => {
                told.push(Told::Line(format!("Deleted: {id}")));
                // Of an image whose config cannot be read nothing more is known.
                told.extend(layers.as_ref().ok().cloned().map(Told::Layers));
            }
        }
    }
    Ok(told)
}

/// Returns what goes with a name: where that is the last tag in its repository, names by digest there too. Compat: docker.
fn with_digests(name: &Reference, names: &[&Reference]) -> Vec<Reference> {
    let of_it = |other: &&&Reference| other.name() == name.name() && **other != name;
    let is_last = name.digest().is_none() && names.iter().filter(of_it).all(|other| other.digest().is_some());
    let digests = names.iter().filter(of_it).filter(|_| is_last);
    [name].into_iter().chain(digests.copied()).cloned().collect()
}

/// Returns whether all names are in one repository, and one of them at most is a tag. Compat: docker, an id takes those along.
fn is_one(names: &[&Reference]) -> bool {
    names.iter().all(|name| name.name() == names[0].name())
        && names.iter().filter(|name| name.digest().is_none()).count() <= 1
}

/// Takes names away, the first of which must be there.
fn untag(engine: &Engine, names: &[Reference]) -> Result<Vec<Removal>, StoreError> {
    let mut removed = Vec::new();
    for name in names {
        match engine.store.untag(name) {
            Err(StoreError::NoImage(_)) if !removed.is_empty() => {}
            done => removed.extend(done?),
        }
    }
    Ok(removed)
}

/// Returns the image of a name. Compat: docker, who insists that something is not there is content.
fn find(engine: &Engine, name: &str, force: bool, ui: &mut Ui) -> Result<Option<Found>, Failure> {
    match engine.store.resolve(name) {
        Err(error @ StoreError::NoImage(_)) if force => {
            ui.note(Failure::from(error).message());
            Ok(None)
        }
        found => found.map(Some).map_err(|error| local_names::explain(engine, name, error)),
    }
}

/// Nothing takes the image of a container, and nothing at all that of one that runs.
fn refuse_used(engine: &Engine, found: &Found, force: bool) -> Result<(), Failure> {
    if force {
        return refuse_running(engine, found);
    }
    engine.store.refuse_image_in_use(&found.image_id)?;
    match pod_of_image(&engine.containers, &found.image_id) {
        Some(pod) => Err(of_pod(found, &pod)),
        None => Ok(()),
    }
}

/// Returns what a repository calls the image, if that was the last name there. Compat: docker.
fn lost_digests<'a>(
    name: &Reference,
    left: &[Reference],
    known: &'a [RepositoryDigest],
) -> impl Iterator<Item = &'a Digest> {
    let (repository, own) = (name.name(), name.digest());
    let is_last = !left.iter().any(|other| other.name() == repository);
    known
        .iter()
        .filter(move |known| is_last && known.repository == repository && Some(known.digest) != own)
        .map(|known| &known.digest)
}

/// Returns the chain IDs of those of an image's layers that are gone, the top one first. Compat: docker tells of them by these.
fn gone(engine: &Engine, layers: &[DiffId]) -> Result<Vec<ChainId>, Failure> {
    let mut found = Vec::new();
    for end in (1..=layers.len()).rev() {
        if engine.store.layer_of(layers[end - 1])?.is_none() {
            found.extend(chain_id(&layers[..end]));
        }
    }
    Ok(found)
}

fn of_pod(found: &Found, pod: &str) -> Failure {
    let name = pod.rsplit('/').next().unwrap_or_default();
    let namespace = pod.split('/').next().unwrap_or_default();
    Failure::new(
        format!("image {} is used by pod {pod}", found.image_id.short()),
        format!(
            "`shipway down` removes what `up` made; else delete the pod or its Deployment: `kubectl delete pod {name} -n {namespace}`"
        ),
    )
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
    if own.contains(&&reference) {
        return Ok(Found { name: Some(reference), ..found });
    }
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

/// Nothing takes the image of a container that runs, in a pod or outside.
fn refuse_running(engine: &Engine, found: &Found) -> Result<(), Failure> {
    if let Some(pod) = running_pod_of_image(&engine.containers, &found.image_id) {
        return Err(of_pod(found, &pod));
    }
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
