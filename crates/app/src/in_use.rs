//! Which images something stands on that runs, or may run again.

use std::collections::HashSet;

use shipway_kubelet::images_of_pods;
use shipway_oci::Digest;

use crate::engine::Engine;
use crate::failure::Failure;

/// Returns the IDs of the images that containers and pods are of, running or ended.
pub(crate) fn images(engine: &Engine) -> Result<HashSet<Digest>, Failure> {
    let of_containers = engine.store.containers()?.into_iter().map(|row| row.image_id);
    Ok(of_containers.chain(images_of_pods(&engine.containers)).collect())
}
