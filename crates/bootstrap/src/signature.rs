//! Clear-signed texts: whose signature counts, and what is left of the text.
//!
//! The crate `pgp` does the mathematics. Everything that makes a correct signature a trustworthy one is decided here:
//! the key is in the keyring, bound to its owner and to its primary key by a strong signature, may sign, has not
//! expired and was not revoked; the signature itself is strong, not expired, and over exactly the text that is used.
//!
//! Spec: RFC 9580 sections 5.2 and 7.

mod keyring;
mod policy;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::io;
use std::path::PathBuf;

use miette::Diagnostic;
use pgp::composed::CleartextSignedMessage;
use pgp::types::Timestamp;

pub(crate) use keyring::Keyring;

/// Why a text is not trusted.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum SignatureError {
    /// It is not a clear-signed text at all.
    #[error("it is not a signed text: {reason}")]
    #[diagnostic(
        code(bootstrap::not_signed),
        help("a proxy or a login page may have answered instead of the mirror")
    )]
    NotSigned {
        /// What is wrong with it.
        reason: String,
    },
    /// No signature on it counts.
    #[error("no trusted signature: {}", list(.refusals))]
    #[diagnostic(
        code(bootstrap::untrusted_signature),
        help(
            "install the distribution's current keyring package on this host, or name a keyring that you trust: --keyring FILE"
        )
    )]
    Untrusted {
        /// Each signature's issuer and why it does not count.
        refusals: Vec<(String, Refusal)>,
    },
    /// A keyring cannot be used.
    #[error("keyring `{path}` cannot be used")]
    #[diagnostic(code(bootstrap::keyring), help("name a file with OpenPGP public keys: --keyring FILE"))]
    Keyring {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no key at all to check against.
    #[error("there is no keyring to check signatures with")]
    #[diagnostic(
        code(bootstrap::no_keyring),
        help("install the distribution's keyring package on this host, or name one: --keyring FILE")
    )]
    NoKeys,
}

/// Why one signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The keyring has no key of this issuer.
    UnknownKey,
    /// The source names other keys.
    NotNamed,
    /// The key's time is over.
    KeyExpired,
    /// The owner withdrew the key.
    KeyRevoked,
    /// Nothing trustworthy says whose key it is, or that the subkey belongs to it.
    KeyUnbound,
    /// The key is for something else.
    NotForSigning,
    /// The key is too short or of a broken kind.
    WeakKey,
    /// The signature uses a hash function that is broken (MD5, SHA-1, …).
    WeakHash,
    /// The signature's own time is over.
    SignatureExpired,
    /// The signature was made in the future.
    FromTheFuture,
    /// The signature has parts that must be understood and are not.
    NotUnderstood,
    /// The text is not what was signed.
    Wrong,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownKey => "is not in the keyring",
            Self::NotNamed => "is not one of the keys that the source names",
            Self::KeyExpired => "has expired",
            Self::KeyRevoked => "was revoked",
            Self::KeyUnbound => "is not properly bound to its owner",
            Self::NotForSigning => "is not for signing",
            Self::WeakKey => "is too weak",
            Self::WeakHash => "made a signature with a weak hash function",
            Self::SignatureExpired => "made a signature that has expired",
            Self::FromTheFuture => "made a signature in the future",
            Self::NotUnderstood => "made a signature of a kind that is not understood",
            Self::Wrong => "did not sign this text",
        })
    }
}

fn list(refusals: &[(String, Refusal)]) -> String {
    let texts: Vec<String> = refusals.iter().map(|(key, refusal)| format!("key {key} {refusal}")).collect();
    if texts.is_empty() { "it has no signatures".to_owned() } else { texts.join("; ") }
}

/// Returns the text that was signed, with plain line ends, if a key of `keyring` that counts at `now` signed it.
pub(crate) fn verify(message: &str, keyring: &Keyring, now: Timestamp) -> Result<String, SignatureError> {
    if keyring.is_empty() {
        return Err(SignatureError::NoKeys);
    }
    let (message, _headers) = CleartextSignedMessage::from_string(message.trim_start())
        .map_err(|error| SignatureError::NotSigned { reason: first_line(&error.to_string()) })?;
    let text = message.signed_text();
    let mut refusals = Vec::new();
    for signature in message.signatures() {
        match policy::check(signature, text.as_bytes(), keyring, now) {
            Ok(fingerprint) => {
                tracing::debug!(fingerprint, "the text is signed");
                // What is returned is what was hashed, never the message as it came.
                return Ok(text.replace("\r\n", "\n"));
            }
            Err(refusal) => refusals.push((policy::issuer(signature), refusal)),
        }
    }
    Err(SignatureError::Untrusted { refusals })
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
