//! Image names as Docker reads them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// A complete image name: registry, repository, and a tag, a digest or both.
///
/// `alpine` is `docker.io/library/alpine:latest`. Compat: docker, `distribution/reference` ("normalized
/// names"); the grammar is that of `distribution/reference`'s `regexp.go`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not an image name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum ParseReferenceError {
    /// Not the form of a name.
    #[error("invalid reference format: `{0}`")]
    #[diagnostic(code(oci::reference::format), help("write it as [registry/]name[:tag], such as `web:1.0`"))]
    Format(String),
    /// Docker's own words for the commonest mistake.
    #[error("invalid reference format: repository name `{0}` must be lowercase")]
    #[diagnostic(code(oci::reference::case), help("write the name in lower case"))]
    UpperCase(String),
    /// The tag has a character that tags cannot have, or is longer than 128.
    #[error("invalid tag `{0}`")]
    #[diagnostic(
        code(oci::reference::tag),
        help(
            "a tag has letters, digits, `_`, `.` and `-`, starts with none of `.` and `-`, and is at most 128 long"
        )
    )]
    Tag(String),
    /// The part after `@` is no digest.
    #[error("invalid digest in `{0}`")]
    #[diagnostic(code(oci::reference::digest), help("write sha256: and 64 hex digits"))]
    Digest(String),
    /// Longer than 255.
    #[error("repository name `{0}` is longer than 255 characters")]
    #[diagnostic(code(oci::reference::length), help("use a shorter name"))]
    TooLong(String),
}

const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";

impl Reference {
    /// Returns the registry's host and port, `docker.io` if none was given.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the repository within the registry, such as `library/alpine`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag. There is none only if a digest was given without one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest, if the name has one.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Returns the registry and repository without tag and digest, in full.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Returns the registry and repository as listings show them: `alpine`, `acme/web`, `quay.io/acme/web`.
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.name();
        }
        let short = self.repository.strip_prefix("library/").filter(|rest| !rest.contains('/'));
        let short = short.unwrap_or(&self.repository);
        // `docker.io/a.b/c` without its registry would be of another one.
        if split_registry(short) == (DEFAULT_REGISTRY, short) { short.to_owned() } else { self.name() }
    }

    /// Returns the name as people write it, with the tag or digest: `alpine:latest`.
    pub fn familiar(&self) -> String {
        format!("{}{}", self.familiar_name(), self.suffix())
    }

    /// Returns whether people who type it may mean an id: `sha256:…` is also how an image's id is written.
    pub fn reads_as_id(&self) -> bool {
        let text = self.familiar_name();
        self.digest.is_none()
            && (text == "sha256"
                || self.tag.as_deref() == Some(DEFAULT_TAG)
                    && text.len() == 64
                    && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
    }

    /// Returns the same name with another tag and without digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ParseReferenceError> {
        check_tag(tag)?;
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// Returns the same repository, pinned to a digest instead of a tag.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    fn suffix(&self) -> String {
        let tag = self.tag.iter().map(|tag| format!(":{tag}"));
        let digest = self.digest.iter().map(|digest| format!("@{digest}"));
        tag.chain(digest).collect()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name(), self.suffix())
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl TryFrom<String> for Reference {
    type Error = ParseReferenceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let format = || ParseReferenceError::Format(text.to_owned());
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(digest.parse().map_err(|_bad| ParseReferenceError::Digest(text.to_owned()))?))
            }
            None => (text, None),
        };
        // A colon after the last slash starts a tag; one before it belongs to the registry's port.
        let name_start = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[name_start..].find(':') {
            Some(colon) => (&rest[..name_start + colon], Some(&rest[name_start + colon + 1..])),
            None => (rest, None),
        };
        tag.map_or(Ok(()), check_tag)?;
        let (registry, path) = split_registry(name);
        if path.is_empty() || !registry_is_valid(registry) {
            return Err(format());
        }
        let repository = match registry {
            DEFAULT_REGISTRY if !path.contains('/') => format!("library/{path}"),
            _ => path.to_owned(),
        };
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ParseReferenceError::UpperCase(path.to_owned()));
        }
        if !repository.split('/').all(component_is_valid) {
            return Err(format());
        }
        if registry.len() + 1 + repository.len() > 255 {
            return Err(ParseReferenceError::TooLong(repository));
        }
        let tag = tag.map(str::to_owned).or_else(|| digest.is_none().then(|| DEFAULT_TAG.to_owned()));
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

/// The first part is a registry if it looks like a host: a dot, a port, an upper-case letter, or `localhost`.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some(("index.docker.io", path)) => (DEFAULT_REGISTRY, path),
        Some((first, path))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (first, path)
        }
        _ => (DEFAULT_REGISTRY, name),
    }
}

