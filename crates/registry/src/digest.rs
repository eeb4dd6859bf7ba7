//! Digests of both algorithms that the spec registers.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256, Sha512};

/// Which hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Sha256,
    Sha512,
}

/// A digest that is well formed. Spec: image-spec descriptor.md, Digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnyDigest {
    pub(crate) algorithm: Algorithm,
    text: String,
}

/// Text that is no digest, or of an algorithm that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoDigest;

impl AnyDigest {
    /// Returns the digest of some bytes.
    pub(crate) fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = AnyHasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for AnyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for AnyDigest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let (algorithm, hex) = text.split_once(':').ok_or(NoDigest)?;
        let (algorithm, length) = match algorithm {
            "sha256" => (Algorithm::Sha256, 64),
            "sha512" => (Algorithm::Sha512, 128),
            _ => return Err(NoDigest),
        };
        let is_hex = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hex.len() == length && is_hex {
            Ok(Self { algorithm, text: text.to_owned() })
        } else {
            Err(NoDigest)
        }
    }
}

/// A running hash.
pub(crate) enum AnyHasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl AnyHasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> AnyDigest {
        let (algorithm, name, bytes) = match self {
            Self::Sha256(hasher) => (Algorithm::Sha256, "sha256", hasher.finalize().to_vec()),
            Self::Sha512(hasher) => (Algorithm::Sha512, "sha512", hasher.finalize().to_vec()),
        };
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        AnyDigest { algorithm, text: format!("{name}:{}", hex.concat()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_what_its_algorithm_says() {
        let short = AnyDigest::of(Algorithm::Sha256, b"");
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(short.as_str(), empty);
        let long = AnyDigest::of(Algorithm::Sha512, b"x");
        assert_eq!(long.as_str().parse(), Ok(long.clone()));
        for text in
            ["", "sha256", "sha256:", "md5:00", &empty.to_uppercase(), &empty[..70], &long.as_str()[..71]]
        {
            assert_eq!(text.parse::<AnyDigest>(), Err(NoDigest), "case {text:?}");
        }
    }
}
