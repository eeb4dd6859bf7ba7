//! What a build read from elsewhere, with its digests.

use std::sync::Mutex;

use shipway_oci::{Digest, image_purl};

use super::Material;
use crate::BuildRequest;
use crate::plan::{Action, CopyAction, Plan, PlannedImage, SourceWord};
use crate::solve::lock;

/// Hexadecimal digits of a commit's SHA-1.
pub(super) const SHA1: usize = 40;

/// What was fetched while a build went on.
#[derive(Debug, Default)]
pub(crate) struct Materials(Mutex<Vec<Material>>);

impl Materials {
    /// Notes a file that was fetched.
    pub(crate) fn file(&self, url: &str, digest: &Digest) {
        self.note(Material::at(url, "sha256", digest.hex()));
    }

    /// Notes a commit that was fetched.
    pub(crate) fn commit(&self, address: &str, commit: &str) {
        self.note(Material::commit(address, commit));
    }

    fn note(&self, material: Material) {
        let mut known = lock(&self.0);
        if !known.contains(&material) {
            known.push(material);
        }
    }

    /// Returns everything that a finished build is made of: images, repositories, files. Compat: BuildKit's order.
    pub(super) fn all(&self, plan: &Plan, request: &BuildRequest) -> Vec<Material> {
        let mut images: Vec<Material> = plan.images.iter().map(of_image).collect();
        images.dedup();
        let fetched = lock(&self.0).clone();
        let mut others = fetched.clone();
        let actions = plan.stages.iter().flat_map(|stage| &stage.steps).map(|step| &step.action);
        for copy in actions.filter_map(|action| match action {
            Action::Copy(copy, _) => Some(copy),
            _ => None,
        }) {
            // What was in the cache was not fetched; its address says what it is.
            others.extend(pinned(copy).filter(|pinned| !fetched.iter().any(|known| known.uri == pinned.uri)));
        }
        others.extend(request.origin.iter().chain(&request.fetched).cloned());
        others.sort_by(|a, b| (is_file(a), &a.uri).cmp(&(is_file(b), &b.uri)));
        others.dedup();
        images.extend(others);
        images
    }
}

fn is_file(material: &Material) -> bool {
    material.digest.as_ref().is_some_and(|(algorithm, hex)| algorithm == "sha256" && hex.len() == 64)
}

fn of_image(image: &PlannedImage) -> Material {
    // Images are planned as NAME@PLATFORM.
    let (name, platform) = image.name.rsplit_once('@').unwrap_or((&image.name, ""));
    let uri = match name.parse() {
        Ok(reference) => image_purl(&reference, platform.parse().ok().as_ref()),
        Err(_) => name.to_owned(),
    };
    Material { uri, digest: Some(("sha256".to_owned(), image.digest.hex())) }
}

/// Returns the sources whose addresses say what they are.
fn pinned(copy: &CopyAction) -> impl Iterator<Item = Material> {
    copy.sources.iter().filter_map(|source| match source {
        SourceWord::Remote { address, is_git: false, checksum: Some(checksum), .. } => {
            let digest: Digest = checksum.parse().ok()?;
            Some(Material::at(address, "sha256", digest.hex()))
        }
        SourceWord::Remote { address, is_git: true, checksum, .. } => {
            let reference =
                address.split_once('#').map_or("", |(_, rest)| rest.split(':').next().unwrap_or(""));
            let is_commit =
                |text: &&str| text.len() == SHA1 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let commit = checksum.as_deref().into_iter().chain([reference]).find(is_commit)?;
            Some(Material::commit(address, commit))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_and_files_are_told_apart_by_their_digests() {
        let materials = Materials::default();
        let commit = "a".repeat(40);
        materials.file("https://u:p@a.test/f", &Digest::of(b"f"));
        materials.commit("https://a.test/r.git#main", &commit);
        materials.commit("https://a.test/r.git#main", &commit);
        let known = lock(&materials.0).clone();
        assert_eq!(
            known,
            [
                Material::at("https://a.test/f", "sha256", Digest::of(b"f").hex()),
                Material::at("https://a.test/r.git#main", "sha1", commit),
            ]
        );
    }
}
