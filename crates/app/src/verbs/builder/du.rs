//! `shipway builder du`. Compat: buildx, its columns, fields and sums.

use serde_json::Value;

use super::filter::Filters;
use super::record::{self, Record};
use crate::cli::BuilderDuArgs;
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::listing::Listing;
use crate::table;
use crate::ui::Ui;

const COLUMNS: &str = "{{.ID}}\t{{.Reclaimable}}\t{{.Size}}\t{{.LastUsedAt}}";
const HEADS: &[(&str, &str)] = &[
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("LastUsedAt", "LAST ACCESSED"),
    ("UsageCount", "USAGE COUNT"),
];
const PRETTY: &str = "ID:\t{{.ID}}\\n{{if .CreatedAt}}Created at:\t{{.CreatedAt}}\\n{{end}}Mutable:\t{{.Mutable}}\\n\
                      Reclaimable:\t{{.Reclaimable}}\\nShared:\t{{.Shared}}\\nSize:\t{{.Size}}\\n\
                      {{if .Description}}Description:\t{{.Description}}\\n{{end}}Last used:\t{{.LastUsedAt}}\\nType:\t{{.Type}}";

pub(super) fn run(engine: &Engine, args: &BuilderDuArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let filters = Filters::parse(&args.filter)?;
    let now = clock::now();
    let mut records = record::list(engine)?;
    records.retain(|record| filters.accept(record, now));
    let format = if args.verbose { Some("pretty") } else { args.format.as_deref() };
    match format {
        None | Some("table") => show(&records, false, ui)?,
        Some("pretty") => show(&records, true, ui)?,
        Some(format) => {
            let in_table = format.starts_with("table ");
            let listing = Listing::new(Some(format), None, COLUMNS, HEADS)?;
            let values: Vec<Value> = records.iter().map(|record| record.value(now, in_table)).collect();
            listing.lines(&values)?.into_iter().for_each(|line| ui.line(line));
            return Ok(0);
        }
    }
    // Compat: buildx, what was left out is in no sum.
    if filters.is_empty() {
        sums(&records).into_iter().for_each(|line| ui.line(line));
    }
    Ok(0)
}

/// Writes records as a table, or each as a block of lines.
pub(super) fn show(records: &[Record], is_verbose: bool, ui: &mut Ui) -> Result<(), Failure> {
    let now = clock::now();
    let values: Vec<Value> = records.iter().map(|record| record.value(now, !is_verbose)).collect();
    if !is_verbose {
        let lines = Listing::new(None, None, COLUMNS, HEADS)?.lines(&values)?;
        lines.into_iter().for_each(|line| ui.line(line));
        return Ok(());
    }
    for block in Listing::new(Some(PRETTY), None, COLUMNS, HEADS)?.lines(&values)? {
        let rows: Vec<Vec<String>> =
            block.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect();
        table::render(&rows).into_iter().for_each(|line| ui.line(line));
        ui.line("");
    }
    Ok(())
}

fn sums(records: &[Record]) -> Vec<String> {
    let sum = |of: &dyn Fn(&Record) -> bool| -> u64 {
        records.iter().filter(|record| of(record)).map(|record| record.bytes).sum()
    };
    let (total, shared) = (sum(&|_| true), sum(&|record| record.is_shared));
    let mut rows = Vec::new();
    if shared > 0 {
        rows.extend([("Shared:", shared), ("Private:", total - shared)]);
    }
    rows.extend([("Reclaimable:", sum(&|record| !record.is_used)), ("Total:", total)]);
    let cells = |(name, bytes): &(&str, u64)| vec![(*name).to_owned(), clock::precise_size(*bytes)];
    table::render(&rows.iter().map(cells).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::{layer, mount};
    use super::*;

    #[test]
    fn sums_tell_what_images_have_from_what_is_only_here() {
        let shared = Record { is_shared: true, ..layer("a", 115_500_000, 1) };
        let held = Record { is_used: true, ..mount("b", 500, 1) };
        assert_eq!(sums(&[layer("c", 1000, 1)]), ["Reclaimable:   1kB", "Total:         1kB"]);
        let want = [
            "Shared:        115.5MB",
            "Private:       1.5kB",
            "Reclaimable:   115.5MB",
            "Total:         115.5MB",
        ];
        assert_eq!(sums(&[shared, held, layer("c", 1000, 1)]), want);
    }
}
