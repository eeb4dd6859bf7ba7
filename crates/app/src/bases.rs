//! Where a build's base images come from: the local store.

use shipway_build::{BaseImage, BaseImages, SeamError};
use shipway_layers::{LayerStore as _, Unpacked};
use shipway_oci::{Platform, Reference};
use shipway_store::{Store, StoreError};

/// Base images out of the store. Pulling and assembling them is not there yet.
#[derive(Debug)]
pub(crate) struct LocalImages {
    pub(crate) store: Store,
    pub(crate) layers: Unpacked,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{name}` is not in the local store, and pulling from registries is not there yet")]
#[diagnostic(
    code(build::base),
    help("`shipway images` lists what there is; `shipway import FILE.tar {name}` adds one")
)]
struct NotLocal {
    name: String,
}

impl BaseImages for LocalImages {
    fn resolve(&self, reference: &Reference, _platform: &Platform) -> Result<BaseImage, SeamError> {
        let found = self.store.resolve(&reference.to_string()).map_err(|error| match error {
            StoreError::NoImage(_) => SeamError::new(NotLocal { name: reference.familiar() }),
            other => SeamError::new(other),
        })?;
        let config = self.store.config(&found.image_id).map_err(SeamError::new)?;
        let layers = self.layers.resolve(&config.rootfs.diff_ids).map_err(SeamError::new)?;
        Ok(BaseImage { image_id: found.image_id, config, layers })
    }
}
