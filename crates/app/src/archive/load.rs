//! From an archive to images: an OCI layout, or Docker's `manifest.json` with layers beside it.

use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use shipway_distribution::{Content, LayerSink as _, read_document, select};
use shipway_layers::{Budget, LayerStore as _};
use shipway_linux::Root;
use shipway_oci::{Descriptor, DiffId, Digest, ImageConfig, Index, Manifest, MediaType, Platform, Reference};
use shipway_store::{LayerId, StoreError};

use super::intake::uncopied;
use super::{CONTAINERD_NAME, DOCUMENT_LIMIT, REF_NAME, take_in};
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::pulls::Trees;

/// An image that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Loaded {
    /// It has a name.
    Named(Reference),
    /// It has none.
    Unnamed(Digest),
}

/// One image of `manifest.json`. Compat: docker.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Reads all images of an archive, compressed or not. Nothing gets a name before everything is here.
pub(crate) fn load(engine: &Engine, archive: &mut dyn Read) -> Result<Vec<Loaded>, Failure> {
    let files = Files::unpack(engine, archive)?;
    let docker: Option<Vec<Entry>> = files
        .document("manifest.json")?
        .map(|bytes| serde_json::from_slice(&bytes))
        .transpose()
        .map_err(|error| wrong(format!("its manifest.json is not valid: {error}")))?;
    let mut images = Vec::new();
    match (files.document("index.json")?, &docker) {
        (Some(index), _) => {
            let index: Index = serde_json::from_slice(&index)
                .map_err(|error| wrong(format!("its index.json is not valid: {error}")))?;
            for entry in &index.manifests {
                images.push(files.of_layout(entry, docker.as_deref().unwrap_or_default())?);
            }
        }
        (None, Some(entries)) => {
            for entry in entries {
                images.push(files.of_docker(entry)?);
            }
        }
        (None, None) => return Err(wrong("it has neither index.json nor manifest.json".to_owned())),
    }
    engine.layers.sync()?;
    let now = clock::now();
    let mut loaded = Vec::new();
    for (manifest, image_id, names) in images {
        for name in &names {
            engine.store.tag(name, manifest, image_id, now)?;
        }
        if names.is_empty() {
            engine.store.keep_unnamed(manifest, image_id, now)?;
            loaded.push(Loaded::Unnamed(image_id));
        }
        loaded.extend(names.into_iter().map(Loaded::Named));
    }
    Ok(loaded)
}

fn wrong(what: String) -> Failure {
    Failure::new(
        format!("the archive holds no images: {what}"),
        "`shipway load` reads what `save` wrote; a root file system is read by `shipway import`",
    )
}

/// Manifest, image ID and names.
type Image = (Digest, Digest, Vec<Reference>);

/// The files of an archive, removed with the value.
struct Files<'a> {
    engine: &'a Engine,
    dir: PathBuf,
    root: Root,
}

impl Drop for Files<'_> {
    fn drop(&mut self) {
        // What is left is removed by the next collection.
        drop(fs_err::remove_dir_all(&self.dir));
    }
}

impl<'a> Files<'a> {
    fn unpack(engine: &'a Engine, archive: &mut dyn Read) -> Result<Self, Failure> {
        let unique = LayerId::unique(0);
        let dir = engine.store.tmp().join(format!("load-{unique}"));
        let unusable = |error: io::Error| StoreError::of_write(&dir, error);
        std::fs::DirBuilder::new().mode(0o700).create(&dir).map_err(unusable)?;
        let root = Root::open(&dir).map_err(unusable)?;
        let files = Self { engine, dir, root };
        let mut plain = shipway_layers::decompress(Box::new(archive))?;
        shipway_layers::unpack(&files.root, &mut *plain, Budget::default())?;
        Ok(files)
    }

