//! A generic Kubernetes API server: storage, watch, patch, tables, streams.
//!
//! One set of handlers serves every kind in [`KINDS`]; what differs between kinds is data (defaults, validation,
//! printer columns, merge keys). It does not run controllers, schedule, or start containers: those are clients.
//! Writes are answered after they are durable (Events excepted), and are visible to readers only then.
#![forbid(unsafe_code)]

pub mod defaults;
mod kinds;
pub mod merge_keys;
mod node_api;
pub mod openapi;
mod status;
pub mod streams;
pub mod table;
pub mod validate;

pub use kinds::{KINDS, Kind, Subresource, kind_of};
pub use node_api::{
    ByteStream, Dialled, ExecRequest, ExecSession, LogRequest, NoNode, NodeApi, NodeError, TerminalSize,
};
pub use status::{Cause, Status};
