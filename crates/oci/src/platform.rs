//! Platforms as `os/architecture[/variant]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an image runs on. Spec: image-spec image-index.md, `platform`; names are Go's `GOOS` and `GOARCH`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v8`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Fields that this version does not know (`os.version`, `os.features`).
    #[serde(flatten)]
    pub other: std::collections::BTreeMap<String, serde_json::Value>,
}

/// The text is not `os/architecture` or `os/architecture/variant`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform (want os/architecture[/variant], such as linux/amd64)")]
pub struct ParsePlatformError(String);

impl Platform {
    /// Returns the platform of this machine.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self::linux(architecture)
    }

    /// Returns `linux/<architecture>`.
    pub fn linux(architecture: &str) -> Self {
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: None,
            other: std::collections::BTreeMap::default(),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        let bad = parts.iter().any(|part| {
            part.is_empty()
                || !part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
        });
        match (bad, parts.as_slice()) {
            (false, [os, architecture]) => Ok(Self { os: (*os).to_owned(), ..Self::linux(architecture) }),
            (false, [os, architecture, variant]) => Ok(Self {
                os: (*os).to_owned(),
                variant: Some((*variant).to_owned()),
                ..Self::linux(architecture)
            }),
            _ => Err(ParsePlatformError(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_or_three_lower_case_parts() {
        for (name, input, good) in [
            ("plain", "linux/amd64", true),
            ("variant", "linux/arm/v7", true),
            ("one part", "linux", false),
            ("four parts", "a/b/c/d", false),
            ("empty part", "linux//v7", false),
            ("upper case", "Linux/amd64", false),
        ] {
            let got = input.parse::<Platform>();
            assert_eq!(
                got.as_ref().map(ToString::to_string).ok().as_deref(),
                good.then_some(input),
                "case {name}"
            );
        }
    }
}
