//! `shipway tag`

use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::local_names;

pub(crate) fn run(engine: &Engine, source: &str, target: &str) -> Result<u8, Failure> {
    let name = local_names::parse_new(target)?;
    // What is found must be here still when it gets the name.
    let _lease = engine.store.lease()?;
    let found = local_names::resolve(engine, source)?;
    engine.store.tag_found(&name, &found, clock::now())?;
    Ok(0)
}
