//! Content digests.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Hasher;

/// A `sha256` content digest in the OCI form `sha256:<64 lower-case hex digits>`.
///
/// A value of this type is always well formed, so it is safe to use as a file name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// Why a string isn't a [`Digest`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseDigestError {
    /// The part before the colon names an algorithm this program does not support.
    #[error("unsupported digest algorithm `{0}`")]
    Algorithm(String),
    /// The part after the colon isn't 64 lower-case hex digits.
    #[error("digest is not 64 lower-case hex digits")]
    Hex,
}

impl Digest {
    /// Returns the digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Returns its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the first twelve hex digits, the form that listings show.
    pub fn short(&self) -> String {
        self.hex().chars().take(12).collect()
    }

    /// Returns the hex part, as used in `blobs/sha256/<hex>`.
    pub fn hex(&self) -> String {
        const DIGITS: [char; 16] =
            ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
        let mut text = String::with_capacity(2 * self.0.len());
        for byte in self.0 {
            text.push(DIGITS[usize::from(byte >> 4)]);
            text.push(DIGITS[usize::from(byte & 15)]);
        }
        text
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let (algorithm, hex) = s.split_once(':').ok_or_else(|| ParseDigestError::Algorithm(s.to_owned()))?;
        if algorithm != "sha256" {
            return Err(ParseDigestError::Algorithm(algorithm.to_owned()));
        }
        let digits = hex.as_bytes();
        if digits.len() != 64 {
            return Err(ParseDigestError::Hex);
        }
        let mut out = [0; 32];
        for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = (nibble(pair[0])? << 4) | nibble(pair[1])?;
        }
        Ok(Self(out))
    }
}

fn nibble(digit: u8) -> Result<u8, ParseDigestError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(ParseDigestError::Hex),
    }
}

impl TryFrom<String> for Digest {
    type Error = ParseDigestError;

    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_accepts_only_the_canonical_form() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let upper = format!("sha256:{}", hex.to_uppercase());
        let cases = [
            ("empty", "", Err(ParseDigestError::Algorithm(String::new()))),
            ("no algorithm", hex, Err(ParseDigestError::Algorithm(hex.to_owned()))),
            ("sha512", "sha512:00", Err(ParseDigestError::Algorithm("sha512".to_owned()))),
            ("short", "sha256:00", Err(ParseDigestError::Hex)),
            ("upper case", &upper, Err(ParseDigestError::Hex)),
            ("traversal", "sha256:../../etc/passwd", Err(ParseDigestError::Hex)),
        ];
        for (name, input, want) in cases {
            assert_eq!(input.parse::<Digest>(), want, "case {name}");
        }
        let good = format!("sha256:{hex}");
        assert_eq!(good.parse::<Digest>().unwrap(), Digest::of(b""));
        assert_eq!(good.parse::<Digest>().unwrap().to_string(), good);
    }
}
