//! The image of a name that is for a platform: its own, or another one that is here in the same index.

use shipway_distribution::select;
use shipway_oci::{Digest, Index, Platform, parse_json};
use shipway_store::Found;

use crate::archive::DOCUMENT_LIMIT;
use crate::bases::is_for;
use crate::engine::Engine;
use crate::failure::Failure;

/// Returns what was found, or what is here beside it for the platform.
pub(crate) fn image_for(
    engine: &Engine,
    name: &str,
    found: Found,
    platform: Option<&Platform>,
) -> Result<Found, Failure> {
    let Some(platform) = platform else { return Ok(found) };
    let config = engine.store.config(&found.image_id)?;
    if is_for(platform, &config.os, &config.architecture) {
        return Ok(found);
    }
    let known = engine.store.digests(&found.image_id)?;
    let indexes = found.index.into_iter().chain(known.into_iter().map(|known| known.digest));
    let beside = |digest: Digest| {
        let bytes = engine.store.read_blob(&digest, DOCUMENT_LIMIT).ok()?;
        let index: Index = parse_json(&bytes).ok()?;
        engine.store.whole_image(&select(&index, platform)?.digest)
    };
    let other = indexes.filter_map(beside).next();
    other.map(|other| Found { name: found.name.clone(), ..other }).ok_or_else(|| {
        let has = format!("{}/{}", config.os, config.architecture);
        Failure::new(
            format!("image {name} is here for {has}, not for {platform}"),
            format!("bring it here: `shipway pull --platform {platform} {name}`"),
        )
    })
}
