//! From images to an archive that Docker, Podman and others read: an OCI layout with Docker's `manifest.json` beside it.

use std::collections::HashSet;
use std::io::{self, Read as _, Seek as _, Write};

use serde_json::{Value, json};
use shipway_distribution::{Packing, layer_type, pack_layer};
use shipway_layers::LayerStore as _;
use shipway_oci::{Descriptor, DiffId, Digest, Hasher, Manifest, MediaType, Reference};
use shipway_store::{CONFIG_LIMIT, Found, LayerRow, StoreError};

use super::{CONTAINERD_NAME, DOCUMENT_LIMIT, INDEX, MARKER, REF_NAME, path_of};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::pulls::Trees;

/// An image to be saved, and the names that it has in the archive.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) found: Found,
    pub(crate) names: Vec<Reference>,
    /// In what form layers are written, if not as they are kept.
    pub(crate) packing: Option<Packing>,
    /// What the archive's index says of it beside its names.
    pub(crate) annotations: Vec<(String, String)>,
}

/// What an archive has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Saved {
    /// The images, or the indexes that they are in, in the order in which they were wanted.
    pub(crate) images: Vec<Descriptor>,
    /// What the user has to know, a sentence each.
    pub(crate) notes: Vec<String>,
}

/// Writes an archive.
pub(crate) fn save(engine: &Engine, images: &[Wanted], out: &mut dyn Write) -> Result<Saved, Failure> {
    let mut archive =
        Archive { engine, tar: tar::Builder::new(out), written: HashSet::new(), notes: Vec::new() };
    let mut index = Vec::new();
    let mut docker = Vec::new();
    let mut saved = Vec::new();
    // Compat: docker and BuildKit, directories are entries of their own.
    for directory in ["blobs/", "blobs/sha256/"] {
        archive.directory(directory)?;
    }
    for image in images {
        let (mut entry, manifest) = archive.image(image)?;
        saved.push(entry.clone());
        entry.annotations.extend(image.annotations.iter().cloned());
        index.extend(entries(&entry, &image.names));
        docker.push(json!({
            "Config": path_of(&manifest.config.digest),
            "RepoTags": tags(&image.names),
            "Layers": manifest.layers.iter().map(|layer| path_of(&layer.digest)).collect::<Vec<_>>(),
        }));
    }
    let index = json!({ "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": index });
    archive.file(INDEX, index.to_string().as_bytes())?;
    archive.file("manifest.json", Value::Array(docker).to_string().as_bytes())?;
    archive.file(MARKER.0, MARKER.1.as_bytes())?;
    archive.tar.finish().map_err(unwritable)?;
    Ok(Saved { images: saved, notes: archive.notes })
}

/// Compat: docker, an image without a name has no tags.
fn tags(names: &[Reference]) -> Option<Vec<String>> {
    let tags: Vec<String> =
        names.iter().filter(|name| name.digest().is_none()).map(Reference::familiar).collect();
    (!tags.is_empty()).then_some(tags)
}

/// One entry of the index for each name.
fn entries(entry: &Descriptor, names: &[Reference]) -> Vec<Descriptor> {
    if names.is_empty() {
        return vec![entry.clone()];
    }
    let named = |name: &Reference| {
        let mut entry = entry.clone();
        entry.annotations.insert(CONTAINERD_NAME.to_owned(), name.to_string());
        if let Some(tag) = name.tag() {
            entry.annotations.insert(REF_NAME.to_owned(), tag.to_owned());
        }
        entry
    };
    names.iter().map(named).collect()
}

/// Spec: POSIX `pax`, ustar interchange format.
const BLOCK: u64 = 512;

struct Archive<'a> {
    engine: &'a Engine,
    tar: tar::Builder<&'a mut dyn Write>,
    written: HashSet<Digest>,
    notes: Vec<String>,
}

