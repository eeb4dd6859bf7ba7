//! `shipway rmi --platform`: of several images that a name stands for, those for some platforms.

use std::collections::BTreeMap;

use shipway_distribution::select;
use shipway_oci::{Descriptor, Digest, Index, MediaType, Platform, Reference};
use shipway_store::{Found, ImageRecord, Renaming};

use super::{Told, find, one, refuse_used};
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

/// Reads the platforms, each once.
pub(super) fn parse(texts: &[String]) -> Result<Vec<Platform>, Failure> {
    let mut platforms: Vec<Platform> = Vec::new();
    // Compat: docker, an empty text names none.
    for text in texts.iter().filter(|text| !text.is_empty()) {
        let platform: Platform = text.parse().map_err(|error| {
            Failure::new(format!("--platform: {error}"), "`shipway inspect NAME` says what an image is for")
        })?;
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    Ok(platforms)
}

/// Removes the images of a name for all these platforms, or none if one of them is not here.
pub(super) fn run(
    engine: &Engine,
    name: &str,
    (platforms, force): (&[Platform], bool),
    told: &mut Vec<Told>,
    ui: &mut Ui,
) -> Result<(), Failure> {
    let Some(found) = find(engine, name, force, ui)? else { return Ok(()) };
    let mut wanted: Vec<(Found, &Platform)> = Vec::new();
    for platform in platforms {
        match image_for(engine, &found, platform)? {
            Some(image) if wanted.iter().any(|(other, _)| other.manifest == image.manifest) => {}
            Some(image) => wanted.push((image, platform)),
            // Compat: docker, who insists that something is not there is content.
            None if force => {
                ui.note(not_here(engine, name, &found, platform).message());
                return Ok(());
            }
            None => return Err(not_here(engine, name, &found, platform)),
        }
    }
    for (image, platform) in wanted {
        let Some(found) = find(engine, name, force, ui)? else { return Ok(()) };
        let others = others(engine, &found, &image.manifest);
        // Compat: docker, whose image is for one platform goes with its name.
        if others.is_empty() {
            told.extend(one(engine, name, force, ui)?);
            continue;
        }
        let leaving = Leaving { engine, name, found, image, platform, others };
        leaving.remove(force, told, ui)?;
    }
    Ok(())
}

/// An image that goes while others of its name stay.
struct Leaving<'a> {
    engine: &'a Engine,
    /// As it was typed.
    name: &'a str,
    found: Found,
    image: Found,
    platform: &'a Platform,
    /// Those that stay; never empty.
    others: Vec<Found>,
}

impl Leaving<'_> {
    fn remove(&self, force: bool, told: &mut Vec<Told>, ui: &mut Ui) -> Result<(), Failure> {
        let store = &self.engine.store;
        refuse_used(self.engine, &self.image, force)?;
        let rows = store.images()?;
        if !force {
            self.refuse_shared(&rows)?;
        }
        let renaming = self.plan(&rows)?;
        let layers = store.config(&self.image.image_id)?.rootfs.diff_ids;
        store.remove_listed(&self.image.manifest, &renaming, store.steady(clock::now()))?;
        for name in renaming.untagged.iter().filter_map(|row| row.name.as_ref()) {
            told.push(Told::Line(format!("Untagged: {}", name.familiar())));
        }
        told.push(Told::Line(format!("Deleted: {}", self.image.image_id)));
        told.push(Told::Layers(layers));
        self.explain(&renaming, ui);
        Ok(())
    }

    /// Other names that stand for the same index lose the image too. Compat: docker wants `--force` for that.
    fn refuse_shared(&self, rows: &[ImageRecord]) -> Result<(), Failure> {
        let loses = |row: &&ImageRecord| {
            let index = row.index.filter(|_| !self.is_own(row) && !self.is_digest_of_own(row));
            row.name.is_some()
                && index.is_some_and(|index| self.engine.store.index_lists(&index, &self.image.manifest))
        };
        let Some(other) = rows.iter().find(loses) else { return Ok(()) };
        Err(Failure::new(
            format!("`{}` would lose its image for {} too", called(other), self.platform),
            format!(
                "take it from all names: `shipway rmi -f --platform {} {}`; or only the name: `shipway rmi {}`",
                self.platform, self.name, self.name
            ),
        ))
    }

    /// Decides what becomes of names that stand for the image itself.
    fn plan(&self, rows: &[ImageRecord]) -> Result<Renaming, Failure> {
        let mut renaming = Renaming::default();
        for row in rows.iter().filter(|row| row.manifest == self.image.manifest) {
            if !self.is_own(row) && self.is_digest_of_own(row) {
                renaming.untagged.push(row.clone());
                continue;
            }
            let stays = match row.index {
                _ if self.is_own(row) => self.others.first().cloned(),
                Some(index) => others_of(self.engine, &[index], &self.image.manifest).into_iter().next(),
                None => None,
            };
            let stays = stays.ok_or_else(|| self.has_another_name(row))?;
            renaming.moved.push((row.clone(), stays));
        }
        Ok(renaming)
    }

    /// Returns whether a row is the one that was named; of an id all are.
    fn is_own(&self, row: &ImageRecord) -> bool {
        match &self.found.name {
            Some(name) => row.name.as_ref() == Some(name),
            None => row.image_id == self.found.image_id,
        }
    }

    /// Returns whether a row is the digest under which a build has pulled the image beside that of the name.
    fn is_digest_of_own(&self, row: &ImageRecord) -> bool {
        let own = self.found.name.as_ref();
        let is_of =
            |name: &Reference| name.digest().is_some() && own.is_some_and(|own| own.name() == name.name());
        row.name.as_ref().is_some_and(is_of)
    }

    fn has_another_name(&self, row: &ImageRecord) -> Failure {
        Failure::new(
            format!("the image for {} is that of `{}` too", self.platform, called(row)),
            format!("remove that first: `shipway rmi {}`", called(row)),
        )
    }

    /// Says what a name can no longer do.
    fn explain(&self, renaming: &Renaming, ui: &mut Ui) {
        for (row, to) in &renaming.moved {
            let Ok(config) = self.engine.store.config(&to.image_id) else { continue };
            let host = Platform::host();
            let is_foreign = (config.os.as_str(), config.architecture.as_str())
                != (host.os.as_str(), host.architecture.as_str());
            let here = if is_foreign { ", which is not this machine's" } else { "" };
            ui.note(format!(
                "`{}` is now the image for {}/{}{here}",
                called(row),
                config.os,
                config.architecture
            ));
        }
        if self.found.index.is_some() {
            ui.note(format!(
                "`{}` cannot be pushed as a whole without its image for {}: build it again for all platforms, or push another one \
                 alone: `shipway push --platform OS/ARCH {}`",
                self.name, self.platform, self.name
            ));
        }
    }
}

