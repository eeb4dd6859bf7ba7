//! `shipway images`

mod filter;
mod pattern;
mod row;
mod tree;

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use shipway_oci::{Digest, Reference};
use shipway_store::{ImageRecord, StoreError};

use crate::cli::ImagesArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::listing::Listing;
use crate::ui::Ui;
use crate::{docker_config, filters, local_names, spelling};
use filter::Filters;
use row::Row;

pub(in crate::verbs) use row::created;

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
    ("VirtualSize", "SIZE"),
];
const COLUMNS: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const WITH_DIGESTS: &str = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";

/// Compat: docker's oldest form, without and with digests.
const RAW: &str = "repository: {{.Repository}}\ntag: {{.Tag}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n";
const RAW_DIGESTS: &str = "repository: {{.Repository}}\ntag: {{.Tag}}\ndigest: {{.Digest}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n";

/// Letters in a line where there is no terminal. Compat: docker.
const TREE_WIDTH: usize = 80;

/// What to do about an image that cannot be listed.
const LEFT_OUT: &str = "`shipway system fsck` says what is damaged; `shipway rmi -f` removes it";

pub(crate) fn run(engine: &Engine, args: &ImagesArgs, ui: &mut Ui) -> Result<u8, Failure> {
    if args.tree {
        return tree(engine, args, ui);
    }
    let format = format(args);
    let columns = if args.digests { WITH_DIGESTS } else { COLUMNS };
    let listing = Listing::new(format.as_deref(), args.quiet.then_some("{{.ID}}"), columns, HEADS)?;
    let rows = rows(engine, args, ui)?;
    // Compat: docker, a name has a row for each digest, if anybody asks for digests.
    let with_digests = args.digests || format.is_some_and(|format| format.contains("{{.Digest}}"));
    let values: Vec<Value> = rows.iter().flat_map(|row| row.values(args.no_trunc, with_digests)).collect();
    listing.lines(&values)?.iter().for_each(|line| ui.line(line));
    if let (true, Some(name)) = (values.is_empty(), &args.name)
        && spelling::is_of_group("image", name)
    {
        ui.note(format!("no image is called `{name}`\nhint: did you mean `shipway image {name}`?"));
    }
    Ok(0)
}

/// Prints images with those for each platform below them.
fn tree(engine: &Engine, args: &ImagesArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let refused = [
        (args.quiet, "--quiet"),
        (args.no_trunc, "--no-trunc"),
        (args.digests, "--digests"),
        (args.format.is_some(), "--format"),
    ];
    if let Some((_, flag)) = refused.iter().find(|(is_given, _)| *is_given) {
        return Err(Failure::new(
            format!("{flag} and --tree do not go together"),
            "leave one of them out: `shipway images --format json` has a line for each name",
        ));
    }
    let mut rows = rows(engine, args, ui)?;
    // Compat: docker, images without a name only where somebody asks for them.
    let wants_unnamed = args.all
        || args.filter.iter().filter_map(|filter| filters::parts(filter)).any(|(key, _)| key == "dangling");
    rows.retain(|row| wants_unnamed || row.image.name.is_some());
    let look = tree::Look { width: ui.width().unwrap_or(TREE_WIDTH), colours: ui.paints() };
    tree::lines(engine, &rows, look, ui)?.iter().for_each(|line| ui.drawn_line(line));
    Ok(0)
}

/// Returns what to say of an image whose documents are damaged.
fn left_out(image: &ImageRecord, error: &StoreError) -> String {
    let called = image.name.as_ref().map_or_else(|| image.image_id.short(), Reference::familiar);
    format!("warning: image {called} is left out: {error}\nhint: {LEFT_OUT}")
}

/// Finds the images that are wanted, the newest first.
fn rows(engine: &Engine, args: &ImagesArgs, ui: &mut Ui) -> Result<Vec<Row>, Failure> {
    let mut containers: HashMap<Digest, usize> = HashMap::new();
    for container in engine.store.containers()? {
        *containers.entry(container.image_id).or_default() += 1;
    }
    let mut rows = Vec::new();
    for image in engine.store.images()? {
        let of_it = containers.get(&image.image_id).copied().unwrap_or_default();
        match Row::find(engine, image.clone(), of_it) {
            Ok(row) => rows.push(row),
            Err(error) if error.is_of_document() => ui.note(left_out(&image, &error)),
            Err(error) => return Err(error.into()),
        }
    }
    let filters = Filters::parse(&args.filter, args.name.as_deref(), |name| created_of(engine, name))?;
    rows.retain(|row| filters.accept(row));
    hide_digests(&mut rows);
    // Compat: docker.
    rows.sort_by_key(|row| std::cmp::Reverse(row.created));
    Ok(rows)
}

/// Leaves out the names by digest of an image that has a tag in that repository, and all but one of an image that has none. Compat: docker,
/// digests have a column, and no row of their own.
fn hide_digests(rows: &mut Vec<Row>) {
    let place = |row: &Row| {
        let name = row.image.name.as_ref()?;
        Some((row.image.image_id, name.name(), name.digest().is_some()))
    };
    let mut shown: HashSet<(Digest, String)> = HashSet::new();
    let tagged = rows.iter().filter_map(place).filter(|(.., is_digest)| !is_digest);
    shown.extend(tagged.map(|(id, repository, _)| (id, repository)));
    rows.retain(|row| match place(row) {
        Some((id, repository, true)) => shown.insert((id, repository)),
        _ => true,
    });
}

/// Returns how the list is wanted, as it was typed or as docker's configuration says.
fn format(args: &ImagesArgs) -> Option<String> {
    let typed = args.format.clone().filter(|format| !format.is_empty());
    let format = typed.or_else(|| docker_config::format("imagesFormat").filter(|_| !args.quiet))?;
    Some(match format.as_str() {
        "raw" if args.quiet => "image_id: {{.ID}}".to_owned(),
        "raw" if args.digests => RAW_DIGESTS.to_owned(),
        "raw" => RAW.to_owned(),
        columns if args.digests && columns.starts_with("table ") && !columns.contains("{{.Digest}}") => {
            format!("{columns}\t{{{{.Digest}}}}")
        }
        _ => format,
    })
}

fn created_of(engine: &Engine, name: &str) -> Result<i128, Failure> {
    let found = local_names::resolve(engine, name)?;
    let config = engine.store.config(&found.image_id)?;
    Ok(created(&config, 0))
}
