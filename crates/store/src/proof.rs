//! Proving to another process that uses the same store that we can read it.

use shipway_oci::{DiffId, Digest, Hasher};

use crate::{Store, StoreError};

/// The header by which a registry on the same store is shown a [`Store::mount_proof`].
pub const MOUNT_PROOF: &str = "shipway-store-proof";

impl Store {
    /// Returns a text that only those can make who can read the store, and that is good for nothing but to have the registry at `host`
    /// give one of its repositories what a manifest names, from the store that both use: another one that hears it cannot use it.
    pub fn mount_proof(&self, host: &str, repository: &str, manifest: &Digest) -> Result<String, StoreError> {
        self.prove("", (host, repository), manifest)
    }

    /// Returns the text that a registry answers such a proof with: only one that can read the store knows it, and so that it is the same.
    pub fn mount_answer(
        &self,
        host: &str,
        repository: &str,
        manifest: &Digest,
    ) -> Result<String, StoreError> {
        self.prove("answer\0", (host, repository), manifest)
    }

    fn prove(
        &self,
        label: &str,
        (host, repository): (&str, &str),
        manifest: &Digest,
    ) -> Result<String, StoreError> {
        let secret: String = self.read("read the store's secret", |connection| {
            connection.query_row("SELECT value FROM secrets WHERE name = 'proof'", [], |row| row.get(0))
        })?;
        let mut hasher = Hasher::default();
        for text in [&format!("{label}{secret}"), host, repository, &manifest.to_string()] {
            hasher.update(text.as_bytes());
            hasher.update(b"\0");
        }
        Ok(hasher.finish().hex())
    }

    /// Returns whether the bytes of a digest are here: as a blob, or as the files of a layer, of which its archive can be made.
    pub fn holds(&self, digest: &Digest) -> Result<bool, StoreError> {
        Ok(self.has_blob(digest) || self.layer_of(DiffId(*digest))?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LayerId, LayerNotes, LayerRow};

    #[test]
    fn a_proof_is_for_one_store_and_one_purpose() {
        let [one, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let proof = |dir: &tempfile::TempDir, host, repository, blob: &str| {
            let store = Store::open(dir.path()).unwrap();
            store.mount_proof(host, repository, &Digest::of(blob.as_bytes())).unwrap()
        };
        let first = proof(&one, "a:1", "web", "x");
        assert_eq!(first, proof(&one, "a:1", "web", "x"));
        for other in [
            proof(&other, "a:1", "web", "x"),
            proof(&one, "a:2", "web", "x"),
            proof(&one, "a:1", "api", "x"),
            proof(&one, "a:1", "web", "y"),
            proof(&one, "a:", "1web", "x"),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn a_layer_holds_the_bytes_of_its_archive() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let blob = store.put_blob(b"blob").unwrap();
        let tar = Digest::of(b"tar");
        let diff_id = Some(DiffId(tar));
        let row = LayerRow { id: LayerId::unique(1), diff_id, size: 3, notes: LayerNotes::default() };
        store.record_layer(&row).unwrap();
        assert!(store.holds(&blob).unwrap() && store.holds(&tar).unwrap());
        assert!(!store.holds(&Digest::of(b"none")).unwrap());
    }
}
