//! What the host's apt is told: where packages come from, who signs them, and what is checked.

mod conf;
mod deb822;
mod host;
mod sources;

pub(crate) use deb822::paragraphs;
pub(crate) use host::HostApt;
pub(crate) use sources::SignedBy;
#[cfg(test)]
pub(crate) use sources::Source;
