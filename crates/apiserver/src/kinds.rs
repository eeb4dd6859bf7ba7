//! The kinds this server stores, and what can be done with each.

mod table;

pub use table::KINDS;

/// A type of object: where it is served and what can be done with it.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version within the group.
    pub version: &'static str,
    /// Name of the type, such as `Pod`.
    pub kind: &'static str,
    /// Resource name in URLs, such as `pods`.
    pub plural: &'static str,
    /// Singular form that `kubectl` accepts.
    pub singular: &'static str,
    /// Abbreviations that `kubectl` accepts.
    pub short_names: &'static [&'static str],
    /// Groups of resources, such as `all`.
    pub categories: &'static [&'static str],
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Verbs of the main resource.
    pub verbs: &'static [&'static str],
    /// Opaque hash in discovery documents.
    pub storage_version_hash: &'static str,
    /// Resources below an object.
    pub subresources: &'static [Subresource],
    /// Whether something in this cluster acts on such objects; if not, creating one is answered with a warning.
    pub acted_on: bool,
}

/// A resource below an object, such as `pods/log`.
#[derive(Debug, PartialEq, Eq)]
pub struct Subresource {
    /// Last path segment.
    pub name: &'static str,
    /// Group of the body's type; empty when it is the parent's.
    pub group: &'static str,
    /// Version of the body's type; empty when it is the parent's.
    pub version: &'static str,
    /// Type of the body.
    pub kind: &'static str,
    /// Verbs.
    pub verbs: &'static [&'static str],
}

impl Kind {
    /// Returns `group/version`, or `version` in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Returns `plural.group`, the name used in messages.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Whether there is a subresource of this name.
    pub fn has_subresource(&self, name: &str) -> bool {
        self.subresources.iter().any(|sub| sub.name == name)
    }
}

/// Returns the kind served under `group`, `version` and `plural`.
pub fn kind_of(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.plural == plural && kind.group == group && kind.version == version)
}
