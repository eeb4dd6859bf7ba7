//! What a build read from elsewhere, with its digests.

use std::sync::Mutex;

use shipway_oci::{Digest, image_purl, layout_purl};

use super::Material;
use crate::plan::{Action, CopyAction, Plan, PlannedImage, SourceWord, layout_name};
use crate::solve::lock;
use crate::{BuildRequest, ContextSource};

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
        self.note(whole(&Material::commit(address, commit)));
    }

    fn note(&self, material: Material) {
        let mut known = lock(&self.0);
        if !known.contains(&material) {
            known.push(material);
        }
    }

    /// Returns everything that a finished build is made of: images, repositories, files. Compat: BuildKit's order.
    pub(super) fn all(&self, plan: &Plan, request: &BuildRequest) -> Vec<Material> {
        let mut images: Vec<Material> = plan.images.iter().map(|image| of_image(image, request)).collect();
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
        others.extend(request.origin.iter().chain(&request.fetched).map(whole));
        others.sort_by(|a, b| (!a.is_commit, &a.uri).cmp(&(!b.is_commit, &b.uri)));
        others.dedup();
        images.extend(others);
        images
    }
}

/// Returns the repository that something is of. Compat: BuildKit, a commit is of all of its directories.
fn whole(material: &Material) -> Material {
    let uri = match material.uri.split_once('#').filter(|_| material.is_commit) {
        Some((remote, place)) => match place.split(':').next().unwrap_or_default() {
            "" => remote.to_owned(),
            reference => format!("{remote}#{reference}"),
        },
        None => material.uri.clone(),
    };
    Material { uri, ..material.clone() }
}

fn of_image(image: &PlannedImage, request: &BuildRequest) -> Material {
    // Images are planned as NAME@PLATFORM.
    let (name, platform) = image.name.rsplit_once('@').unwrap_or((&image.name, ""));
    let platform = platform.parse().ok();
    // Where a layout is on this machine is nobody's business.
    let of_layout = request.contexts.iter().find(
        |context| matches!(&context.source, ContextSource::Layout(layout) if layout_name(layout) == name),
    );
    let uri = match (of_layout, name.parse()) {
        (Some(context), _) => layout_purl(&context.name, image.digest, platform.as_ref()),
        (None, Ok(reference)) => image_purl(&reference, platform.as_ref()),
        (None, Err(_)) => name.to_owned(),
    };
    Material { uri, digest: Some(("sha256".to_owned(), image.digest.hex())), is_commit: false }
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
            Some(whole(&Material::commit(address, commit)))
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
        let long = "b".repeat(64);
        materials.file("https://u:p@a.test/f", &Digest::of(b"f"));
        materials.commit("https://a.test/r.git#main", &commit);
        materials.commit("https://a.test/r.git#main:directory", &commit);
        materials.commit("https://a.test/other.git#:directory", &commit);
        materials.commit("https://a.test/long.git#main:directory", &long);
        materials.file("https://a.test/f#a:b", &Digest::of(b"f"));
        let known = lock(&materials.0).clone();
        assert_eq!(
            known,
            [
                Material::at("https://a.test/f", "sha256", Digest::of(b"f").hex()),
                Material::commit("https://a.test/r.git#main", &commit),
                Material::commit("https://a.test/other.git", &commit),
                Material::commit("https://a.test/long.git#main", &long),
                Material::at("https://a.test/f#a:b", "sha256", Digest::of(b"f").hex()),
            ]
        );
    }
}