fn registry_is_valid(registry: &str) -> bool {
    let (host, port) = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
            return rest.is_empty() || rest.strip_prefix(':').is_some_and(port_is_valid);
        }
        Some(_) => return false,
        None => registry.split_once(':').map_or((registry, None), |(host, port)| (host, Some(port))),
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(label) && port.is_none_or(port_is_valid)
}

fn port_is_valid(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

/// Lower-case letters and digits, with `.`, `_`, `__` or any number of `-` between them.
fn component_is_valid(component: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !alphanumeric(*first) || !alphanumeric(*last) {
        return false;
    }
    bytes.split(|byte| alphanumeric(*byte)).all(|separator| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-')
    })
}

fn check_tag(tag: &str) -> Result<(), ParseReferenceError> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let good = tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-');
    if good { Ok(()) } else { Err(ParseReferenceError::Tag(tag.to_owned())) }
}

#[cfg(test)]
mod tests {
    use shipway_testkit::{Dice, rounds};

    use super::*;

    #[test]
    fn whatever_is_typed_a_name_means_the_same_when_it_is_written_out() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let seeds = [
            "alpine".to_owned(),
            "localhost:5000/team/web:1.2".to_owned(),
            format!("quay.io/acme/web@{digest}"),
            format!("[::1]:5000/web:1@{digest}"),
        ];
        let words: [&[u8]; 8] = [b"/", b":", b"@sha256:", b"..", b"__", b"docker.io/", b"library/", b"A"];
        let mut dice = Dice::new(0x0c1);
        let mut good = 0;
        for round in 0..rounds(20_000) {
            let bytes = dice.mutate(seeds[round % seeds.len()].as_bytes(), &words);
            let text = String::from_utf8_lossy(&bytes);
            let Ok(reference) = text.parse::<Reference>() else { continue };
            good += 1;
            let again: Reference = reference.to_string().parse().unwrap();
            assert_eq!(again, reference, "{text:?}");
            assert_eq!(reference.familiar().parse::<Reference>().unwrap(), reference, "{text:?}");
            let repository = reference.repository();
            assert!(!repository.split('/').any(|part| part.is_empty() || part.starts_with('.')), "{text:?}");
        }
        assert!(good > 1000, "{good}");
    }

    #[test]
    fn names_are_completed_as_docker_does() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let cases = [
            ("short", "alpine".to_owned(), "docker.io/library/alpine:latest", "alpine:latest"),
            ("tag", "alpine:3.20".to_owned(), "docker.io/library/alpine:3.20", "alpine:3.20"),
            ("namespace", "acme/web".to_owned(), "docker.io/acme/web:latest", "acme/web:latest"),
            ("registry", "quay.io/acme/web:1".to_owned(), "quay.io/acme/web:1", "quay.io/acme/web:1"),
            (
                "port",
                "localhost:5000/web".to_owned(),
                "localhost:5000/web:latest",
                "localhost:5000/web:latest",
            ),
            ("localhost", "localhost/web".to_owned(), "localhost/web:latest", "localhost/web:latest"),
            (
                "old hub name",
                "index.docker.io/library/a".to_owned(),
                "docker.io/library/a:latest",
                "a:latest",
            ),
            ("separators", "a__b/c-_d".replace("-_", "--"), "docker.io/a__b/c--d:latest", "a__b/c--d:latest"),
        ];
        for (name, input, full, familiar) in cases {
            let reference: Reference = input.parse().unwrap();
            assert_eq!(
                (reference.to_string().as_str(), reference.familiar().as_str()),
                (full, familiar),
                "case {name}"
            );
        }
        let id = "a".repeat(64);
        for (name, want) in [
            (format!("sha256:{id}"), true),
            (id.clone(), true),
            ("sha256:1".to_owned(), true),
            ("docker.io/library/sha256".to_owned(), true),
            (format!("sha256@{digest}"), false),
            (format!("team/sha256:{id}"), false),
            (format!("{id}:1"), false),
            ("sha512:1".to_owned(), false),
        ] {
            assert_eq!(name.parse::<Reference>().unwrap().reads_as_id(), want, "{name}");
        }
        let pinned: Reference = format!("web@{digest}").parse().unwrap();
        assert_eq!(pinned.tag(), None);
        assert_eq!(pinned.digest().unwrap().to_string(), digest);
    }

    #[test]
    fn bad_names_are_refused() {
        let long = format!("a/{}", "b".repeat(255));
        let cases = [
            ("empty", ""),
            ("upper case", "Alpine"),
            ("empty tag", "alpine:"),
            ("bad tag", "alpine:-x"),
            ("traversal", "../../etc"),
            ("triple underscore", "a___b"),
            ("trailing slash", "a/"),
            ("bad digest", "a@sha256:zz"),
            ("bad port", "host:99999/a"),
            ("too long", long.as_str()),
            ("space", "a b"),
        ];
        for (name, input) in cases {
            assert!(input.parse::<Reference>().is_err(), "case {name}");
        }
    }
}