/// Returns what to call a row.
fn called(row: &ImageRecord) -> String {
    row.name.as_ref().map_or_else(|| row.image_id.short(), Reference::familiar)
}

/// Returns the indexes that an image was found in, or is known by.
fn indexes(engine: &Engine, found: &Found) -> Vec<Digest> {
    let known = engine.store.digests(&found.image_id).unwrap_or_default();
    let known = known.into_iter().map(|known| known.digest).filter(|digest| *digest != found.manifest);
    let mut indexes: Vec<Digest> = found.index.into_iter().chain(known).collect();
    indexes.dedup();
    indexes
}

/// Returns what is here beside an image.
fn others(engine: &Engine, found: &Found, manifest: &Digest) -> Vec<Found> {
    let mut others = others_of(engine, &indexes(engine, found), manifest);
    // What the name stands for is nearest to it.
    others.sort_by_key(|other| other.manifest != found.manifest);
    others
}

fn others_of(engine: &Engine, indexes: &[Digest], manifest: &Digest) -> Vec<Found> {
    let images = indexes.iter().flat_map(|index| engine.store.images_of_index(index));
    images.filter(|image| image.manifest != *manifest).collect()
}

/// Returns the image for exactly this platform. Compat: containerd's strict match.
fn image_for(engine: &Engine, found: &Found, platform: &Platform) -> Result<Option<Found>, Failure> {
    let store = &engine.store;
    let listed = |index: Digest| {
        let index = store.index(&index)?;
        store.whole_image(&select(&index, platform)?.digest)
    };
    if let Some(image) = indexes(engine, found).into_iter().find_map(listed) {
        return Ok(Some(image));
    }
    let config = store.config(&found.image_id)?;
    let own = config.platform();
    let entry =
        Descriptor { platform: Some(own), ..Descriptor::new(MediaType::OCI_MANIFEST, found.manifest, 0) };
    let index = Index {
        schema_version: 2,
        media_type: None,
        manifests: vec![entry],
        annotations: BTreeMap::new(),
        other: serde_json::Map::new(),
    };
    Ok(select(&index, platform).map(|_own| found.clone()))
}

fn not_here(engine: &Engine, name: &str, found: &Found, platform: &Platform) -> Failure {
    let images = std::iter::once(found.clone()).chain(others(engine, found, &found.manifest));
    let configs = images.filter_map(|image| engine.store.config(&image.image_id).ok());
    let has: Vec<String> = configs.map(|config| format!("{}/{}", config.os, config.architecture)).collect();
    Failure::new(
        format!("image {name} is here for {}, not for {platform}", has.join(", ")),
        format!(
            "name one that is here: `shipway rmi --platform {} {name}`",
            has.first().map_or("", String::as_str)
        ),
    )
}
