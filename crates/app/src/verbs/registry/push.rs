//! `shipway push`

use shipway_distribution::{Progress, Push, Pushed};
use shipway_oci::Reference;
use shipway_store::{Found, StoreError};

use super::one_tag;
use crate::cli::PushArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::pulls::{self, Silent, Trees};
use crate::transfers::{Direction, Transfers};
use crate::ui::Ui;

/// Compat: docker's words, all on the standard output.
pub(crate) fn run(engine: &Engine, args: &PushArgs, ui: &mut Ui) -> Result<u8, Failure> {
    one_tag("push", args.all_tags)?;
    let reference: Reference = args.name.parse()?;
    // What cannot be pushed is refused before anything is said.
    let (tag, _) = image(engine, &reference)?;
    let (shown, silent);
    let progress: &dyn Progress = if args.quiet {
        silent = Silent;
        &silent
    } else {
        let last = args.name.rsplit('/').next().unwrap_or_default();
        if !last.contains(':') {
            ui.line("Using default tag: latest");
        }
        ui.line(format!("The push refers to repository [{}]", reference.name()));
        shown = Transfers::on_stdout(Direction::Push, None);
        &shown
    };
    let pushed = push(engine, &reference, progress)?;
    if args.quiet {
        ui.line(&reference);
    } else {
        ui.line(format!("{tag}: digest: {} size: {}", pushed.digest, pushed.size));
    }
    Ok(0)
}

/// Pushes the image that has a name.
pub(crate) fn push(
    engine: &Engine,
    reference: &Reference,
    progress: &dyn Progress,
) -> Result<Pushed, Failure> {
    let registries = pulls::registries()?;
    // What is sent must not be collected on the way.
    let _lease = engine.store.lease()?;
    let (_, found) = image(engine, reference)?;
    let source = Trees { store: engine.store.clone(), layers: engine.layers.clone() };
    let deps = Push { registries: &registries, store: &engine.store, source: &source, progress };
    Ok(shipway_distribution::push(deps, reference, &found)?)
}

/// Returns the tag of a name, and the image that has it.
fn image<'a>(engine: &Engine, reference: &'a Reference) -> Result<(&'a str, Found), Failure> {
    let tag = reference.tag().filter(|_| reference.digest().is_none()).ok_or_else(|| {
        Failure::new(
            format!("cannot push `{}`: a digest cannot be chosen", reference.familiar()),
            format!("name a tag: `shipway tag {} {}:TAG`", reference.familiar(), reference.familiar_name()),
        )
    })?;
    let found = engine.store.resolve(&reference.to_string()).map_err(|error| not_here(reference, error))?;
    Ok((tag, found))
}

fn not_here(reference: &Reference, error: StoreError) -> Failure {
    match error {
        StoreError::NoImage(_) => Failure::new(
            format!("no image here has the name `{}`", reference.familiar()),
            format!("name one so: `shipway tag IMAGE {}`", reference.familiar()),
        ),
        other => other.into(),
    }
}
