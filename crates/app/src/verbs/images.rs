//! `shipway images`

mod filter;
mod row;

use serde_json::Value;

use crate::cli::ImagesArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::listing::Listing;
use crate::ui::Ui;
use filter::Filters;
use row::Row;

/// Heads of a table's columns, by the field that a template shows.
const HEADS: &[(&str, &str)] = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];
const COLUMNS: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const WITH_DIGESTS: &str = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";

pub(crate) fn run(engine: &Engine, args: &ImagesArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let columns = if args.digests { WITH_DIGESTS } else { COLUMNS };
    let listing = Listing::new(args.format.as_deref(), args.quiet.then_some("{{.ID}}"), columns, HEADS)?;
    let mut rows = Vec::new();
    for image in engine.store.images()? {
        rows.push(Row::find(engine, image)?);
    }
    let filters = Filters::parse(&args.filter, args.name.as_deref(), |name| created(engine, name))?;
    rows.retain(|row| filters.accept(row));
    // Compat: docker, the newest first.
    rows.sort_by_key(|row| std::cmp::Reverse(row.created));
    let values: Vec<Value> = rows.iter().map(|row| row.value(args.no_trunc)).collect();
    for line in listing.lines(&values)? {
        ui.line(line);
    }
    Ok(0)
}

fn created(engine: &Engine, name: &str) -> Result<i64, Failure> {
    let found = engine.store.resolve(name)?;
    let config = engine.store.config(&found.image_id)?;
    Ok(config.created.as_deref().and_then(crate::clock::parse).unwrap_or(0))
}
