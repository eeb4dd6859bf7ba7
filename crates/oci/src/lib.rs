//! OCI and Docker documents and names; no I/O.
//!
//! Everything here is a value: parsed once, valid afterwards. The crate does not read files, does not talk
//! to registries and does not decide policy. Documents keep the fields that they do not know, so that a
//! manifest or config written by another tool survives a round trip.
//!
//! Specs: image-spec v1.1 (`manifest.md`, `image-index.md`, `config.md`, `descriptor.md`), the Docker image
//! spec v1.3 for the fields that Docker adds, and `distribution/reference` for names.
#![forbid(unsafe_code)]

mod address;
mod attestation;
mod chain;
mod config;
mod descriptor;
mod digest;
mod hasher;
mod hashing;
mod json;
mod manifest;
mod media_type;
mod platform;
mod purl;
mod reference;
mod time;

pub use address::{without_credentials, without_credentials_in};
pub use attestation::{Attested, Statement, Subject, is_attestation, is_only_of, predicate_type};
pub use chain::{ChainId, DiffId, chain_id};
pub use config::{ContainerConfig, Healthcheck, HistoryEntry, ImageConfig, RootFs};
pub use descriptor::Descriptor;
pub use digest::{Digest, ParseDigestError};
pub use hasher::Hasher;
pub use hashing::{Beside, Hashing, HashingBeside};
pub use json::{check_values, parse_json};
pub use manifest::{Index, Manifest};
pub use media_type::MediaType;
pub use platform::{ParsePlatformError, Platform};
pub use purl::{PackageUrl, image_purl, layout_purl};
pub use reference::{ParseReferenceError, Reference};
pub use time::rfc3339;
