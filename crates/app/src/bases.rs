//! Where a build's base images come from: the local store, the distribution's archive, or a registry.

use std::io::Write as _;

use shipway_build::{BaseImage, BaseImages, SeamError};
use shipway_distribution::{Event, Progress};
use shipway_layers::LayerStore as _;
use shipway_oci::{Digest, Platform, Reference};
use shipway_store::StoreError;

use crate::bootstrap;
use crate::engine::Engine;
use crate::pulls::{self, PullFailure};

/// Base images out of the store; those that are missing are assembled where wanted, else pulled.
#[derive(Debug)]
pub(crate) struct LocalImages {
    pub(crate) engine: Engine,
    /// Assemble what is missing.
    pub(crate) bootstrap: Option<AcceptExpired>,
}

/// Whether an archive whose Release file has expired is good enough.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AcceptExpired(pub(crate) bool);

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{name}` is not in the local store")]
#[diagnostic(code(build::base), help("a Debian image is assembled with --bootstrap-base"))]
struct NotLocal {
    name: String,
    source: PullFailure,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{name}` is not in the local store")]
#[diagnostic(code(build::base))]
struct NotAnywhere {
    name: String,
    #[source]
    #[diagnostic_source]
    source: PullFailure,
}

/// A line when it begins and one when it is done: more would come between those of the build.
#[derive(Debug)]
struct Brief;

impl Progress for Brief {
    fn event(&self, event: &Event<'_>) {
        if let Event::Note(note) = event {
            say(&format!("note: {note}"));
        }
    }
}

fn say(line: &str) {
    // A reader that went away does not stop the build.
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}

impl LocalImages {
    fn pull(&self, reference: &Reference, platform: &Platform) -> Result<Digest, SeamError> {
        say(&format!("pulling {}", reference.familiar()));
        let pulled = pulls::pull(&self.engine, reference, Some(platform), &Brief);
        match pulled {
            Ok(pulled) => {
                say(&format!("pulled {}@{}", reference.familiar(), pulled.digest));
                Ok(pulled.image_id)
            }
            Err(source) => {
                let name = reference.familiar();
                Err(if shipway_bootstrap::supports(reference) {
                    SeamError::new(NotLocal { name, source })
                } else {
                    SeamError::new(NotAnywhere { name, source })
                })
            }
        }
    }
}

impl BaseImages for LocalImages {
    fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<BaseImage, SeamError> {
        let store = &self.engine.store;
        let image_id = match (store.resolve(&reference.to_string()), self.bootstrap) {
            (Ok(found), _) => found.image_id,
            (Err(StoreError::NoImage(_)), Some(AcceptExpired(accept)))
                if shipway_bootstrap::supports(reference) =>
            {
                bootstrap::make(&self.engine, Some(reference), accept)?.image_id
            }
            (Err(StoreError::NoImage(_)), _) => self.pull(reference, platform)?,
            (Err(error), _) => return Err(SeamError::new(error)),
        };
        let config = store.config(&image_id).map_err(SeamError::new)?;
        let layers = self.engine.layers.resolve(&config.rootfs.diff_ids).map_err(SeamError::new)?;
        Ok(BaseImage { image_id, config, layers })
    }
}
