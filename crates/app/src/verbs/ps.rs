//! `shipway ps`. Compat: docker, its columns, fields and filters.

mod filter;
mod row;

use serde_json::Value;

use crate::cli::PsArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::listing::Listing;
use crate::sweep::sweep;
use crate::ui::Ui;
use filter::Filters;
use row::Row;

const COLUMNS: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
const HEADS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("RunningFor", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("LocalVolumes", "LOCAL VOLUMES"),
];

pub(crate) fn run(engine: &Engine, args: &PsArgs, ui: &mut Ui) -> Result<u8, Failure> {
    sweep(engine);
    let short = args.quiet.then_some("{{.ID}}");
    let with_size = format!("{COLUMNS}\t{{{{.Size}}}}");
    let columns = if args.size { with_size.as_str() } else { COLUMNS };
    let listing = Listing::new(args.format.as_deref(), short, columns, HEADS)?;
    // The newest is the first.
    let rows: Vec<Row> = engine
        .store
        .containers()?
        .into_iter()
        .enumerate()
        .map(|(place, row)| Row::find(engine, place, row))
        .collect();
    let filters = Filters::parse(&args.filter, &rows)?;
    let most = if args.latest { Some(1) } else { usize::try_from(args.last).ok() };
    // Compat: docker, who asks for a state, or for so many, means those that have stopped too.
    let all = args.all || most.is_some() || filters.ask_for_state();
    let shown = rows.iter().filter(|row| (all || row.is_running()) && filters.accept(row));
    let values: Vec<Value> = shown
        .take(most.unwrap_or(usize::MAX))
        .map(|row| row.value(engine, args.no_trunc, args.size || args.format.is_some()))
        .collect();
    for line in listing.lines(&values)? {
        ui.line(line);
    }
    Ok(0)
}
