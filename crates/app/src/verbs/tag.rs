//! `shipway tag`

use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;

pub(crate) fn run(engine: &Engine, source: &str, target: &str) -> Result<u8, Failure> {
    let name: shipway_oci::Reference = target.parse()?;
    let found = engine.store.resolve(source)?;
    engine.store.tag_found(&name, &found, clock::now())?;
    Ok(0)
}
