//! The embedded cluster: one daemon per pair of roots, with API server, controllers and kubelet in it.
//!
//! A lock below the state root is held by the daemon for its whole life; a record beside it says where the daemon
//! answers and is there only while it does. Killing the daemon kills no pod: the next one takes them over. `cluster stop`
//! ends the daemon first and then, in its own process, the pods.

mod client;
mod control;
mod daemon;
mod end;
mod launch;
mod node;
mod parts;

pub(crate) use client::connect;
pub(crate) use control::{Control, DaemonRecord, State};
pub(crate) use daemon::{is_ready, run};
pub(crate) use end::end_daemon;
pub(crate) use launch::{Launched, ensure_running};
pub(crate) use parts::{NODE_NAME, Parts};
