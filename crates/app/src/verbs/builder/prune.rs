//! `shipway builder prune`. Compat: buildx.

use shipway_build::Caches;
use shipway_store::LayerId;

use super::du;
use super::filter::Filters;
use super::plan::{Wish, plan};
use super::record::{self, Record, What};
use crate::cli::BuilderPruneArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::sweep::sweep_builds;
use crate::ui::Ui;
use crate::verbs::confirm;
use crate::{budget, clock, table, units};

pub(super) fn run(engine: &Engine, args: &BuilderPruneArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let wish = Wish {
        all: args.all,
        filters: Filters::parse(&args.filter)?,
        reserved: size("reserved-space", args.reserved_space.as_deref())?,
        most: size("max-used-space", args.max_used_space.as_deref())?,
        free: size("min-free-space", args.min_free_space.as_deref())?,
    };
    let what = if args.all { "all build cache" } else { "all dangling build cache" };
    if !args.force {
        confirm::ask(&format!("WARNING! This will remove {what}."), ui)?;
    }
    sweep_builds(engine);
    let free = shipway_linux::free_bytes(engine.store.root()).unwrap_or_default();
    let now = clock::now();
    let gone = remove(engine, plan(&record::list(engine)?, &wish, free, now))?;
    // Steps that made no layer take no space; they are forgotten where nothing is to stay.
    if wish.all && !wish.filters.choose_kinds() && (wish.reserved, wish.most, wish.free) == (0, 0, 0) {
        engine.store.cache_prune(wish.filters.unused.map_or(i64::MAX, |unused| now - unused))?;
    }
    if engine.store.gc(engine.store.steady(now))?.is_none() {
        ui.note(confirm::LATER);
    }
    if !gone.is_empty() {
        du::show(&gone, args.verbose, ui)?;
    }
    let freed = gone.iter().filter(|record| !record.is_shared).map(|record| record.bytes).sum();
    let total = vec!["Total:".to_owned(), clock::precise_size(freed)];
    table::render(&[total]).into_iter().for_each(|line| ui.line(line));
    Ok(0)
}

/// Removes what no build has used since a time, in seconds since the epoch; without `all` only what is in no image. Returns names, and
/// the bytes of what is no layer.
pub(in crate::verbs) fn remove_older(
    engine: &Engine,
    all: bool,
    until: i64,
) -> Result<Vec<(String, u64)>, Failure> {
    let now = clock::now();
    let filters = Filters::unused_for(now.saturating_sub(until).max(0));
    let wish = Wish { all, filters, reserved: 0, most: 0, free: 0 };
    let gone = remove(engine, plan(&record::list(engine)?, &wish, 0, now))?;
    if all {
        engine.store.cache_prune(until)?;
    }
    let bytes = |record: &Record| if matches!(record.what, What::Layer(_)) { 0 } else { record.bytes };
    Ok(gone.iter().map(|record| (record.id.clone(), bytes(record))).collect())
}

fn size(flag: &str, text: Option<&str>) -> Result<u64, Failure> {
    let Some(text) = text else { return Ok(0) };
    units::bytes(text).ok_or_else(|| {
        Failure::of_flag(
            format!("--{flag} `{text}` is no size"),
            format!("write a number of bytes, or with k, m or g behind it: --{flag} 10g"),
        )
    })
}

/// Removes records, and returns those that went: what a command has begun to use meanwhile stays.
fn remove(engine: &Engine, records: Vec<Record>) -> Result<Vec<Record>, Failure> {
    let caches = Caches::below(engine.store.root());
    let (mut gone, mut layers): (Vec<Record>, Vec<LayerId>) = (Vec::new(), Vec::new());
    let failed = |what: &str, error: std::io::Error| {
        Failure::new(
            format!("could not remove {what}: {error}"),
            "wait until nothing is built, then run it again",
        )
    };
    caches.sweep().map_err(|error| failed("what is left of a cache mount", error))?;
    for record in records {
        match &record.what {
            What::Layer(layer) => layers.push(layer.clone()),
            What::Mount(mount) => {
                if !caches.remove(mount).map_err(|error| failed("a cache mount", error))? {
                    continue;
                }
            }
            What::Packages(directory) => match fs_err::remove_dir_all(directory) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed("the downloaded packages", error));
                }
                _ => {}
            },
        }
        gone.push(record);
    }
    budget::recount(engine);
    engine.store.cache_forget(&layers)?;
    Ok(gone)
}
