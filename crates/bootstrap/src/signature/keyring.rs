//! Keys that are trusted.

use std::io;
use std::path::Path;

use pgp::composed::{Deserializable as _, SignedPublicKey};

use super::SignatureError;

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// Public keys, and if only some of them count, which.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keyring {
    pub(super) keys: Vec<SignedPublicKey>,
    /// Fingerprints in upper case; empty means all keys count.
    pub(super) only: Vec<String>,
}

impl Keyring {
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Adds the keys of a file, binary or armoured.
    pub(crate) fn add_file(&mut self, path: &Path) -> Result<(), SignatureError> {
        let error = |source| SignatureError::Keyring { path: path.to_owned(), source };
        let bytes = fs_err::read(path).map_err(error)?;
        let before = self.keys.len();
        self.add(&bytes);
        if self.keys.len() == before {
            let reason = io::Error::new(io::ErrorKind::InvalidData, "it has no OpenPGP public key");
            return Err(error(reason));
        }
        Ok(())
    }

    /// Adds keys; parts that are no key that we understand are left out, as they could not be trusted anyway.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) if text.contains(BEGIN) => {
                for block in text.split(BEGIN).skip(1) {
                    let block = format!("{BEGIN}{block}");
                    if let Ok((keys, _headers)) = SignedPublicKey::from_armor_many(block.as_bytes()) {
                        self.keys.extend(keys.flatten());
                    }
                }
            }
            _ => {
                if let Ok(keys) = SignedPublicKey::from_bytes_many(bytes) {
                    self.keys.extend(keys.flatten());
                }
            }
        }
    }

    /// Makes only this key count, beside others so named.
    pub(crate) fn restrict_to(&mut self, fingerprint: &str) {
        self.only.push(fingerprint.to_owned());
    }
}
