//! How lists and maps merge, per kind and path.
//!
//! A path is the field names from the root joined by dots, without list positions or map keys:
//! `spec.template.spec.containers.ports`. Below a map with free keys nothing is looked up.

use crate::Kind;

/// How a list merges in a strategic merge patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strategy {
    /// Entries with the same value here are the same entry; `None` is a list of plain values.
    pub merge_key: Option<&'static str>,
    /// Whether the list merges at all (`patchStrategy: merge`).
    pub merge: bool,
    /// Whether fields missing in the patch go away (`patchStrategy: retainKeys`).
    pub retain_keys: bool,
}

/// How a field merges in a server-side apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// A list whose entries are identified by these fields.
    MapList(&'static [&'static str]),
    /// A list of plain values without an order.
    Set,
    /// A list, map or structure that is one value.
    Atomic,
}

/// Returns how `path` merges in a strategic merge patch; `None` replaces lists and merges maps.
pub fn strategic(_kind: &Kind, _path: &str) -> Option<Strategy> {
    None
}

/// Returns how `path` merges in a server-side apply; `None` is atomic for lists and granular for maps.
pub fn apply(_kind: &Kind, _path: &str) -> Option<Topology> {
    None
}

/// Returns the default of a list-map key that an entry leaves out, such as `protocol: TCP` of ports.
pub fn key_default(_kind: &Kind, _path: &str, _key: &str) -> Option<&'static str> {
    None
}
