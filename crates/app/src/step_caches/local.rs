//! Caches in directories, which are OCI layouts. Spec: image-spec image-layout.md.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde_json::json;
use shipway_build::{CacheContent, CacheExport, CacheMode, CacheSource, CacheTarget, SeamError};
use shipway_distribution::{Content, Document, known_forms, pack_layer, read_document};
use shipway_layers::{LayerId, LayerStore as _};
use shipway_oci::{Descriptor, DiffId, Digest, Hashing, Index, MediaType};

use super::documents::{DOCUMENT_LIMIT, Documents, artifact, load};
use super::{CacheError, Outgoing, Style, stargz};
use crate::archive::{self, BLOBS, INDEX, MARKER, REF_NAME};
use crate::engine::Engine;
use crate::pulls::Trees;
use crate::regular;

/// Which document of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Tag(String),
    Digest(Digest),
}

/// A cache to look into.
#[derive(Debug)]
pub(crate) struct LocalSource {
    engine: Engine,
    directory: PathBuf,
    which: Which,
}

impl LocalSource {
    pub(crate) fn new(engine: &Engine, directory: PathBuf, which: Which) -> Self {
        Self { engine: engine.clone(), directory, which }
    }

    /// Opens a blob that must have so many bytes.
    fn open(&self, descriptor: &Descriptor) -> Result<File, SeamError> {
        let path = blob_path(&self.directory, &descriptor.digest);
        let file = open(&path)?;
        let found = file.metadata().map_err(|error| unreadable(&path, &error))?;
        if found.len() != descriptor.size {
            let what = format!("`{}` does not have {} bytes", path.display(), descriptor.size);
            return Err(CacheError::seam(what, CONTENT_HINT));
        }
        Ok(file)
    }
}

const CONTENT_HINT: &str = "fill it anew: --cache-to type=local,dest=DIRECTORY";
const SOURCE_HINT: &str = "name a directory that --cache-to type=local,dest=DIRECTORY has written";

fn unreadable(path: &Path, error: &io::Error) -> SeamError {
    CacheError::seam(format!("could not read `{}`: {error}", path.display()), SOURCE_HINT)
}

fn unwritable(path: &Path, error: &io::Error) -> SeamError {
    let hint = "name a directory that you may write, on a disk with room: type=local,dest=DIRECTORY";
    CacheError::seam(format!("could not write `{}`: {error}", path.display()), hint)
}

fn blob_path(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join(archive::path_of(digest))
}

fn no_file(path: &Path) -> SeamError {
    CacheError::seam(format!("`{}` is no file", path.display()), SOURCE_HINT)
}

fn open(path: &Path) -> Result<File, SeamError> {
    regular::open(path).map_err(|error| unreadable(path, &error))?.ok_or_else(|| no_file(path))
}

