//! Where a build's base images come from: the local store, the distribution's archive, or a registry.

use std::io;

use shipway_build::{BaseImage, BaseImages, SeamError};
use shipway_distribution::select;
use shipway_layers::LayerStore as _;
use shipway_oci::{Digest, Index, Platform, Reference};
use shipway_store::StoreError;

use crate::archive::{DOCUMENT_LIMIT, LayoutImage};
use crate::bootstrap;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::progress::Show;
use crate::pulls::{self, PullFailure};

/// Base images out of the store; those that are missing are assembled where wanted, else pulled.
#[derive(Debug)]
pub(crate) struct LocalImages {
    pub(crate) engine: Engine,
    pub(crate) wishes: BaseWishes,
    /// Where their making is shown.
    pub(crate) show: Show,
}

/// How base images come here.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BaseWishes {
    /// Assemble those of distributions.
    pub(crate) bootstrap: Option<AcceptExpired>,
    /// Fetch them also if they are here, for there may be newer ones.
    pub(crate) newer: bool,
}

/// Whether an archive whose Release file has expired is good enough.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AcceptExpired(pub(crate) bool);

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{name}` is not in the local store")]
#[diagnostic(code(build::base), help("{hint}"))]
struct NotLocal {
    name: String,
    hint: String,
    source: PullFailure,
}

impl NotLocal {
    /// Where an image can be made here, that is the way out; else the registry's own hint is.
    fn because(reference: &Reference, source: PullFailure) -> SeamError {
        let name = reference.familiar();
        let import = format!("`shipway import FILE.tar {name}` makes one of a root file system");
        if shipway_bootstrap::supports(reference) {
            let hint = format!(
                "assemble it from the host's package mirror: --bootstrap-base, or `bootstrap-base = true` below [build] in \
                 shipway.toml; {import}"
            );
            SeamError::new(Self { name, hint, source })
        } else {
            SeamError::new(NotAnywhere { name, source })
        }
    }
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{name}` is here for {has}, and {wanted} cannot be had")]
#[diagnostic(
    code(build::base),
    help("build it for {wanted} too, or let the stage run here: FROM --platform=$BUILDPLATFORM {name}")
)]
struct OtherPlatform {
    name: String,
    has: String,
    wanted: String,
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

impl LocalImages {
    fn pull(&self, reference: &Reference, platform: &Platform) -> Result<Digest, SeamError> {
        let arrivals = self.show.arrivals(&reference.familiar());
        let pulled = pulls::pull_base(&self.engine, reference, platform, &arrivals);
        arrivals.end(&pulled);
        pulled.map(|pulled| pulled.image_id).map_err(|source| match self.other(reference, platform) {
            Some(has) => {
                let (name, wanted) = (reference.familiar(), platform.to_string());
                SeamError::new(OtherPlatform { name, has, wanted, source })
            }
            None => NotLocal::because(reference, source),
        })
    }

    /// Returns what the image of a name that is here is for, if it is not for a platform.
    fn other(&self, reference: &Reference, platform: &Platform) -> Option<String> {
        let found = self.engine.store.resolve(&reference.to_string()).ok()?;
        let config = self.engine.store.config(&found.image_id).ok()?;
        let fits = is_for(platform, &config.os, &config.architecture);
        (!fits).then(|| format!("{}/{}", config.os, config.architecture))
    }

    /// Returns an image that is in the store, by the digest of its config.
    fn here(&self, image_id: &Digest) -> Result<BaseImage, SeamError> {
        let config = self.engine.store.config(image_id).map_err(SeamError::new)?;
        let layers = self.engine.layers.resolve(&config.rootfs.diff_ids).map_err(SeamError::new)?;
        Ok(BaseImage { image_id: *image_id, config, layers })
    }

