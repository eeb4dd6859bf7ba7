//! The seam: what the rest of the program may expect of a network.

use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::error::NetworkError;

/// A network namespace that containers are started in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// What it was created as.
    pub id: String,
    /// File to join its namespace by.
    pub netns: PathBuf,
    /// Its address.
    pub address: Ipv4Addr,
    /// Bits of its network.
    pub prefix: u8,
    /// The host's address in the same network, which everything else is sent to.
    pub gateway: Ipv4Addr,
    /// Hardware address.
    pub mac: [u8; 6],
}

/// Sandboxes of one network. Calls block for some milliseconds; many threads and processes may call at once.
pub trait SandboxNetwork: Debug + Send + Sync {
    /// Makes a sandbox, or returns the one that has this id.
    ///
    /// - It has an address that no other sandbox has, and a loopback device that is on.
    /// - The id is 1 to 128 letters, digits, `-`, `_` and `.`, the first of them a letter or digit; any other is refused.
    /// - After an error nothing of it is left.
    fn create(&self, id: &str) -> Result<Sandbox, NetworkError>;

    /// Takes a sandbox away; one that is not there is no error.
    ///
    /// - Its address is not given out again before all others have been.
    /// - Processes that are still inside keep the namespace, but nothing finds it any more.
    fn remove(&self, id: &str) -> Result<(), NetworkError>;

    /// Returns all sandboxes, sorted by id.
    fn list(&self) -> Result<Vec<Sandbox>, NetworkError>;
}
