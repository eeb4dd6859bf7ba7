//! From a request's path to what is meant. Nothing that does not fit the grammar gets further than this.

use std::fmt;

use crate::digest::AnyDigest;
use crate::refusal::Refusal;

/// Compat: distribution, longest name of a repository.
const NAME: usize = 255;
/// Longest tag. Spec: distribution-spec, Pulling manifests.
const TAG: usize = 128;

/// What a path means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/metrics`
    Metrics,
    /// `/token`
    Token,
    /// `/v2/NAME/blobs/DIGEST`
    Blob { name: String, digest: AnyDigest },
    /// `/v2/NAME/blobs/uploads/`
    Uploads { name: String },
    /// `/v2/NAME/blobs/uploads/ID`
    Upload { name: String, id: String },
    /// `/v2/NAME/manifests/REFERENCE`
    Manifest { name: String, reference: Target },
    /// `/v2/NAME/tags/list`
    Tags { name: String },
    /// `/v2/NAME/referrers/DIGEST`
    Referrers { name: String, digest: AnyDigest },
}

/// How a manifest is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Tag(String),
    Digest(AnyDigest),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl Place {
    /// Returns the place in a repository, if it is one.
    pub(crate) fn of_repository(&self) -> Option<(&str, &Self)> {
        match self {
            Self::Base | Self::Catalog | Self::Metrics | Self::Token => None,
            Self::Blob { name, .. }
            | Self::Uploads { name }
            | Self::Upload { name, .. }
            | Self::Manifest { name, .. }
            | Self::Tags { name }
            | Self::Referrers { name, .. } => Some((name, self)),
        }
    }

    /// Returns what kind of place it is, in one word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Catalog => "catalog",
            Self::Metrics => "metrics",
            Self::Token => "token",
            Self::Blob { .. } => "blob",
            Self::Uploads { .. } | Self::Upload { .. } => "upload",
            Self::Manifest { .. } => "manifest",
            Self::Tags { .. } => "tags",
            Self::Referrers { .. } => "referrers",
        }
    }

    /// Reads the path of a request.
    pub(crate) fn parse(path: &str) -> Result<Self, Refusal> {
        // Clients may write the colon of a digest so; nothing else needs it.
        let path = path.replace("%3A", ":").replace("%3a", ":");
        let Some(rest) = path.strip_prefix("/v2/") else {
            return match path.as_str() {
                "/v2" => Ok(Self::Base),
                "/metrics" => Ok(Self::Metrics),
                "/token" => Ok(Self::Token),
                _ => Err(Refusal::not_found()),
            };
        };
        match rest {
            "" => return Ok(Self::Base),
            "_catalog" => return Ok(Self::Catalog),
            _ => {}
        }
        if let Some(found) = rest.strip_suffix("/tags/list") {
            return Ok(Self::Tags { name: name(found)? });
        }
        if let Some(found) = rest.strip_suffix("/blobs/uploads") {
            return Ok(Self::Uploads { name: name(found)? });
        }
        let (before, last) = rest.rsplit_once('/').ok_or_else(Refusal::not_found)?;
        if let Some(found) = before.strip_suffix("/blobs/uploads") {
            let name = name(found)?;
            return match last {
                "" => Ok(Self::Uploads { name }),
                id => Ok(Self::Upload { name, id: id.to_owned() }),
            };
        }
        let digest =
            || last.parse().map_err(|_no| Refusal::digest_invalid("this is no sha256 or sha512 digest"));
        if let Some(found) = before.strip_suffix("/blobs") {
            return Ok(Self::Blob { name: name(found)?, digest: digest()? });
        }
        if let Some(found) = before.strip_suffix("/referrers") {
            return Ok(Self::Referrers { name: name(found)?, digest: digest()? });
        }
        let found = before.strip_suffix("/manifests").ok_or_else(Refusal::not_found)?;
        let name = name(found)?;
        let reference = if last.contains(':') { Target::Digest(digest()?) } else { Target::Tag(tag(last)?) };
        Ok(Self::Manifest { name, reference })
    }
}

/// Checks the name of a repository: components of letters and digits, with `.`, `_`, `__` or dashes between them.
pub(crate) fn name(text: &str) -> Result<String, Refusal> {
    let is_good = text.len() <= NAME && text.split('/').all(is_component);
    if is_good { Ok(text.to_owned()) } else { Err(Refusal::name_invalid()) }
}

fn is_component(text: &str) -> bool {
    let is_alphanumeric = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    is_alphanumeric(first)
        && is_alphanumeric(last)
        && bytes.split(is_alphanumeric).all(|between| {
            matches!(between, b"" | b"." | b"_" | b"__") || between.iter().all(|byte| *byte == b'-')
        })
}

/// Checks a tag.
pub(crate) fn tag(text: &str) -> Result<String, Refusal> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_good = text.len() <= TAG
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'));
    if is_good { Ok(text.to_owned()) } else { Err(Refusal::manifest_invalid("invalid tag")) }
}

