//! `shipway history`

use shipway_oci::{HistoryEntry, ImageConfig};

use crate::cli::{HistoryArgs, ListFormat};
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::table;
use crate::ui::Ui;

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
    let found = engine.store.resolve(&args.name)?;
    let config = engine.store.config(&found.image_id)?;
    let id = if args.no_trunc { found.image_id.to_string() } else { found.image_id.short() };
    let rows = rows(&config, &id, |layer| {
        let row = engine.store.layer_of(config.rootfs.diff_ids[layer])?;
        Ok::<_, Failure>(row.map_or(0, |row| row.size))
    })?;
    if args.quiet {
        rows.iter().for_each(|row| ui.line(&row.id));
        return Ok(0);
    }
    match args.format {
        ListFormat::Json => rows.iter().for_each(|row| ui.line(json(row, args.no_trunc))),
        ListFormat::Table => {
            let head = ["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"].map(str::to_owned).to_vec();
            let cells = rows.iter().map(|row| cells(row, args.no_trunc).to_vec());
            table::render(&[head].into_iter().chain(cells).collect::<Vec<_>>())
                .iter()
                .for_each(|line| ui.line(line));
        }
    }
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

fn cells(row: &Row, no_trunc: bool) -> [String; 5] {
    let made = row.entry.created.as_deref().and_then(clock::parse);
    let created = made.map_or("N/A".to_owned(), |made| format!("{} ago", clock::ago(clock::now() - made)));
    let by = row.entry.created_by.as_deref().unwrap_or_default().replace('\t', " ");
    let by = if no_trunc { by } else { cut(&by) };
    [row.id.clone(), created, by, clock::size(row.size), row.entry.comment.clone().unwrap_or_default()]
}

fn cut(text: &str) -> String {
    if text.chars().count() <= CUT {
        return text.to_owned();
    }
    text.chars().take(CUT - 1).chain(['…']).collect()
}

/// Compat: the fields of `docker history --format json`.
fn json(row: &Row, no_trunc: bool) -> serde_json::Value {
    let [id, since, by, size, comment] = cells(row, no_trunc);
    serde_json::json!({
        "Comment": comment,
        "CreatedAt": row.entry.created,
        "CreatedBy": by,
        "CreatedSince": since,
        "ID": id,
        "Size": size,
    })
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
