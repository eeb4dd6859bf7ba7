//! Workload controllers and the scheduler, as Kubernetes clients.
//!
//! Each controller is one module: a pure, level-triggered plan over what its informers hold, and a thin loop that
//! applies the plan. Nothing polls: work starts from watch events, from a time that an object itself names
//! (`minReadySeconds`, `progressDeadlineSeconds`) or from the back-off after an error. Controllers patch and never
//! replace, so fields that somebody else owns survive; every decision is made again from the whole state, so missed,
//! repeated and reordered events are harmless, and so is a second copy of this process.
//!
//! All of them share one informer per kind, see [`run_all`].
#![forbid(unsafe_code)]

mod clock;
mod collector;
mod deployment;
mod endpoints;
mod informer;
mod namespace;
mod owners;
mod queue;
mod replicaset;
mod resources;
mod root_ca;
mod run;
mod scheduler;
mod selector;
mod template_hash;

pub use run::{Settings, run_all};