#[cfg(test)]
mod tests {
    use shipway_testkit::{Dice, rounds};

    use super::*;
    use crate::digest::Algorithm;

    #[test]
    fn paths_mean_what_the_spec_says() {
        let digest = AnyDigest::of(Algorithm::Sha256, b"");
        let at = |text: &str| Place::parse(&text.replace("DIGEST", digest.as_str())).unwrap();
        let name = || "a/b-c".to_owned();
        for (path, want) in [
            ("/v2/", Place::Base),
            ("/v2", Place::Base),
            ("/v2/_catalog", Place::Catalog),
            ("/metrics", Place::Metrics),
            ("/token", Place::Token),
            ("/v2/a/b-c/tags/list", Place::Tags { name: name() }),
            ("/v2/a/b-c/blobs/uploads/", Place::Uploads { name: name() }),
            ("/v2/a/b-c/blobs/uploads", Place::Uploads { name: name() }),
            ("/v2/a/b-c/blobs/uploads/7", Place::Upload { name: name(), id: "7".to_owned() }),
            ("/v2/a/b-c/blobs/DIGEST", Place::Blob { name: name(), digest: digest.clone() }),
            ("/v2/a/b-c/referrers/DIGEST", Place::Referrers { name: name(), digest: digest.clone() }),
            (
                "/v2/a/b-c/manifests/v1.0",
                Place::Manifest { name: name(), reference: Target::Tag("v1.0".to_owned()) },
            ),
            (
                "/v2/a/b-c/manifests/DIGEST",
                Place::Manifest { name: name(), reference: Target::Digest(digest.clone()) },
            ),
            (
                "/v2/blobs/uploads/manifests/x",
                Place::Manifest { name: "blobs/uploads".to_owned(), reference: Target::Tag("x".to_owned()) },
            ),
        ] {
            assert_eq!(at(path), want, "case {path}");
        }
        let colon = format!("/v2/a/b-c/blobs/{}", digest.as_str().replace(':', "%3A"));
        assert_eq!(at(&colon), at("/v2/a/b-c/blobs/DIGEST"));
    }

    #[test]
    fn whatever_a_path_says_what_gets_further_fits_the_grammar() {
        let mut dice = Dice::new(0xa7);
        let digest = AnyDigest::of(Algorithm::Sha256, b"").to_string();
        let seeds = [
            format!("/v2/team/web/blobs/{digest}"),
            "/v2/team/web/manifests/v1.0".to_owned(),
            "/v2/team/web/blobs/uploads/7".to_owned(),
            "/v2/team/web/tags/list".to_owned(),
            format!("/v2/a/referrers/{digest}"),
        ];
        let words: [&[u8]; 8] =
            [b"..", b"/", b"%2f", b"%00", b"/v2/", b"blobs/uploads/", b"manifests", b"__"];
        let mut good = 0;
        for round in 0..rounds(20_000) {
            let bytes = dice.mutate(seeds[round % seeds.len()].as_bytes(), &words);
            let path = String::from_utf8_lossy(&bytes);
            let Ok(place) = Place::parse(&path) else { continue };
            if let Some((name, _)) = place.of_repository() {
                good += 1;
                let is_safe = |part: &str| {
                    !part.is_empty()
                        && !part.starts_with('.')
                        && part
                            .bytes()
                            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
                };
                assert!(name.len() <= NAME && name.split('/').all(is_safe), "{path:?}: {name:?}");
            }
            if let Place::Manifest { reference: Target::Tag(tag), .. } = &place {
                assert!(tag.len() <= TAG && !tag.starts_with(['.', '-']) && !tag.contains('/'), "{path:?}");
            }
        }
        assert!(good > 1000, "{good}");
    }

    #[test]
    fn what_does_not_fit_the_grammar_gets_no_further() {
        let long = format!("/v2/{}/tags/list", "a/".repeat(200) + "a");
        for (path, code) in [
            ("/", "UNSUPPORTED"),
            ("/v1/x", "UNSUPPORTED"),
            ("/v2/x", "UNSUPPORTED"),
            ("/v2/A/tags/list", "NAME_INVALID"),
            ("/v2/../tags/list", "NAME_INVALID"),
            ("/v2/a//b/tags/list", "NAME_INVALID"),
            ("/v2/a%2fb/tags/list", "NAME_INVALID"),
            ("/v2/a\0b/tags/list", "NAME_INVALID"),
            ("/v2/a___b/tags/list", "NAME_INVALID"),
            ("/v2/-a/tags/list", "NAME_INVALID"),
            (&long, "NAME_INVALID"),
            ("/v2/a/blobs/sha256:..", "DIGEST_INVALID"),
            ("/v2/a/blobs/x", "DIGEST_INVALID"),
            ("/v2/a/manifests/.x", "MANIFEST_INVALID"),
            ("/v2/a/manifests/", "MANIFEST_INVALID"),
        ] {
            assert_eq!(Place::parse(path).unwrap_err().code, code, "case {path}");
        }
    }
}