impl Archive<'_> {
    /// Writes an image, in its index if all of that is here, and returns what the archive's index says of it, and its manifest in the
    /// archive.
    fn image(&mut self, image: &Wanted) -> Result<(Descriptor, Manifest), Failure> {
        let store = self.engine.store.clone();
        let Some(index) = store.attested(&image.found) else {
            if image.found.index.is_some() {
                let name =
                    image.names.first().map_or_else(|| image.found.image_id.short(), Reference::familiar);
                self.notes.push(format!(
                    "{name}: what its index lists is not all here: the image is saved without it"
                ));
            }
            let (mut entry, there) = self.manifest(&image.found, image.packing)?;
            let config = store.config(&image.found.image_id)?;
            // In the usual words; none where the image says nothing.
            entry.platform = config.platform().to_string().parse().ok();
            return Ok((entry, there));
        };
        let (mut moves, mut own) = (Vec::new(), None);
        for listed in store.images_in(&index, &image.found)? {
            let (entry, there) = self.manifest(&listed, image.packing)?;
            moves.push((listed.manifest, entry));
            if listed.manifest == image.found.manifest {
                own = Some(there);
            }
        }
        let index = index.moved(&moves);
        for (document, bytes) in index.blobs.iter().chain(&index.manifests) {
            self.blob(&document.digest, bytes)?;
        }
        let entry = index.descriptor();
        self.blob(&entry.digest, &index.index)?;
        Ok((entry, own.ok_or(StoreError::NoBlob(image.found.manifest))?))
    }

    /// Writes what a manifest names, and the manifest as it is in the archive.
    fn manifest(
        &mut self,
        image: &Found,
        packing: Option<Packing>,
    ) -> Result<(Descriptor, Manifest), Failure> {
        let store = &self.engine.store;
        let bytes = store.read_blob(&image.manifest, DOCUMENT_LIMIT)?;
        let manifest = store.manifest(&image.manifest)?;
        let config = store.config(&image.image_id)?;
        let config_bytes = store.read_blob(&image.image_id, CONFIG_LIMIT)?;
        let kind = manifest.media_type.as_ref().map_or(MediaType::OCI_MANIFEST, MediaType::as_str).to_owned();
        let is_docker = kind == MediaType::DOCKER_MANIFEST;
        let mut layers = Vec::new();
        for (layer, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
            layers.push(match packing {
                Some(packing) => self.packed(layer, *diff_id, Packing { is_docker, ..packing })?,
                None => self.layer(layer, *diff_id, is_docker)?,
            });
        }
        self.blob(&image.image_id, &config_bytes)?;
        let there = Manifest { layers, ..manifest.clone() };
        let bytes = if there == manifest {
            bytes
        } else {
            serde_json::to_vec(&there).expect("a manifest is always JSON")
        };
        let digest = Digest::of(&bytes);
        self.blob(&digest, &bytes)?;
        Ok((Descriptor::new(kind, digest, bytes.len() as u64), there))
    }

    /// Writes a layer as it is wanted.
    fn packed(
        &mut self,
        layer: &Descriptor,
        diff_id: DiffId,
        packing: Packing,
    ) -> Result<Descriptor, Failure> {
        let trees = Trees::of(self.engine);
        let packed = pack_layer(&self.engine.store, &trees, (layer, diff_id), packing)?;
        let mut form = packed.descriptor;
        form.annotations.clone_from(&layer.annotations);
        if self.written.insert(form.digest) {
            let mut file = packed.file;
            file.rewind().map_err(unwritable)?;
            self.tar
                .append_data(&mut header(form.size), path_of(&form.digest), &mut file.take(form.size))
                .map_err(unwritable)?;
        }
        Ok(form)
    }

    /// Writes a layer as it is kept: compressed if it came so, else as its tar.
    fn layer(&mut self, layer: &Descriptor, diff_id: DiffId, is_docker: bool) -> Result<Descriptor, Failure> {
        let store = self.engine.store.clone();
        let packed = store.packed(diff_id)?;
        let packed = packed.iter().map(|packed| {
            Descriptor::new(layer_type(&packed.media_type, is_docker), packed.digest, packed.size)
        });
        let mut forms = [layer.clone()].into_iter().chain(packed);
        // A manifest may lie about a layer that was here already, and a blob may have been cut off.
        let is_whole = |form: Descriptor| {
            let blob = store.open_blob(&form.digest).ok()?;
            let length = blob.metadata().ok()?.len();
            (length == form.size).then_some((form, blob))
        };
        if let Some((form, mut blob)) = forms.find_map(is_whole) {
            if self.written.insert(form.digest) {
                self.tar
                    .append_data(&mut header(form.size), path_of(&form.digest), &mut blob)
                    .map_err(unwritable)?;
            }
            return Ok(form);
        }
        let row = store.layer_of(diff_id)?.ok_or_else(|| StoreError::NoBlob(layer.digest))?;
        let kind = if is_docker { MediaType::DOCKER_LAYER } else { MediaType::OCI_LAYER };
        let plain = Descriptor::new(kind, diff_id.0, row.size);
        if self.written.insert(diff_id.0) {
            // A tar says how long an entry is before its first byte; the layer is made as a stream.
            self.tar
                .append_data(&mut header(row.size), path_of(&diff_id.0), io::empty())
                .map_err(unwritable)?;
            self.export(&row, diff_id)?;
        }
        Ok(plain)
    }

    /// Writes the content of an entry whose header is written.
    fn export(&mut self, row: &LayerRow, diff_id: DiffId) -> Result<(), Failure> {
        let mut out =
            Checked { out: &mut **self.tar.get_mut(), hasher: Hasher::default(), size: 0, failure: None };
        let exported = self.engine.layers.export(&row.id, &mut out);
        if let Some(failure) = out.failure {
            return Err(unwritable(failure.into()));
        }
        exported?;
        let (found, size) = (DiffId(out.hasher.finish()), out.size);
        if found != diff_id || size != row.size {
            return Err(Failure::new(
                format!("layer {} cannot be made again from its files", diff_id.0.short()),
                "pull, import or build the image again, then save it",
            ));
        }
        let rest = usize::try_from(size.next_multiple_of(BLOCK) - size).unwrap_or_default();
        self.tar.get_mut().write_all(&vec![0; rest]).map_err(unwritable)
    }

    fn directory(&mut self, path: &str) -> Result<(), Failure> {
        let mut header = header(0);
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        self.tar.append_data(&mut header, path, io::empty()).map_err(unwritable)
    }

    fn blob(&mut self, digest: &Digest, bytes: &[u8]) -> Result<(), Failure> {
        if self.written.insert(*digest) { self.file(&path_of(digest), bytes) } else { Ok(()) }
    }

    fn file(&mut self, path: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.tar.append_data(&mut header(bytes.len() as u64), path, bytes).map_err(unwritable)
    }
}

/// The same archive for the same images: no times, no users.
fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Says why an archive is not whole.
pub(crate) fn unwritable(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::new(
            "the archive is not whole: nobody reads the rest of it",
            "see why what reads it ended, or write to a file: `shipway save -o FILE IMAGE`",
        );
    }
    Failure::new(
        format!("could not write the archive: {error}"),
        "name a place with more room: `shipway save -o FILE IMAGE`",
    )
}

/// Hashes and counts what is written.
struct Checked<'a> {
    out: &'a mut dyn Write,
    hasher: Hasher,
    size: u64,
    /// Why nothing more can be written.
    failure: Option<io::ErrorKind>,
}

impl Write for Checked<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes).inspect_err(|error| self.failure = Some(error.kind()))?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
