//! A generic Kubernetes API server: storage, watch, patch, tables, streams.
//!
//! One set of handlers serves every kind in [`KINDS`]; what differs between kinds is data (defaults, validation,
//! printer columns, merge keys). It does not run controllers, schedule, or start containers: those are clients.
//! Writes are answered after they are durable (Events excepted), and are visible to readers only then.
#![forbid(unsafe_code)]

// What tests share with examples names this crate from outside.
#[cfg(test)]
extern crate self as shipway_apiserver;

mod admission;
mod authz;
mod body;
mod bootstrap;
mod call;
mod client;
mod convert;
pub mod defaults;
mod discovery;
mod dispatch;
mod fields;
mod handlers;
mod identity;
mod kinds;
mod listen;
pub mod merge_keys;
mod node_api;
mod object;
pub mod openapi;
mod patch;
mod pki;
mod protobuf;
mod quantity;
mod respond;
mod selector;
mod server;
mod status;
mod storage;
mod streams;
pub mod table;
mod token;
pub mod validate;

/// The Kubernetes version whose API is served, as `/version` and the node name it.
pub const KUBERNETES_VERSION: &str = "v1.36.3+shipway";

pub use client::ClientService;
pub use identity::Identity;
pub use kinds::{KINDS, Kind, Subresource, kind_of};
pub use listen::ListenError;
pub use node_api::{
    ByteStream, Dialled, ExecRequest, ExecSession, LogRequest, NoNode, NodeApi, NodeError, TerminalSize,
};
pub use pki::PkiError;
pub use server::{ApiServer, Config, OpenError};
pub use status::Status;
pub use storage::StorageError;
