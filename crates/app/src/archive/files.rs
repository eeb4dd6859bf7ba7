//! Files of images, and the images of an OCI layout among them. Nothing leads out of their directory, and nothing is believed that is
//! not what its digest says.

use std::fmt::Display;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use shipway_distribution::{Content, LayerSink as _, read_document, select};
use shipway_layers::{Budget, LayerStore as _};
use shipway_linux::Root;
use shipway_oci::{
    Attested, Descriptor, DiffId, Digest, ImageConfig, Index, Manifest, Platform, check_values,
};
use shipway_store::{ATTESTATION_LIMIT, CONFIG_LIMIT, Found, LayerId, StoreError};

use super::intake::{BUFFER, is_full, uncopied};
use super::{DOCUMENT_LIMIT, path_of};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::pulls::Trees;

/// The files of images: an OCI layout, or what Docker has instead.
pub(super) struct Files<'a> {
    pub(super) engine: &'a Engine,
    root: Root,
    /// What is wanted of an index.
    platform: Platform,
    /// The directory that somebody named; else they came in an archive.
    named: Option<PathBuf>,
    _unpacked: Option<Unpacked>,
}

/// A directory that goes with the value.
struct Unpacked(PathBuf);

impl Drop for Unpacked {
    fn drop(&mut self) {
        // What is left is removed by the next collection.
        drop(fs_err::remove_dir_all(&self.0));
    }
}

impl<'a> Files<'a> {
    /// Unpacks an archive, compressed or not.
    pub(super) fn unpack(
        engine: &'a Engine,
        archive: &mut (dyn Read + Send),
        platform: Platform,
    ) -> Result<Self, Failure> {
        let unique = LayerId::unique(0);
        let dir = engine.store.tmp().join(format!("load-{unique}"));
        let unusable = |error: io::Error| StoreError::of_write(&dir, error);
        std::fs::DirBuilder::new().mode(0o700).create(&dir).map_err(unusable)?;
        let root = Root::open(&dir).map_err(unusable)?;
        let files = Self { engine, root, platform, named: None, _unpacked: Some(Unpacked(dir)) };
        let mut plain = shipway_layers::decompress(Box::new(archive))?;
        shipway_layers::unpack(&files.root, &mut *plain, Budget::default())?;
        Ok(files)
    }

    /// Takes a directory as it is.
    pub(super) fn open_directory(
        engine: &'a Engine,
        dir: &Path,
        platform: Platform,
    ) -> Result<Self, Failure> {
        let root = Root::open(dir).map_err(|error| {
            Failure::new(
                format!("cannot read the OCI layout `{}`: {error}", dir.display()),
                "name the directory that has its index.json",
            )
        })?;
        Ok(Self { engine, root, platform, named: Some(dir.to_owned()), _unpacked: None })
    }

    /// Says that the files are not what they should be.
    pub(super) fn wrong(&self, what: impl Display) -> Failure {
        match &self.named {
            None => Failure::new(
                format!("the archive holds no images: {what}"),
                "`shipway load` reads what `save` wrote; a root file system is read by `shipway import`",
            ),
            Some(dir) => Failure::new(
                format!("`{}` is no OCI layout that can be used: {what}", dir.display()),
                "`shipway build -o type=oci,tar=false,dest=DIR`, skopeo and others write one",
            ),
        }
    }

    fn unreadable(&self, error: io::Error) -> Failure {
        match &self.named {
            Some(_) if !is_full(&error) => self.wrong(format!("it cannot be read: {error}")),
            _ => uncopied(self.engine, error),
        }
    }

    /// Reads a small file; `None` if it is not there.
    pub(super) fn document(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        self.document_within(path, DOCUMENT_LIMIT)
    }

