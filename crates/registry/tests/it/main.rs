//! The registry as a client sees it, group by group of distribution-spec.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod guard;
mod keep;
mod listings;
mod manifests;
mod pulling;
mod pushing;
mod server;
mod soak;
mod store;
mod through;
mod world;
