//! A registry on object storage: what one on a store does, and what several do that share a bucket.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod failing;
mod keep;
#[path = "../it/listings.rs"]
mod listings;
#[path = "../it/manifests.rs"]
mod manifests;
#[path = "../it/pulling.rs"]
mod pulling;
#[path = "../it/pushing.rs"]
mod pushing;
mod shared;
#[path = "../it/world.rs"]
mod world;