    pub(super) fn document_within(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, Failure> {
        let Some(file) = self.open(path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| self.unreadable(error))?;
        if bytes.len() as u64 > limit {
            return Err(self.wrong(format!("`{path}` is larger than {limit} bytes")));
        }
        Ok(Some(bytes))
    }

    pub(super) fn open(&self, path: &str) -> Result<Option<std::fs::File>, Failure> {
        match self.root.open_regular(Path::new(path)) {
            Ok(Some(file)) => Ok(Some(file)),
            Ok(None) => Err(self.wrong(format!("`{path}` is no file"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unreadable(error)),
        }
    }

    /// Reads a document that a descriptor names, which it must be.
    fn described(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Failure> {
        self.described_within(descriptor, DOCUMENT_LIMIT)
    }

    fn described_within(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, Failure> {
        let path = path_of(&descriptor.digest);
        let bytes =
            self.document_within(&path, limit)?.ok_or_else(|| self.wrong(format!("`{path}` is missing")))?;
        if Digest::of(&bytes) != descriptor.digest {
            return Err(self.wrong(format!("`{path}` is damaged")));
        }
        Ok(bytes)
    }

    /// Reads an index.
    pub(super) fn index(&self, bytes: &[u8]) -> Result<Index, Failure> {
        serde_json::from_slice(bytes)
            .map_err(|error| self.wrong(format!("its index.json is not valid: {error}")))
    }

    /// Reads the config of an image.
    pub(super) fn config(&self, bytes: &[u8]) -> Result<ImageConfig, Failure> {
        let read = check_values(bytes).and_then(|()| serde_json::from_slice(bytes));
        read.map_err(|error| self.wrong(format!("a config is not valid: {error}")))
    }

    /// Stores an image that an entry of an index describes, without a name.
    pub(super) fn image(&self, entry: &Descriptor) -> Result<Found, Failure> {
        let (digest, manifest, index) = self.manifest(entry)?;
        let image_id = self.take(&digest, &manifest)?;
        let index = index.map(|index| self.attested(index, &digest)).transpose()?.flatten();
        Ok(Found { index, ..Found::new(image_id, digest) })
    }

    /// Stores an image for the platform, and nothing that its index lists beside it.
    pub(super) fn image_alone(&self, entry: &Descriptor) -> Result<Found, Failure> {
        let (digest, manifest, _index) = self.manifest(entry)?;
        Ok(Found::new(self.take(&digest, &manifest)?, digest))
    }

    /// Stores what a manifest names, and returns the digest of its config.
    fn take(&self, digest: &Digest, manifest: &Manifest) -> Result<Digest, Failure> {
        let config = self.described_within(&manifest.config, CONFIG_LIMIT)?;
        let parsed = self.config(&config)?;
        if parsed.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(
                self.wrong(format!("manifest {} and its config differ in their layers", digest.short()))
            );
        }
        for (layer, diff_id) in manifest.layers.iter().zip(&parsed.rootfs.diff_ids) {
            self.layer_of_layout(layer, *diff_id)?;
        }
        self.engine.layers.resolve(&parsed.rootfs.diff_ids)?;
        Ok(self.engine.store.put_config(&config)?)
    }

    /// Stores what an index lists beside an image, those for other platforms too, and the index, if it is all there.
    fn attested(&self, index: Vec<u8>, image: &Digest) -> Result<Option<Digest>, Failure> {
        let read = |listed: &Descriptor| self.described_within(listed, ATTESTATION_LIMIT).ok();
        let has = |listed: &Digest| listed == image || self.other(listed).is_ok_and(|is_there| is_there);
        let attested = Attested::read(index, has, read);
        attested.map(|attested| Ok(self.engine.store.put_attested(&attested)?)).transpose()
    }

    /// Stores an image for another platform; `false` if the archive does not have it, as most have one only.
    fn other(&self, manifest: &Digest) -> Result<bool, Failure> {
        let Some(bytes) = self.document_within(&path_of(manifest), DOCUMENT_LIMIT)? else { return Ok(false) };
        if Digest::of(&bytes) != *manifest {
            return Ok(false);
        }
        let Ok(parsed) = serde_json::from_slice::<Manifest>(&bytes) else { return Ok(false) };
        self.take(manifest, &parsed)?;
        self.engine.store.put_blob(&bytes)?;
        Ok(true)
    }

    /// Stores the manifest that an entry of an index is, or the one for the platform that it lists; the index comes with it.
    fn manifest(&self, entry: &Descriptor) -> Result<(Digest, Manifest, Option<Vec<u8>>), Failure> {
        let mut entry = entry.clone();
        let mut listed_in = None;
        for _depth in 0..2 {
            let bytes = self.described(&entry)?;
            let document = read_document(bytes, entry.media_type.as_str())
                .map_err(|why| self.wrong(format!("manifest {}: {why}", entry.digest.short())))?;
            match document.content {
                Content::Manifest(manifest) => {
                    return Ok((self.engine.store.put_blob(&document.bytes)?, *manifest, listed_in));
                }
                Content::Index(index) => {
                    let wanted = &self.platform;
                    entry = select(&index, wanted)
                        .ok_or_else(|| self.wrong(format!("it has nothing for {wanted}")))?
                        .clone();
                    listed_in = Some(document.bytes);
                }
            }
        }
        Err(self.wrong("its index lists an index that lists an index".to_owned()))
    }

    fn layer_of_layout(&self, layer: &Descriptor, diff_id: DiffId) -> Result<(), Failure> {
        let store = &self.engine.store;
        let path = path_of(&layer.digest);
        let trees = Trees::of(self.engine);
        let is_plain = layer.digest == diff_id.0;
        if store.has_blob(&layer.digest) && store.layer_of(diff_id)?.is_some() {
            return Ok(());
        }
        let mut file = self.open(&path)?.ok_or_else(|| self.wrong(format!("`{path}` is missing")))?;
        if file.metadata().is_ok_and(|found| found.len() != layer.size) {
            return Err(
                self.wrong(format!("`{path}` does not have {} bytes, as its manifest says", layer.size))
            );
        }
        let mut ingest = store.ingest()?;
        io::copy(&mut file, &mut ingest).map_err(|error| self.unreadable(error))?;
        // First what it is: a layer is made only of the bytes that the manifest means.
        ingest.commit(Some(layer.digest))?;
        if store.layer_of(diff_id)?.is_none() {
            let mut blob = BufReader::with_capacity(BUFFER, store.open_blob(&layer.digest)?);
            trees.import(&mut blob, diff_id, None).map_err(|error| Failure::of_boxed(&*error))?;
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
        trees.publish(&[diff_id]).map_err(|error| Failure::of_boxed(&*error))
    }
}