    /// Reads a small file; `None` if it is not there.
    fn document(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        let Some(file) = self.open(path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(DOCUMENT_LIMIT + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| uncopied(self.engine, error))?;
        if bytes.len() as u64 > DOCUMENT_LIMIT {
            return Err(wrong(format!("`{path}` is larger than {DOCUMENT_LIMIT} bytes")));
        }
        Ok(Some(bytes))
    }

    fn open(&self, path: &str) -> Result<Option<std::fs::File>, Failure> {
        match self.root.open_file(Path::new(path)) {
            Ok(file) if file.metadata().is_ok_and(|found| found.is_file()) => Ok(Some(file)),
            Ok(_) => Err(wrong(format!("`{path}` is no file"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(uncopied(self.engine, error)),
        }
    }

    /// Reads a document that a descriptor names, which it must be.
    fn described(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Failure> {
        let path = format!("blobs/sha256/{}", descriptor.digest.hex());
        let bytes = self.document(&path)?.ok_or_else(|| wrong(format!("`{path}` is missing")))?;
        if Digest::of(&bytes) != descriptor.digest {
            return Err(wrong(format!("`{path}` is damaged")));
        }
        Ok(bytes)
    }

    fn of_layout(&self, entry: &Descriptor, docker: &[Entry]) -> Result<Image, Failure> {
        let (digest, manifest) = self.manifest(entry)?;
        let config = self.described(&manifest.config)?;
        let parsed = parse_config(&config)?;
        if parsed.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(wrong(format!("manifest {} and its config differ in their layers", digest.short())));
        }
        for (layer, diff_id) in manifest.layers.iter().zip(&parsed.rootfs.diff_ids) {
            self.layer_of_layout(layer, *diff_id)?;
        }
        self.engine.layers.resolve(&parsed.rootfs.diff_ids)?;
        let image_id = self.engine.store.put_blob(&config)?;
        Ok((digest, image_id, names_of(entry, image_id, docker)))
    }

    /// Stores the manifest that an entry of an index is, or the one for this machine that it lists.
    fn manifest(&self, entry: &Descriptor) -> Result<(Digest, Manifest), Failure> {
        let mut entry = entry.clone();
        for _depth in 0..2 {
            let bytes = self.described(&entry)?;
            let document = read_document(bytes, entry.media_type.as_str())
                .map_err(|why| wrong(format!("manifest {}: {why}", entry.digest.short())))?;
            match document.content {
                Content::Manifest(manifest) => {
                    return Ok((self.engine.store.put_blob(&document.bytes)?, *manifest));
                }
                Content::Index(index) => {
                    let host = Platform::host();
                    entry = select(&index, &host)
                        .ok_or_else(|| wrong(format!("it has nothing for {host}")))?
                        .clone();
                }
            }
        }
        Err(wrong("its index lists an index that lists an index".to_owned()))
    }

    fn layer_of_layout(&self, layer: &Descriptor, diff_id: DiffId) -> Result<(), Failure> {
        let store = &self.engine.store;
        let path = format!("blobs/sha256/{}", layer.digest.hex());
        let trees = Trees::of(self.engine);
        let is_plain = layer.digest == diff_id.0;
        if store.has_blob(&layer.digest) && store.layer_of(diff_id)?.is_some() {
            return Ok(());
        }
        let mut file = self.open(&path)?.ok_or_else(|| wrong(format!("`{path}` is missing")))?;
        let mut ingest = store.ingest()?;
        io::copy(&mut file, &mut ingest).map_err(|error| uncopied(self.engine, error))?;
        // First what it is: a layer is made only of the bytes that the manifest means.
        ingest.commit(Some(layer.digest))?;
        if store.layer_of(diff_id)?.is_none() {
            let mut blob = store.open_blob(&layer.digest)?;
            trees.import(&mut blob, diff_id).map_err(|error| Failure::of_boxed(&*error))?;
        }
        if !is_plain {
            let packed = shipway_store::Packed {
                digest: layer.digest,
                size: layer.size,
                media_type: layer.media_type.as_str().to_owned(),
                packer: String::new(),
            };
            store.record_packed(diff_id, &packed)?;
        }
        Ok(())
    }

    fn of_docker(&self, entry: &Entry) -> Result<Image, Failure> {
        let missing = |path: &str| wrong(format!("`{path}` is missing"));
        let config = self.document(&entry.config)?.ok_or_else(|| missing(&entry.config))?;
        let parsed = parse_config(&config)?;
        let layers = entry.layers.clone().unwrap_or_default();
        if parsed.rootfs.diff_ids.len() != layers.len() {
            return Err(wrong("manifest.json and the config differ in their layers".to_owned()));
        }
        let mut described = Vec::new();
        for (path, diff_id) in layers.iter().zip(&parsed.rootfs.diff_ids) {
            let mut file = self.open(path)?.ok_or_else(|| missing(path))?;
            described.push(take_in(self.engine, &mut file, Some(*diff_id))?.1);
        }
        self.engine.layers.resolve(&parsed.rootfs.diff_ids)?;
        let image_id = self.engine.store.put_blob(&config)?;
        let config = Descriptor::new(MediaType::OCI_CONFIG, image_id, config.len() as u64);
        let manifest = serde_json::to_vec(&Manifest::new(config, described))
            .map_err(|error| wrong(error.to_string()))?;
        let manifest = self.engine.store.put_blob(&manifest)?;
        Ok((manifest, image_id, tags_of(entry)))
    }
}

fn parse_config(bytes: &[u8]) -> Result<ImageConfig, Failure> {
    serde_json::from_slice(bytes).map_err(|error| wrong(format!("a config is not valid: {error}")))
}

fn tags_of(entry: &Entry) -> Vec<Reference> {
    entry.repo_tags.iter().flatten().filter_map(|name| name.parse().ok()).collect()
}

/// Returns what an image of a layout is called: as containerd says, as Docker says, or as a name that is whole.
fn names_of(entry: &Descriptor, image_id: Digest, docker: &[Entry]) -> Vec<Reference> {
    if let Some(name) = entry.annotations.get(CONTAINERD_NAME).and_then(|name| name.parse().ok()) {
        return vec![name];
    }
    let same = docker.iter().find(|known| known.config.contains(&image_id.hex()));
    let names = same.map(tags_of).unwrap_or_default();
    let whole = entry.annotations.get(REF_NAME).filter(|name| name.contains([':', '/']));
    match whole.and_then(|name| name.parse().ok()).filter(|_| names.is_empty()) {
        Some(name) => vec![name],
        None => names,
    }
}
