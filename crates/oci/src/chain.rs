//! Diff IDs and chain IDs, kept apart by type.

use serde::{Deserialize, Serialize};

use crate::Digest;

/// Digest of one layer's uncompressed tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

/// Digest of an ordered stack of layers; names a committed snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

/// Returns the chain ID of a stack of layers, base first, or `None` for an empty stack.
///
/// Follows the image spec: `chain(L0) = L0`, `chain(L0|..|Ln) = sha256(chain(..) + " " + Ln)`.
pub fn chain_id(diff_ids: &[DiffId]) -> Option<ChainId> {
    let (first, rest) = diff_ids.split_first()?;
    let top =
        rest.iter().fold(first.0, |parent, diff_id| Digest::of(format!("{parent} {}", diff_id.0).as_bytes()));
    Some(ChainId(top))
}

impl std::fmt::Display for DiffId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Display for ChainId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_layer_is_its_own_chain_and_order_matters() {
        let a = DiffId(Digest::of(b"a"));
        let b = DiffId(Digest::of(b"b"));
        assert_eq!(chain_id(&[]), None);
        assert_eq!(chain_id(&[a]), Some(ChainId(a.0)));
        assert_ne!(chain_id(&[a, b]), chain_id(&[b, a]));
    }
}
