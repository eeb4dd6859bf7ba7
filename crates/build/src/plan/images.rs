//! The images that a plan needs, each looked for once.

use shipway_dockerfile::Span;
use shipway_oci::{Digest, Platform, Reference};

use super::PlannedImage;
use super::stages::{Planner, internal};
use crate::key::KeyBuilder;
use crate::{BaseImage, BaseImages, BuildError, Event, SeamError};

impl Planner<'_> {
    /// Finds the image that has a name.
    pub(super) fn image(
        &mut self,
        reference: &Reference,
        platform: &Platform,
        span: Span,
    ) -> Result<usize, BuildError> {
        let names = (reference.to_string(), reference.familiar());
        let is_told = self.request.attest.provenance.is_some();
        self.find_image(names, platform, span, |bases| {
            let image = bases.resolve(reference, platform)?;
            let digest = if is_told { bases.digest(reference, &image.image_id)? } else { image.image_id };
            Ok((image, digest))
        })
    }

    /// Finds an image unless that was done before. It has a name in full, and one for messages.
    pub(super) fn find_image(
        &mut self,
        (full, short): (String, String),
        platform: &Platform,
        span: Span,
        find: impl FnOnce(&dyn BaseImages) -> Result<(BaseImage, Digest), SeamError>,
    ) -> Result<usize, BuildError> {
        let name = format!("{full}@{platform}");
        if let Some(known) = self.images.iter().position(|image| image.name == name) {
            return Ok(known);
        }
        if self.request.stop.is_set() {
            return Err(BuildError::Cancelled);
        }
        let info = internal(self.next_id(), format!("[internal] load metadata for {full}"));
        self.steps.push(info.clone());
        self.progress.event(&Event::Started { step: &info });
        let start = std::time::Instant::now();
        let (image, digest) = find(self.bases).map_err(|source| {
            let error = source.to_string();
            self.progress.event(&Event::Failed {
                step: &info,
                elapsed: start.elapsed(),
                error: &error,
                cancelled: self.request.stop.is_set(),
            });
            BuildError::BaseImage { name: short, source, text: self.file.source.clone(), span }
        })?;
        self.progress.event(&Event::Done { step: &info, elapsed: start.elapsed(), key: None });
        let mut key = KeyBuilder::new("image");
        key.text("platform", &platform.to_string());
        for diff_id in &image.config.rootfs.diff_ids {
            key.text("layer", &diff_id.to_string());
        }
        let key = key.finish().digest;
        self.images.push(PlannedImage { name, image, digest, key });
        Ok(self.images.len() - 1)
    }
}
