//! Tests of the whole program.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod attestations;
mod bucket;
mod budget;
mod builder;
mod cluster;
mod consistent;
mod contexts;
mod disks;
mod docker_flags;
mod documents;
mod examples;
mod flags;
mod fsck;
mod hostile;
mod interrupted;
mod kept_layers;
mod layers;
mod ledger;
mod listing;
mod logs;
mod machine;
mod mistakes;
mod names;
mod network;
mod newcomer;
mod outputs;
mod platforms;
mod progress;
mod provenance;
mod registries;
mod repositories;
mod reproducible;
mod running;
mod shared_steps;
mod soak;
mod steps;
mod terminal;
