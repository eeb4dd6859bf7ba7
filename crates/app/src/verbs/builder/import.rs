//! `shipway builder import`: a cache mount from an archive.

use std::cell::RefCell;
use std::io::{self, BufReader, IsTerminal as _, Read};

use shipway_build::{Caches, Problem};
use shipway_layers::{Budget, decompress, unpack_files};

use crate::cli::BuilderImportArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::tasks::Stopping;

pub(super) fn run(engine: &Engine, args: &BuilderImportArgs) -> Result<u8, Failure> {
    let hint = format!("name an archive: `shipway builder import {} -i FILE`", args.id);
    let input: Box<dyn Read> = match &args.input {
        Some(path) => {
            let file = fs_err::File::open(path)
                .map_err(|error| Failure::new(format!("could not open the archive: {error}"), &hint))?;
            Box::new(BufReader::with_capacity(1 << 18, file))
        }
        None if io::stdin().is_terminal() => {
            return Err(Failure::new("there is no archive: the standard input is a terminal", &hint));
        }
        None => Box::new(io::stdin()),
    };
    let plain = RefCell::new(decompress(input)?);
    let caches = Caches::below(engine.store.root());
    let stopping = Stopping::hold()?;
    let filled = caches.replace(&args.id, &stopping.build, &|root| {
        let unpacked = unpack_files(root, &mut **plain.borrow_mut(), Budget::default());
        unpacked.map_err(|source| Problem::Layers { action: "unpack the archive", source })
    });
    filled.map_err(|problem| stopping.failed(Failure::from(problem)))?;
    crate::budget::recount(engine);
    Ok(0)
}
