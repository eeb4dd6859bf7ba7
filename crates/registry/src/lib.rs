//! A registry on the store that builds, containers and pods use too, or on object storage.
//!
//! A repository has what was pushed to it: blobs lie once in the store, whoever pushed them, and a record says which repository has
//! them under which digest. A request that changes something holds a lease of the store, so that no collection takes away what it
//! relies on; an upload holds one until it ends.
//!
//! | module | what |
//! |---|---|
//! | `path` | from a request's path to what is meant; the grammar of names |
//! | `digest` | digests of both algorithms |
//! | `listen`, `connections`, `patience`, `tls` | connections to requests |
//! | `server`, `query`, `answer` | requests to answers |
//! | `guard` | who may do what: users, tokens |
//! | `through` | a cache of other registries |
//! | `metrics` | numbers for Prometheus |
//! | `keep` | where it is all kept: in the store, or in a bucket |
//! | `bucket` | object storage that several registries share |
//! | `blobs`, `range` | reading, deleting and mounting blobs |
//! | `archive` | layers of the store, sent as archives |
//! | `uploads` | content on its way, in one piece or in many |
//! | `manifests` | manifests and tags, and what a manifest must be |
//! | `listings` | tags, repositories, referrers |
//! | `names` | the names by which it may be asked |
//! | `refusal` | errors as clients expect them |
//!
//! Spec: distribution-spec 1.1 (<https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>).
#![forbid(unsafe_code)]

mod answer;
mod archive;
mod blobs;
mod bucket;
mod conditions;
mod connections;
mod digest;
mod guard;
mod keep;
mod listen;
mod listings;
mod manifests;
mod metrics;
mod names;
mod path;
mod patience;
mod query;
mod range;
mod refusal;
mod same_store;
mod server;
mod through;
mod tls;
mod uploads;

pub use archive::Archives;
pub use bucket::{Bucket, Collected, Objects};
pub use guard::{Guard, TokenService, TokenServiceError, Tokens, Users, UsersError};
pub use keep::Keep;
pub use listen::ServeError;
pub use server::{Access, AccessLog, Config, Registry};
pub use through::{Patience, Through, Upstream, UpstreamError, UpstreamList, UpstreamManifest, UpstreamPage};
pub use tls::{Tls, TlsError};

/// Reads a manifest that anybody may have sent.
#[cfg(fuzzing)]
pub fn fuzz_manifest(bytes: &[u8]) {
    if let Ok(said) = manifests::Said::read(bytes, None) {
        assert!(said.needed.iter().all(|digest| digest.parse::<digest::AnyDigest>().is_ok()));
    }
}

/// Reads ranges that anybody may have sent.
///
/// # Panics
/// A part is not within the whole.
#[cfg(fuzzing)]
pub fn fuzz_range(header: &str, size: u64) {
    if let range::Part::Bytes(first, last) = range::parse(Some(header), size) {
        assert!(first <= last && last < size);
    }
    assert!(range::of_piece(header).is_none_or(|(first, last)| first <= last));
}
