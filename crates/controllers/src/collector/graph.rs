//! Who owns whom.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// Holds an object until its dependents are gone.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Holds an object until its dependents have forgotten it.
pub(super) const ORPHAN: &str = "orphan";

/// What is kept of an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// The identity of its kind.
    pub kind: String,
    /// Its uid.
    pub uid: String,
    /// Its namespace, empty for cluster-wide kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its owners.
    pub owners: Vec<OwnerReference>,
    /// Its finalizers.
    pub finalizers: Vec<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Its revision.
    pub resource_version: Option<String>,
}

impl Node {
    /// Returns the node of an object.
    pub(super) fn of(kind: &str, meta: &ObjectMeta) -> Self {
        Self {
            kind: kind.to_owned(),
            uid: meta.uid.clone().unwrap_or_default(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            owners: meta.owner_references.clone().unwrap_or_default(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            resource_version: meta.resource_version.clone(),
        }
    }

    /// Returns whether a finalizer holds it.
    pub(super) fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|found| found == name)
    }
}

/// All objects by uid, and their dependents.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: HashMap<String, Node>,
    dependents: HashMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Returns an object.
    pub(super) fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// Returns the objects that name `uid` as an owner.
    pub(super) fn dependents(&self, uid: &str) -> Vec<Node> {
        let uids = self.dependents.get(uid).into_iter().flatten();
        uids.filter_map(|uid| self.nodes.get(uid)).cloned().collect()
    }

    /// Takes in an object; returns which objects are to be looked at because of it.
    pub(super) fn put(&mut self, node: Node) -> Vec<String> {
        let uid = node.uid.clone();
        let old = self.nodes.get(&uid);
        let mut touched = Vec::new();
        let lost: Vec<String> = old
            .iter()
            .flat_map(|old| &old.owners)
            .filter(|owner| !node.owners.iter().any(|kept| kept.uid == owner.uid))
            .map(|owner| owner.uid.clone())
            .collect();
        let owners_changed = old.is_none_or(|old| old.owners != node.owners);
        let ending_changed =
            old.is_none_or(|old| (old.deleting, &old.finalizers) != (node.deleting, &node.finalizers));
        for owner in lost {
            self.unlink(&owner, &uid);
            touched.push(owner);
        }
        for owner in &node.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.clone());
        }
        let ending = node.deleting && (node.has_finalizer(FOREGROUND) || node.has_finalizer(ORPHAN));
        if (owners_changed && !node.owners.is_empty()) || (ending_changed && ending) {
            touched.push(uid.clone());
        }
        self.nodes.insert(uid, node);
        touched.retain(|uid| self.nodes.contains_key(uid));
        touched
    }

    /// Takes out an object; returns which objects are to be looked at because of it.
    pub(super) fn remove(&mut self, uid: &str) -> Vec<String> {
        let Some(node) = self.nodes.remove(uid) else { return Vec::new() };
        let mut touched: Vec<String> = self.dependents.get(uid).into_iter().flatten().cloned().collect();
        for owner in &node.owners {
            self.unlink(&owner.uid, uid);
            if self.nodes.get(&owner.uid).is_some_and(|owner| owner.deleting) {
                touched.push(owner.uid.clone());
            }
        }
        touched
    }

    fn unlink(&mut self, owner: &str, dependent: &str) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(dependent);
            if dependents.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }
}

/// How it is with one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnerState {
    /// It exists.
    There,
    /// It does not exist.
    Gone,
    /// It is being deleted and waits for its dependents to go first.
    WaitsForUs,
}

/// What to do with an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Leave it alone.
    Keep,
    /// Take off the references to these owners.
    Drop(Vec<String>),
    /// Delete it.
    Delete {
        /// Whether its own dependents go first.
        foreground: bool,
    },
}

/// Decides about an object from the state of its owners.
pub(super) fn verdict(owners: &[(OwnerReference, OwnerState)], has_dependents: bool) -> Verdict {
    let is = |state: OwnerState| move |(_, found): &&(OwnerReference, OwnerState)| *found == state;
    if owners.is_empty() {
        return Verdict::Keep;
    }
    if owners.iter().any(|(_, state)| *state == OwnerState::There) {
        let gone = owners.iter().filter(|(_, state)| *state != OwnerState::There);
        let gone: Vec<_> = gone.map(|(owner, _)| owner.uid.clone()).collect();
        return if gone.is_empty() { Verdict::Keep } else { Verdict::Drop(gone) };
    }
    let waiting = owners.iter().filter(is(OwnerState::WaitsForUs)).count() > 0;
    Verdict::Delete { foreground: waiting && has_dependents }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(uid: &str) -> OwnerReference {
        OwnerReference { uid: uid.to_owned(), block_owner_deletion: Some(true), ..OwnerReference::default() }
    }

    fn node(uid: &str, owners: &[&str]) -> Node {
        let mut node = Node::of("v1/Pod", &ObjectMeta { uid: Some(uid.to_owned()), ..ObjectMeta::default() });
        node.owners = owners.iter().map(|uid| owner(uid)).collect();
        node
    }

    #[test]
    fn an_object_goes_when_all_its_owners_are_gone() {
        use OwnerState::{Gone, There, WaitsForUs};
        let cases = [
            ("no owner", vec![], false, Verdict::Keep),
            ("owned", vec![("a", There)], false, Verdict::Keep),
            ("its owner is gone", vec![("a", Gone)], true, Verdict::Delete { foreground: false }),
            (
                "one of two is gone",
                vec![("a", Gone), ("b", There)],
                false,
                Verdict::Drop(vec!["a".to_owned()]),
            ),
            ("its owner waits", vec![("a", WaitsForUs)], false, Verdict::Delete { foreground: false }),
            (
                "its owner waits and others wait for it",
                vec![("a", WaitsForUs)],
                true,
                Verdict::Delete { foreground: true },
            ),
        ];
        for (name, owners, dependents, want) in cases {
            let owners: Vec<_> = owners.into_iter().map(|(uid, state)| (owner(uid), state)).collect();
            assert_eq!(verdict(&owners, dependents), want, "case {name}");
        }
    }

    #[test]
    fn changes_touch_the_right_neighbours() {
        let mut graph = Graph::default();
        assert_eq!(graph.put(node("set", &[])), Vec::<String>::new());
        assert_eq!(graph.put(node("pod", &["set"])), ["pod"]);
        assert_eq!(graph.put(node("pod", &["set"])), Vec::<String>::new(), "nothing new");
        let mut ending = node("set", &[]);
        ending.deleting = true;
        ending.finalizers = vec![FOREGROUND.to_owned()];
        assert_eq!(graph.put(ending), ["set"]);
        assert_eq!(graph.remove("pod"), ["set"], "the owner waited for it");
        graph.put(node("pod2", &["set"]));
        assert_eq!(graph.remove("set"), ["pod2"], "its owner is gone");
        assert!(graph.dependents("nobody").is_empty());
    }
}
