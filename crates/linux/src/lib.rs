//! Kernel calls; the only crate with `unsafe`.
//!
//! Every other crate reaches the kernel through the safe functions here. Nothing in it decides policy: it
//! makes one call, or one short sequence that belongs together, and says which step failed.
#![expect(unsafe_code, reason = "the one crate that talks to the kernel")]

mod mount_attr;
mod overlay;
mod root;
mod sync;

pub use mount_attr::set_read_only;
pub use overlay::Overlay;
pub use root::{Kind, Metadata, Root};
pub use rustix::fs::OFlags as OpenFlags;
pub use sync::{filesystem_magic, free_bytes, sync_directory, sync_filesystem};
