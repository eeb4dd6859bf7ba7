//! `shipway pull`

use shipway_oci::Reference;

use super::one_tag;
use crate::cli::PullArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::pulls::{self, Silent, heading};
use crate::transfers::{Direction, Transfers};
use crate::ui::Ui;

/// Compat: docker's words, all on the standard output.
pub(crate) fn run(engine: &Engine, args: &PullArgs, ui: &mut Ui) -> Result<u8, Failure> {
    one_tag("pull", args.all_tags)?;
    let reference: Reference = args.name.parse()?;
    if args.quiet {
        pulls::pull(engine, &reference, args.platform.as_ref(), &Silent)?;
        ui.line(&reference);
        return Ok(0);
    }
    let last = args.name.rsplit('/').next().unwrap_or_default();
    if !last.contains([':', '@']) {
        ui.line("Using default tag: latest");
    }
    let progress = Transfers::on_stdout(Direction::Pull, Some(heading(&reference)));
    let before = engine.store.resolve(&reference.to_string()).ok().map(|found| found.image_id);
    let pulled = pulls::pull(engine, &reference, args.platform.as_ref(), &progress)?;
    ui.line(format!("Digest: {}", pulled.digest));
    let name = reference.familiar();
    if before == Some(pulled.image_id) {
        ui.line(format!("Status: Image is up to date for {name}"));
    } else {
        ui.line(format!("Status: Downloaded newer image for {name}"));
    }
    ui.line(&reference);
    Ok(0)
}
