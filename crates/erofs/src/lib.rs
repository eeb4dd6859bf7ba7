//! Indexes in the EROFS format: a tar as a mountable tree.
//!
//! A layer is kept as its tar, uncompressed. An *index*, a small file beside it, has all names and attributes and says where
//! in the tar the contents are, so that the kernel mounts the layer without anything being unpacked.
//!
//! What is not here: reading the tar ([`Tree`] is filled by whoever does) and mounting (`linux`).
//!
//! Promises: the same tree gives the same bytes, always; what the format cannot hold is refused and never cut off; nothing recurses, so no
//! depth of directories takes the stack.
//!
//! Specs: Linux's `fs/erofs/erofs_fs.h` and `Documentation/filesystems/erofs.rst`.
#![forbid(unsafe_code)]

mod crc32c;
mod directory;
mod inode;
mod kind;
mod layout;
mod node;
mod superblock;
mod tree;
mod write;
mod xattr;

pub use kind::{Content, FileType};
pub use node::{Attributes, Metadata, NodeId};
pub use tree::Tree;
pub use write::write_index;
