//! Images in files: Docker's archives and OCI layouts.

mod files;
mod intake;
mod layout;
mod load;
mod save;

pub(crate) use intake::take_in;
pub(crate) use layout::LayoutImage;
pub(crate) use load::{Loaded, load};
pub(crate) use save::{Wanted, save};

/// Name of the index of a layout. Spec: image-spec image-layout.md.
const INDEX: &str = "index.json";

/// Keys of an index that say what an image is called. Compat: containerd; image-spec annotations.md.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Largest document in an archive.
pub(crate) const DOCUMENT_LIMIT: u64 = 4 << 20;
