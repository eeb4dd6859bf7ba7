//! Where a build's base images come from: the local store, or the distribution's archive.

use shipway_build::{BaseImage, BaseImages, SeamError};
use shipway_layers::LayerStore as _;
use shipway_oci::{Platform, Reference};
use shipway_store::StoreError;

use crate::bootstrap;
use crate::engine::Engine;
use crate::progress::Show;

/// Base images out of the store; those of distributions are assembled where wanted. Pulling is not there yet.
#[derive(Debug)]
pub(crate) struct LocalImages {
    pub(crate) engine: Engine,
    /// Assemble what is missing.
    pub(crate) bootstrap: Option<AcceptExpired>,
    /// Where their making is shown.
    pub(crate) show: Show,
}

/// Whether an archive whose Release file has expired is good enough.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AcceptExpired(pub(crate) bool);

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{name}` is not in the local store, and pulling from registries is not there yet")]
#[diagnostic(code(build::base), help("{hint}"))]
struct NotLocal {
    name: String,
    hint: String,
}

impl NotLocal {
    fn new(reference: &Reference) -> Self {
        let name = reference.familiar();
        let import = format!("`shipway import FILE.tar {name}` makes one of a root file system");
        let hint = if shipway_bootstrap::supports(reference) {
            format!(
                "assemble it from the host's package mirror: --bootstrap-base, or `bootstrap-base = true` below [build] in \
                 shipway.toml; {import}"
            )
        } else {
            format!(
                "{import}; a base that can be assembled here is FROM debian:bookworm with --bootstrap-base"
            )
        };
        Self { name, hint }
    }
}

impl BaseImages for LocalImages {
    fn resolve(&self, reference: &Reference, _platform: &Platform) -> Result<BaseImage, SeamError> {
        let store = &self.engine.store;
        let image_id = match (store.resolve(&reference.to_string()), self.bootstrap) {
            (Ok(found), _) => found.image_id,
            (Err(StoreError::NoImage(_)), Some(AcceptExpired(accept_expired)))
                if shipway_bootstrap::supports(reference) =>
            {
                let wishes = bootstrap::Wishes { accept_expired, ..bootstrap::Wishes::default() };
                bootstrap::make(&self.engine, Some(reference), wishes, &self.show)?.image_id
            }
            (Err(StoreError::NoImage(_)), _) => {
                return Err(SeamError::new(NotLocal::new(reference)));
            }
            (Err(error), _) => return Err(SeamError::new(error)),
        };
        let config = store.config(&image_id).map_err(SeamError::new)?;
        let layers = self.engine.layers.resolve(&config.rootfs.diff_ids).map_err(SeamError::new)?;
        Ok(BaseImage { image_id, config, layers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_is_one_that_helps() {
        for (name, wanted) in
            [("debian:bookworm", "--bootstrap-base"), ("registry.example/x", "FROM debian:bookworm")]
        {
            let failure = crate::failure::Failure::from(NotLocal::new(&name.parse().unwrap()));
            assert!(failure.text().contains(wanted), "{}", failure.text());
        }
    }
}
