//! `shipway ps`

mod filter;
mod row;

use serde_json::Value;

use crate::cli::PsArgs;
use crate::docker_config;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::listing::Listing;
use crate::sweep::sweep;
use crate::ui::Ui;
use filter::Filters;
use row::Row;

/// Heads of a table's columns, by the field that a template shows.
const HEADS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
    ("State", "STATE"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Mounts", "MOUNTS"),
    ("Networks", "NETWORKS"),
];
const COLUMNS: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

pub(crate) fn run(engine: &Engine, args: &PsArgs, ui: &mut Ui) -> Result<u8, Failure> {
    // Compat: docker, of both `-q` wins.
    let typed = args.format.clone().filter(|format| !format.is_empty());
    let format = typed.or_else(|| docker_config::format("psFormat")).filter(|_| !args.quiet);
    let columns = format!("{COLUMNS}{}", if args.size { "\t{{.Size}}" } else { "" });
    let short = args.quiet.then_some("{{.ID}}");
    let listing = Listing::new(format.as_deref(), short, &columns, HEADS)?;
    let with_sizes = args.size || format.is_some_and(|format| format.contains(".Size"));
    sweep(engine);
    let filters = Filters::parse(engine, &args.filter)?;
    let last = if args.latest { Some(1) } else { args.last };
    let mut rows = Vec::new();
    for found in engine.store.containers()? {
        let row = Row::find(engine, found);
        let is_listed = row.runs() || args.all || last.is_some() || filters.is_about_state();
        if is_listed && filters.accept(&row) {
            rows.push(row);
        }
    }
    rows.truncate(last.unwrap_or(usize::MAX));
    let values: Vec<Value> = rows.iter().map(|row| row.value(engine, args.no_trunc, with_sizes)).collect();
    listing.lines(&values)?.iter().for_each(|line| ui.line(line));
    Ok(0)
}
