//! Which objects belong to which controller object.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use serde_json::{Value, json};

/// Returns the owner that controls an object.
pub(crate) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// Returns whether `owner` controls the object.
pub(crate) fn is_controlled_by(meta: &ObjectMeta, owner: &ObjectMeta) -> bool {
    controller_of(meta).is_some_and(|found| Some(&found.uid) == owner.uid.as_ref())
}

/// Returns the reference by which `owner` controls an object.
pub(crate) fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    let meta = owner.meta();
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// What to do with an object that matches, or no longer matches, an owner's selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is ours.
    Ours,
    /// It matches and nobody controls it: take it.
    Adopt,
    /// We control it but it does not match any more: let it go.
    Release,
    /// Not our business.
    Foreign,
}

/// Decides whose an object is.
pub(crate) fn claim(meta: &ObjectMeta, owner: &ObjectMeta, matches: bool) -> Claim {
    let adoptable = owner.deletion_timestamp.is_none() && meta.deletion_timestamp.is_none();
    match controller_of(meta) {
        Some(found) if Some(&found.uid) == owner.uid.as_ref() => {
            if matches {
                Claim::Ours
            } else if owner.deletion_timestamp.is_none() {
                Claim::Release
            } else {
                Claim::Foreign
            }
        }
        Some(_) => Claim::Foreign,
        None if matches && adoptable => Claim::Adopt,
        None => Claim::Foreign,
    }
}

/// Returns the merge patch that makes `owner` the controller; the uid is a precondition.
pub(crate) fn adopt_patch<K: Resource<DynamicType = ()>>(meta: &ObjectMeta, owner: &K) -> Value {
    let mut owners = meta.owner_references.clone().unwrap_or_default();
    owners.push(controller_reference(owner));
    json!({"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version, "ownerReferences": owners}})
}

/// Returns the merge patch that takes `owner` off an object.
pub(crate) fn release_patch(meta: &ObjectMeta, owner_uid: &str) -> Value {
    let owners: Vec<_> =
        meta.owner_references.iter().flatten().filter(|owner| owner.uid != owner_uid).collect();
    let owners = if owners.is_empty() { Value::Null } else { json!(owners) };
    json!({"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version, "ownerReferences": owners}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_claimed_by_selector_and_owner() {
        let owner = ObjectMeta { uid: Some("o".to_owned()), ..ObjectMeta::default() };
        let owned_by = |uid: &str| ObjectMeta {
            owner_references: Some(vec![OwnerReference {
                uid: uid.to_owned(),
                controller: Some(true),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        };
        let cases = [
            ("ours", owned_by("o"), true, Claim::Ours),
            ("ours, relabelled", owned_by("o"), false, Claim::Release),
            ("somebody else's", owned_by("x"), true, Claim::Foreign),
            ("an orphan that matches", ObjectMeta::default(), true, Claim::Adopt),
            ("an orphan that does not", ObjectMeta::default(), false, Claim::Foreign),
        ];
        for (name, meta, matches, want) in cases {
            assert_eq!(claim(&meta, &owner, matches), want, "case {name}");
        }
    }
}