    /// Returns the image of a name that is here for a platform: its own, or one that its index lists.
    fn local(&self, reference: &Reference, platform: &Platform) -> Result<Option<Digest>, StoreError> {
        let store = &self.engine.store;
        let found = match store.resolve(&reference.to_string()) {
            Ok(found) => found,
            Err(StoreError::NoImage(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let config = store.config(&found.image_id)?;
        if is_for(platform, &config.os, &config.architecture) {
            return Ok(Some(found.image_id));
        }
        if let Some(index) = store.attested(&found)
            && let Ok(parsed) = serde_json::from_slice::<Index>(&index.index)
            && let Some(sibling) = select(&parsed, platform)
        {
            return Ok(store.whole_image(&sibling.digest).map(|sibling| sibling.image_id));
        }
        for known in store.digests(&found.image_id)? {
            let Ok(bytes) = store.read_blob(&known.digest, DOCUMENT_LIMIT) else { continue };
            let Ok(index) = serde_json::from_slice::<Index>(&bytes) else { continue };
            let Some(listed) = select(&index, platform) else { continue };
            if let Ok(sibling) = store.resolve(&reference.with_digest(listed.digest).to_string()) {
                return Ok(Some(sibling.image_id));
            }
        }
        Ok(None)
    }
}

/// Returns whether an image that says this of itself is for a platform; one that says nothing is for all.
pub(crate) fn is_for(platform: &Platform, os: &str, architecture: &str) -> bool {
    let same = |said: &str, wanted: &str| said.is_empty() || said == wanted;
    same(os, &platform.os) && same(architecture, &platform.architecture)
}

impl BaseImages for LocalImages {
    fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<BaseImage, SeamError> {
        let here = match self.wishes.newer {
            true => None,
            false => self.local(reference, platform).map_err(SeamError::new)?,
        };
        let image_id = match (here, self.wishes.bootstrap) {
            (Some(image_id), _) => image_id,
            (None, Some(AcceptExpired(accept_expired)))
                if shipway_bootstrap::supports(reference)
                    && platform.architecture == Platform::host().architecture =>
            {
                let wishes = bootstrap::Wishes { accept_expired, ..bootstrap::Wishes::default() };
                bootstrap::make(&self.engine, Some(reference), wishes, &self.show)?.image_id
            }
            (None, _) => self.pull(reference, platform)?,
        };
        self.here(&image_id)
    }

    /// It is what the registry says, else the image as it is here.
    fn digest(&self, reference: &Reference, image_id: &Digest) -> Result<Digest, SeamError> {
        if let Some(digest) = reference.digest() {
            return Ok(digest);
        }
        let store = &self.engine.store;
        // One for another platform is listed with the image that the name stands for here.
        let named = store.resolve(&reference.to_string()).ok();
        for image in [Some(image_id), named.as_ref().map(|named| &named.image_id)].into_iter().flatten() {
            let known = store.digests(image).map_err(SeamError::new)?;
            let of_name = known.iter().rev().find(|known| known.repository == reference.name());
            if let Some(known) = of_name {
                return Ok(known.digest);
            }
        }
        let found = match named {
            Some(found) => found,
            None => store.resolve(&image_id.to_string()).map_err(SeamError::new)?,
        };
        Ok(found.index.unwrap_or(found.manifest))
    }

    fn in_layout(&self, layout: &str, platform: &Platform) -> Result<(BaseImage, Digest), SeamError> {
        let found = LayoutImage::parse(layout).and_then(|image| image.load(&self.engine, platform));
        let (image_id, digest) = found.map_err(|failure| NotInLayout::because(&failure))?;
        Ok((self.here(&image_id)?, digest))
    }
}

/// An image of an OCI layout cannot be had.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{message}")]
#[diagnostic(code(build::layout), help("{hint}"))]
struct NotInLayout {
    message: String,
    hint: String,
    /// Where that is why.
    #[source]
    full: Option<io::Error>,
}

impl NotInLayout {
    fn because(failure: &Failure) -> SeamError {
        SeamError::new(Self {
            message: failure.message().to_owned(),
            hint: failure.hint().unwrap_or("build again").to_owned(),
            full: failure.is_of_full_disk().then(|| io::ErrorKind::StorageFull.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_is_one_that_helps() {
        for (name, wanted) in
            [("debian:bookworm", "--bootstrap-base"), ("registry.example/x", "hint: `shipway images` lists")]
        {
            let cause = PullFailure::Store(StoreError::NoImage(name.to_owned()));
            let failure = Failure::from(NotLocal::because(&name.parse().unwrap(), cause));
            assert!(failure.text().contains(wanted), "{}", failure.text());
        }
    }
}
