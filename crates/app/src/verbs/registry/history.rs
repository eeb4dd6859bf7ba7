//! `shipway history`

use serde_json::{Value, json};
use shipway_oci::{HistoryEntry, ImageConfig};

use crate::cli::HistoryArgs;
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::listing::Listing;
use crate::local_names::resolve;
use crate::ui::Ui;
use crate::variants::image_for;

/// Heads of a table's columns, by the field that a template shows.
const HEADS: &[(&str, &str)] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];
const COLUMNS: &str = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const EXACT_COLUMNS: &str = "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
/// Where CREATED BY is cut. Compat: docker.
const CUT: usize = 45;
/// What stands for the images that the steps below the top one would have been.
const MISSING: &str = "<missing>";

/// One step, as it is shown.
struct Row {
    id: String,
    entry: HistoryEntry,
    size: u64,
}

pub(crate) fn run(engine: &Engine, args: &HistoryArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let columns = if args.human { COLUMNS } else { EXACT_COLUMNS };
    let listing = Listing::new(args.format.as_deref(), args.quiet.then_some("{{.ID}}"), columns, HEADS)?;
    let found = resolve(engine, &args.name)?;
    let found = image_for(engine, &args.name, found, args.platform.as_ref())?;
    let config = engine.store.config(&found.image_id)?;
    let id = if args.no_trunc { found.image_id.to_string() } else { found.image_id.short() };
    let rows = rows(&config, &id, |layer| {
        let row = engine.store.layer_of(config.rootfs.diff_ids[layer])?;
        Ok::<_, Failure>(row.map_or(0, |row| row.size))
    })?;
    let values: Vec<Value> = rows.iter().map(|row| value(row, args)).collect();
    listing.lines(&values)?.iter().for_each(|line| ui.line(line));
    Ok(0)
}

/// Returns the steps, newest first. Layers that no step accounts for become a step each, so that nothing is hidden.
fn rows<E>(
    config: &ImageConfig,
    id: &str,
    mut size_of: impl FnMut(usize) -> Result<u64, E>,
) -> Result<Vec<Row>, E> {
    let layers = config.rootfs.diff_ids.len();
    let mut next = 0;
    let mut rows = Vec::new();
    for entry in &config.history {
        let mut size = 0;
        if !entry.empty_layer && next < layers {
            size = size_of(next)?;
            next += 1;
        }
        rows.push(Row { id: MISSING.to_owned(), entry: entry.clone(), size });
    }
    for layer in next..layers {
        rows.push(Row { id: MISSING.to_owned(), entry: HistoryEntry::default(), size: size_of(layer)? });
    }
    rows.reverse();
    if let Some(top) = rows.first_mut() {
        id.clone_into(&mut top.id);
    }
    Ok(rows)
}

/// Compat: the fields of `docker history --format json`.
fn value(row: &Row, args: &HistoryArgs) -> Value {
    let made = row.entry.created.as_deref().and_then(clock::parse);
    let at = clock::date(i128::from(made.unwrap_or(0)) * 1_000_000_000);
    let since = match made {
        _ if !args.human => at.clone(),
        Some(made) => clock::since(made),
        None => "N/A".to_owned(),
    };
    let by = row.entry.created_by.as_deref().unwrap_or_default().replace('\t', " ");
    json!({
        "Comment": row.entry.comment.as_deref().unwrap_or_default(),
        "CreatedAt": at,
        "CreatedBy": if args.no_trunc { by } else { cut(&by) },
        "CreatedSince": since,
        "ID": row.id,
        "Size": if args.human { clock::size(row.size) } else { row.size.to_string() },
    })
}

fn cut(text: &str) -> String {
    if text.chars().count() <= CUT {
        return text.to_owned();
    }
    text.chars().take(CUT - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use shipway_oci::{DiffId, Digest, RootFs};

    use super::*;

    #[test]
    fn every_step_is_a_row_and_only_those_with_a_layer_have_a_size() {
        let entry = |by: &str, empty_layer| HistoryEntry {
            created_by: Some(by.to_owned()),
            empty_layer,
            ..HistoryEntry::default()
        };
        let config = ImageConfig {
            rootfs: RootFs::of_layers([b"1", b"2", b"3"].map(|text| DiffId(Digest::of(text))).to_vec()),
            history: vec![entry("ADD", false), entry("ENV", true), entry("RUN", false)],
            ..ImageConfig::default()
        };
        let rows = rows(&config, "top", |layer| Ok::<_, ()>(10 + layer as u64)).unwrap();
        let shown: Vec<(&str, Option<&str>, u64)> =
            rows.iter().map(|row| (row.id.as_str(), row.entry.created_by.as_deref(), row.size)).collect();
        assert_eq!(
            shown,
            [
                ("top", None, 12),
                (MISSING, Some("RUN"), 11),
                (MISSING, Some("ENV"), 0),
                (MISSING, Some("ADD"), 10)
            ]
        );
    }

    #[test]
    fn long_instructions_are_cut_at_characters() {
        assert_eq!(cut(&"ä".repeat(45)), "ä".repeat(45));
        assert_eq!(cut(&"ä".repeat(46)), format!("{}…", "ä".repeat(44)));
    }
}
