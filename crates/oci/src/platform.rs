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

/// Architectures that may be written without an operating system.
const ARCHITECTURES: [&str; 10] =
    ["386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x", "wasm"];

/// Operating systems that may be written without an architecture.
const SYSTEMS: [&str; 12] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "illumos",
    "linux",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
];

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
            // Compat: containerd, one word is an architecture or an operating system if it is known to be one.
            (false, [word]) if SYSTEMS.contains(&system(word)) => {
                Ok(Self { os: system(word).to_owned(), ..Self::host() })
            }
            (false, [word]) if ARCHITECTURES.contains(&usual(word, None).0) => {
                let (architecture, variant) = usual(word, None);
                let variant = variant.filter(|variant| *variant != "v7").map(str::to_owned);
                Ok(Self { variant, ..Self::linux(architecture) })
            }
            (false, [os, architecture, variant @ ..]) if variant.len() < 2 => {
                let (architecture, variant) = usual(architecture, variant.first().copied());
                let variant = variant.map(str::to_owned);
                Ok(Self { os: system(os).to_owned(), variant, ..Self::linux(architecture) })
            }
            _ => Err(ParsePlatformError(text.to_owned())),
        }
    }
}

/// Returns the usual name of an operating system. Compat: containerd's `platforms`.
fn system(name: &str) -> &str {
    if name == "macos" { "darwin" } else { name }
}

/// Returns the usual name of an architecture, and its variant where that says more. Compat: containerd's `platforms`.
fn usual<'a>(architecture: &'a str, variant: Option<&'a str>) -> (&'a str, Option<&'a str>) {
    match (architecture, variant) {
        ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64", None),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("i386" | "i486" | "i586" | "i686", _) => ("386", None),
        ("aarch64" | "arm64", None | Some("8" | "v8")) => ("arm64", None),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", None) | ("arm", Some("7")) => ("arm", Some("v7")),
        ("armel", None) | ("arm", Some("6")) => ("arm", Some("v6")),
        ("arm", None) => ("arm", Some("v7")),
        (same, variant) => (same, variant),
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
            ("one part", "vax", false),
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

    #[test]
    fn other_names_of_an_architecture_are_the_usual_one() {
        for (text, want) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("linux/riscv64", "linux/riscv64"),
            ("arm64", "linux/arm64"),
            ("x86_64", "linux/amd64"),
            ("arm", "linux/arm"),
            ("windows", &format!("windows/{}", Platform::host().architecture)),
            ("macos/arm64", "darwin/arm64"),
            ("js/wasm", "js/wasm"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), want, "case {text}");
        }
    }
}
