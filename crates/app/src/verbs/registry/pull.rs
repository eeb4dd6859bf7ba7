//! `shipway pull`

use shipway_distribution::{Choice, list_tags};
use shipway_oci::Reference;

use super::without_tag;
use crate::cli::PullArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::pulls::{self, Silent, heading};
use crate::transfers::{Direction, Transfers};
use crate::ui::Ui;

/// Compat: docker's words, all on the standard output.
pub(crate) fn run(engine: &Engine, args: &PullArgs, ui: &mut Ui) -> Result<u8, Failure> {
    if args.all_tags {
        let repository = without_tag(&args.name)?;
        let tags = list_tags(&pulls::registries()?, &repository).map_err(Failure::from)?;
        if tags.is_empty() {
            return Err(Failure::new(
                format!("`{}` has no tags", repository.familiar_name()),
                "name a digest, if there is one: `shipway pull NAME@sha256:…`",
            ));
        }
        for tag in tags {
            one(engine, args, &repository.with_tag(&tag)?, ui)?;
        }
        return Ok(0);
    }
    let reference: Reference = args.name.parse()?;
    if reference.familiar_name() == "scratch" {
        return Err(Failure::new(
            "'scratch' is a reserved name: it stands for no files at all, and is in no registry",
            "a Dockerfile begins with it: `FROM scratch`",
        ));
    }
    let last = args.name.rsplit('/').next().unwrap_or_default();
    if !args.quiet && !last.contains([':', '@']) {
        ui.line("Using default tag: latest");
    }
    one(engine, args, &reference, ui)
}

fn one(engine: &Engine, args: &PullArgs, reference: &Reference, ui: &mut Ui) -> Result<u8, Failure> {
    let choice = args.platform.as_ref().map_or(Choice::Host, Choice::Only);
    if args.quiet {
        pulls::pull(engine, reference, choice, &Silent)?;
        ui.line(reference);
        return Ok(0);
    }
    let progress = Transfers::on_stdout(Direction::Pull, Some(heading(reference)));
    let before = engine.store.resolve(&reference.to_string()).ok().map(|found| found.image_id);
    let pulled = pulls::pull(engine, reference, choice, &progress)?;
    ui.line(format!("Digest: {}", pulled.digest));
    let name = reference.familiar();
    if before == Some(pulled.image_id) {
        ui.line(format!("Status: Image is up to date for {name}"));
    } else {
        ui.line(format!("Status: Downloaded newer image for {name}"));
    }
    ui.line(reference);
    Ok(0)
}
