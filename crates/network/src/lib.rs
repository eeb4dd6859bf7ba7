//! Network namespaces, addresses, firewall rules.
//!
//! A *sandbox* is a network namespace with one address on a bridge of this host; containers are started inside it. The
//! kernel holds all of it: sandboxes outlive the process that made them, and any process with the same state folder
//! finds them again. Two state folders never share a device, an address or a rule.
//!
//! What is not here: published ports (the shim of a container owns the listening socket), names, Services.
//!
//! Promises: no address range is taken that an address or a route of the host uses; connections from sandboxes leave
//! with the host's address; nothing outside reaches a sandbox unasked; other firewalls are opened for the bridge and for
//! nothing else, and what was changed on the host is put back by [`Bridge::destroy`].
#![forbid(unsafe_code)]

mod bridge;
#[cfg(any(test, feature = "conformance"))]
mod conformance;
mod error;
mod firewalls;
mod host;
mod legacy;
mod resolv;
mod rules;
mod sandbox;
mod state;
mod subnet;

pub use bridge::{Bridge, BridgeConfig};
#[cfg(any(test, feature = "conformance"))]
pub use conformance::conformance;
pub use error::NetworkError;
pub use firewalls::Blocker;
pub use resolv::{ResolvConf, resolv_conf};
pub use sandbox::{Sandbox, SandboxNetwork};
pub use subnet::Subnet;
