//! Images in files: Docker's archives and OCI layouts.

mod files;
mod intake;
mod layout;
mod load;
mod save;

use shipway_oci::Digest;

pub(crate) use intake::take_in;
pub(crate) use layout::LayoutImage;
pub(crate) use load::{Loaded, load, load_directory};
pub(crate) use save::{Saved, Wanted, save, unwritable};

/// Files of a layout: its index, and what says that it is one, with what is in that. Spec: image-spec image-layout.md.
pub(crate) const INDEX: &str = "index.json";
pub(crate) const MARKER: (&str, &str) = ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);

/// Keys of an index that say what an image is called. Compat: containerd; image-spec annotations.md.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Returns where a layout has a blob.
pub(crate) fn path_of(digest: &Digest) -> String {
    format!("{BLOBS}/{}", digest.hex())
}

/// Where it has all of them.
pub(crate) const BLOBS: &str = "blobs/sha256";

/// Largest document in an archive.
pub(crate) const DOCUMENT_LIMIT: u64 = 4 << 20;
