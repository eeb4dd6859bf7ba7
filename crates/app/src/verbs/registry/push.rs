//! `shipway push`

use shipway_distribution::{Departure, Progress, Push, Pushed};
use shipway_oci::{Platform, Reference};
use shipway_store::{Found, StoreError};

use super::without_tag;
use crate::cli::PushArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::local_names;
use crate::pulls::{self, Silent, Trees};
use crate::transfers::{Direction, Transfers};
use crate::ui::Ui;
use crate::variants::image_for;

/// Compat: docker's words, all on the standard output.
pub(crate) fn run(engine: &Engine, args: &PushArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let references = if args.all_tags { all(engine, &args.name)? } else { vec![args.name.parse()?] };
    let platform = args.platform.as_ref();
    // What cannot be pushed is refused before anything is said.
    references.iter().try_for_each(|reference| image(engine, reference, platform).map(drop))?;
    if !args.quiet {
        let last = args.name.rsplit('/').next().unwrap_or_default();
        if !args.all_tags && !last.contains(':') {
            ui.line("Using default tag: latest");
        }
        let name = references.first().map(Reference::name).unwrap_or_default();
        ui.line(format!("The push refers to repository [{name}]"));
    }
    for reference in &references {
        let shown = (!args.quiet).then(|| Transfers::on_stdout(Direction::Push, None));
        let progress: &dyn Progress = shown.as_ref().map_or(&Silent, |shown| shown);
        let pushed = push(engine, (reference, platform), progress)?;
        if args.quiet {
            ui.line(reference);
        } else {
            let tag = reference.tag().unwrap_or_default();
            ui.line(format!("{tag}: digest: {} size: {}", pushed.digest, pushed.size));
        }
    }
    Ok(0)
}

/// Returns all names of images here that are of one repository.
fn all(engine: &Engine, name: &str) -> Result<Vec<Reference>, Failure> {
    let repository = without_tag(name)?;
    let found = local_names::tags_of(engine, &repository)?;
    if found.is_empty() {
        return Err(not_here(engine, &repository, StoreError::NoImage(repository.familiar())));
    }
    Ok(found)
}

/// Pushes the image that has a name, or of those that it stands for the one for a platform.
fn push(
    engine: &Engine,
    (reference, platform): (&Reference, Option<&Platform>),
    progress: &dyn Progress,
) -> Result<Pushed, Failure> {
    // What is sent must not be collected on the way.
    let _lease = engine.store.lease()?;
    let found = image(engine, reference, platform)?;
    send(engine, (reference, &found), Departure::default(), progress)
}

/// Pushes an image under a name; the caller holds a lease, or the image has a name here.
pub(crate) fn send(
    engine: &Engine,
    (reference, image): (&Reference, &Found),
    how: Departure,
    progress: &dyn Progress,
) -> Result<Pushed, Failure> {
    let registries = pulls::registries()?;
    let source = Trees::of(engine);
    let deps = Push { registries: &registries, store: &engine.store, how, source: &source, progress };
    Ok(shipway_distribution::push(deps, reference, image)?)
}

/// Returns the image that has a name with a tag. The index of one for a platform would be for all.
fn image(engine: &Engine, reference: &Reference, platform: Option<&Platform>) -> Result<Found, Failure> {
    if reference.tag().is_none() || reference.digest().is_some() {
        return Err(Failure::new(
            format!("cannot push `{}`: a digest cannot be chosen", reference.familiar()),
            format!("name a tag: `shipway tag {} {}:TAG`", reference.familiar(), reference.familiar_name()),
        ));
    }
    let name = reference.to_string();
    let found = engine.store.resolve(&name).map_err(|error| not_here(engine, reference, error))?;
    let found = image_for(engine, &reference.familiar(), found, platform)?;
    Ok(if platform.is_some() { Found { index: None, ..found } } else { found })
}

fn not_here(engine: &Engine, reference: &Reference, error: StoreError) -> Failure {
    let how = || format!("name one so: `shipway tag IMAGE {}`", reference.familiar());
    match error {
        StoreError::NoImage(_) => Failure::new(
            format!("no image here has the name `{}`", reference.familiar()),
            match local_names::near(engine, &reference.to_string()) {
                Some(near) => format!("{near} Else {}", how()),
                None => how(),
            },
        ),
        other => other.into(),
    }
}