/// Reads a document of at most [`DOCUMENT_LIMIT`] bytes.
fn read(path: &Path) -> Result<Vec<u8>, SeamError> {
    let mut bytes = Vec::new();
    open(path)?.take(DOCUMENT_LIMIT + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > DOCUMENT_LIMIT {
        let what = format!("`{}` is larger than {DOCUMENT_LIMIT} bytes", path.display());
        return Err(CacheError::seam(what, CONTENT_HINT));
    }
    Ok(bytes)
}

/// Reads what a directory lists; an empty one lists nothing.
fn read_index(directory: &Path) -> Result<Option<Index>, SeamError> {
    let path = directory.join(INDEX);
    if !path.exists() && directory.is_dir() {
        return Ok(None);
    }
    let wrong = |why: String| CacheError::seam(format!("`{}`: {why}", path.display()), CONTENT_HINT);
    match read_document(read(&path)?, MediaType::OCI_INDEX).map_err(wrong)?.content {
        Content::Index(index) => Ok(Some(index)),
        Content::Manifest(_) => Err(wrong("it is no index".to_owned())),
    }
}

impl Documents for LocalSource {
    fn named(&self) -> Result<Document, SeamError> {
        let digest = match &self.which {
            Which::Digest(digest) => *digest,
            Which::Tag(tag) => {
                let index = read_index(&self.directory)?;
                let is_it = |entry: &&Descriptor| entry.annotations.get(REF_NAME) == Some(tag);
                let found = index.as_ref().and_then(|index| index.manifests.iter().rev().find(is_it));
                let none = || {
                    let what = format!("`{}` has nothing with the tag `{tag}`", self.directory.display());
                    CacheError::seam(what, CONTENT_HINT)
                };
                found.ok_or_else(none)?.digest
            }
        };
        let path = blob_path(&self.directory, &digest);
        let wrong = |why: String| CacheError::seam(format!("`{}`: {why}", path.display()), CONTENT_HINT);
        let document = read_document(read(&path)?, "").map_err(wrong)?;
        if document.digest != digest {
            return Err(wrong(format!("its digest is {}", document.digest)));
        }
        Ok(document)
    }

    fn listed(&self, descriptor: &Descriptor) -> Result<Document, SeamError> {
        let bytes = self.blob(descriptor)?;
        read_document(bytes, descriptor.media_type.as_str())
            .map_err(|why| CacheError::seam(format!("a manifest in it is wrong: {why}"), CONTENT_HINT))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SeamError> {
        let bytes = read(&blob_path(&self.directory, &descriptor.digest))?;
        if Digest::of(&bytes) != descriptor.digest {
            let what = format!("blob {} has another digest", descriptor.digest.short());
            return Err(CacheError::seam(what, CONTENT_HINT));
        }
        Ok(bytes)
    }
}

impl CacheSource for LocalSource {
    fn name(&self) -> String {
        self.directory.display().to_string()
    }

    fn load(&self) -> Result<CacheContent, SeamError> {
        load(self)
    }

    fn fetch(&self, blob: &Descriptor, diff_id: DiffId) -> Result<LayerId, SeamError> {
        let mut hashing = Hashing::new(self.open(blob)?);
        let plain = shipway_layers::decompress(Box::new(&mut hashing)).map_err(SeamError::new)?;
        let mut tar = stargz::made(blob, plain);
        // What is kept has its diff ID, whatever the blob is.
        let layer = self.engine.layers.import(&mut *tar, Some(diff_id)).map_err(SeamError::new)?;
        drop(tar);
        let path = blob_path(&self.directory, &blob.digest);
        io::copy(&mut hashing, &mut io::sink()).map_err(|error| unreadable(&path, &error))?;
        if hashing.digest() != blob.digest {
            let what = format!("blob {} has another digest", blob.digest.short());
            return Err(CacheError::seam(what, CONTENT_HINT));
        }
        Ok(layer.id)
    }
}

/// A cache to fill.
#[derive(Debug)]
pub(crate) struct LocalTarget {
    engine: Engine,
    trees: Trees,
    directory: PathBuf,
    tag: String,
    style: Style,
}

impl LocalTarget {
    pub(crate) fn new(engine: &Engine, directory: PathBuf, tag: String, style: Style) -> Self {
        Self { engine: engine.clone(), trees: Trees::of(engine), directory, tag, style }
    }

    /// Writes a layer unless it is there, in one of the forms that are known of it.
    fn layer(
        &self,
        layers: &Outgoing<'_>,
        (layer, diff_id): (&Descriptor, DiffId),
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Descriptor, SeamError> {
        let store = &self.engine.store;
        let (layer, diff_id) = &stargz::outgoing(store, layers, (layer, diff_id), self.style.stargz)?;
        let (packing, diff_id) = (self.style.packing, *diff_id);
        let known = known_forms(store, (layer, diff_id), packing).map_err(SeamError::new)?;
        let is_there = |form: &&Descriptor| {
            let path = blob_path(&self.directory, &form.digest);
            fs_err::metadata(path).is_ok_and(|found| found.len() == form.size)
        };
        if let Some(form) = known.iter().find(is_there) {
            say(&format!("writing layer {}: it is there", diff_id.0));
            return Ok(form.clone());
        }
        let packed = pack_layer(store, layers, (layer, diff_id), packing).map_err(SeamError::new)?;
        let mut file = packed.file;
        let path = blob_path(&self.directory, &packed.descriptor.digest);
        write(&path, |out| {
            io::Seek::rewind(&mut file)?;
            io::copy(&mut file, out).map(drop)
        })?;
        say(&format!("writing layer {} done", diff_id.0));
        Ok(packed.descriptor)
    }

    /// Gives a manifest its tag; what had it before is listed no more.
    fn name_it(&self, manifest: Descriptor) -> Result<(), SeamError> {
        // Compat: BuildKit, several builds that fill one directory hold this file.
        let lock = self.lock("index.json.lock")?;
        lock.lock().map_err(|error| unwritable(&self.directory, &error))?;
        let index = read_index(&self.directory)?;
        let mut manifests = index.map(|index| index.manifests).unwrap_or_default();
        manifests.retain(|entry| {
            entry.annotations.get(REF_NAME).map_or(entry.digest != manifest.digest, |tag| *tag != self.tag)
        });
        let mut entry = manifest;
        entry.annotations.insert(REF_NAME.to_owned(), self.tag.clone());
        manifests.push(entry);
        let index = json!({ "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": manifests });
        let path = self.directory.join(INDEX);
        shipway_store::atomic_write(&path, index.to_string().as_bytes(), 0o644)
            .map_err(|error| unwritable(&path, &error))
    }

    /// Opens a file to lock.
    fn lock(&self, name: &str) -> Result<File, SeamError> {
        let path = self.directory.join(name);
        if path.metadata().is_ok_and(|found| !found.is_file()) {
            return Err(no_file(&path));
        }
        let lock = File::options().write(true).create(true).truncate(false).open(&path);
        lock.map_err(|error| unwritable(&path, &error))
    }

    /// Removes the blobs that nothing listed needs, whoever listed it. Compat: BuildKit, `reset=true`.
    fn forget_others(&self) -> Result<(), SeamError> {
        let mut needed = HashSet::new();
        let mut listed = read_index(&self.directory)?.map(|index| index.manifests).unwrap_or_default();
        while let Some(entry) = listed.pop() {
            let path = blob_path(&self.directory, &entry.digest);
            if !needed.insert(entry.digest.hex())
                || !(entry.media_type.is_manifest() || entry.media_type.is_index())
            {
                continue;
            }
            // An image of another platform need not be here.
            if !path.exists() {
                continue;
            }
            let wrong = |why: String| CacheError::seam(format!("`{}`: {why}", path.display()), CONTENT_HINT);
            let document = read_document(read(&path)?, entry.media_type.as_str()).map_err(wrong)?;
            match document.content {
                Content::Manifest(manifest) => {
                    needed.extend(
                        [&manifest.config].into_iter().chain(&manifest.layers).map(|blob| blob.digest.hex()),
                    );
                }
                Content::Index(index) => listed.extend(index.manifests),
            }
        }
        let blobs = self.directory.join(BLOBS);
        let failed = |error: io::Error| unwritable(&blobs, &error);
        for entry in fs_err::read_dir(&blobs).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            // Other builders' unfinished files have names that are no digests.
            if name.len() == 64 && !needed.contains(name) {
                fs_err::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// Writes a file that is there whole or not at all.
fn write(path: &Path, content: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), SeamError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    // What a program left that was killed and had this number.
    drop(fs_err::remove_file(&part));
    let opened = File::options().write(true).create_new(true).open(&part);
    let written = opened.and_then(|mut file| {
        content(&mut file)?;
        file.flush()?;
        fs_err::rename(&part, path)
    });
    written.map_err(|error| {
        // The first error is the one that matters.
        drop(fs_err::remove_file(&part));
        unwritable(path, &error)
    })
}

impl CacheTarget for LocalTarget {
    fn name(&self) -> String {
        self.directory.display().to_string()
    }

    fn title(&self) -> String {
        "exporting cache to client directory".to_owned()
    }

    fn mode(&self) -> CacheMode {
        self.style.mode
    }

    fn ignores_errors(&self) -> bool {
        self.style.ignore_error
    }

    fn put(&self, export: &CacheExport<'_>, say: &(dyn Fn(&str) + Sync)) -> Result<(), SeamError> {
        let blobs = self.directory.join(BLOBS);
        fs_err::create_dir_all(&blobs).map_err(|error| unwritable(&blobs, &error))?;
        // Who forgets others waits until nobody fills the directory: what he fills it with is not listed yet.
        let filling = self.lock("blobs.lock")?;
        filling.lock_shared().map_err(|error| unwritable(&self.directory, &error))?;
        let outgoing = Outgoing { trees: &self.trees, export };
        let layers = export.layers.iter();
        let layers = layers.map(|(layer, diff_id)| self.layer(&outgoing, (layer, *diff_id), say));
        let artifact = artifact(self.style.form, export, &layers.collect::<Result<Vec<_>, _>>()?);
        for bytes in [&artifact.config, &artifact.manifest] {
            write(&blob_path(&self.directory, &Digest::of(bytes)), |out| out.write_all(bytes))?;
        }
        write(&self.directory.join(MARKER.0), |out| out.write_all(MARKER.1.as_bytes()))?;
        let digest = Digest::of(&artifact.manifest);
        self.name_it(Descriptor::new(artifact.media_type, digest, artifact.manifest.len() as u64))?;
        if self.style.reset {
            filling.lock().map_err(|error| unwritable(&self.directory, &error))?;
            self.forget_others()?;
        }
        say(&format!("writing cache manifest {digest} done"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use shipway_linux::Root;

    use super::*;

    #[test]
    fn an_index_that_is_no_file_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read_index(dir.path()).unwrap().is_none());
        Root::open(dir.path()).unwrap().make_node(INDEX, 0o010_644, 0).unwrap();
        let wanted = format!("`{}` is no file", dir.path().join(INDEX).display());
        assert_eq!(read_index(dir.path()).unwrap_err().to_string(), wanted);
    }
}
