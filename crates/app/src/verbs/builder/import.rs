//! `shipway builder import`: a cache mount from an archive.

use std::cell::RefCell;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read};

use shipway_build::{Caches, Problem};
use shipway_layers::{Budget, decompress, unpack_files};

use crate::budget;
use crate::cli::BuilderImportArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::tasks::Stopping;
use crate::ui::Ui;

pub(super) fn run(engine: &Engine, args: &BuilderImportArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let id = super::id_of(&args.id)?;
    let hint = format!("name an archive: `shipway builder import {} -i FILE`", args.id);
    let input: Box<dyn Read + Send> = match &args.input {
        Some(path) => {
            let file = fs_err::File::open(path)
                .map_err(|error| Failure::new(format!("could not open the archive: {error}"), &hint))?;
            Box::new(file)
        }
        None if io::stdin().is_terminal() => {
            return Err(Failure::new("there is no archive: the standard input is a terminal", &hint));
        }
        None => Box::new(io::stdin()),
    };
    let mut input = BufReader::with_capacity(1 << 18, input);
    let is_empty = input.fill_buf().map(<[u8]>::is_empty);
    if is_empty.map_err(|error| Failure::new(format!("could not read the archive: {error}"), &hint))? {
        let instead = "see what should have written it; `shipway builder prune` removes cache mounts";
        return Err(Failure::new("the archive is empty", instead));
    }
    let plain = RefCell::new(decompress(Box::new(input))?);
    let caches = Caches::below(engine.store.root());
    let found = caches
        .find(id)
        .map_err(|error| Failure::new(format!("could not look for `{id}`: {error}"), &hint))?;
    let id = found.as_ref().map_or(id, |cache| cache.id.as_str());
    let stopping = Stopping::hold()?;
    let filled = caches.replace(id, &stopping.build, &|root| {
        let unpacked = unpack_files(root, &mut **plain.borrow_mut(), Budget::default());
        unpacked.map_err(|source| Problem::Layers { action: "unpack the archive", source })
    });
    filled.map_err(|problem| stopping.failed(Failure::from(problem)))?;
    budget::recount(engine);
    ui.note(format!("filled the cache mount `{id}`"));
    Ok(0)
}
