//! From a directory to running pods: `up` and `down`.
//!
//! This crate knows what a directory wants to be (`shipway.toml`), how that is said to Kubernetes (a Deployment), and
//! how to keep a local port connected to it. It talks to the cluster as any other client would, by its API, so that the
//! same code works against a cluster somewhere else. It does not build images and does not start clusters: the command
//! line does, between [`Project::load`] and [`Deployed::apply`].
//!
//! Promises: applying twice changes nothing; a forward picks a ready pod for each connection, so it lives through a
//! rollout; nothing is left behind by an interrupted `up` but the objects of the application itself.
#![forbid(unsafe_code)]

mod deploy;
mod down;
mod forward;
mod logs;
mod manifest;
mod project;
mod rollout;
mod troubles;

pub use deploy::{DeployError, Deployed};
pub use down::{Removed, down};
pub use forward::{Forward, ForwardError};
pub use logs::{LogLine, LogOrder, follow_logs, pods_of};
pub use project::{BuildSection, LoadProjectError, Project, ReadinessSection};
pub use rollout::{RolloutError, RolloutStep, wait_for_rollout};
pub use troubles::wait_for_crashes;
