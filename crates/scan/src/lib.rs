//! From an image's files to the packages in it, and to a bill of materials.
//!
//! [`Inventory::read`] looks at a file system and lists what package managers and languages have installed: Debian's dpkg (also as
//! distroless images keep it), Alpine's apk, rpm, Python's distributions, Node's modules, and what programs of Go and Rust tell of
//! themselves. [`spdx`] writes that down.
//!
//! The files are an image's, so nothing about them is believed: they are read through a [`shipway_linux::Root`], no link leads out of
//! it, sizes, depths and numbers are bounded, each and in all, and of a database that is damaged as much is listed as can be read. What was left out is
//! among [`Inventory::notes`].
//!
//! What is not here: advisories; databases of rpm before 4.16.
#![forbid(unsafe_code)]

mod apk;
mod dpkg;
mod elf;
mod files;
mod inventory;
mod licence;
mod listing;
mod node;
mod package;
mod programs;
mod python;
mod release;
mod rpm;
mod spdx;

pub use inventory::Inventory;
pub use package::{Ecosystem, Package};
pub use release::Release;
pub use spdx::{Described, spdx};
