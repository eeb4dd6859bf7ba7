//! Manifests and tags, and what a manifest must be. Spec: distribution-spec, Pushing manifests; image-spec manifest.md.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use shipway_oci::{Digest, parse_json};
use shipway_store::{HostedManifest, MOUNT_PROOF};

use crate::answer::{empty, set, text};
use crate::conditions::{self, Condition};
use crate::digest::{Algorithm, AnyDigest};
use crate::path::{self, Target};
use crate::query::Query;
use crate::refusal::Refusal;
use crate::same_store;
use crate::server::Registry;

/// Manifests of images.
const IMAGES: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
/// Lists of them.
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
/// Tags that one request may give.
const TAGS: usize = 64;

/// Answers with a manifest.
pub(crate) async fn get(
    registry: &Registry,
    name: String,
    reference: Target,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let (manifest, bytes) = registry.manifest(name, reference).await?;
    let tag = format!("\"{}\"", manifest.digest);
    conditions::require(headers, &tag)?;
    let mut response = if conditions::is_known(headers, &tag) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        let length = bytes.len();
        let mut response = Response::new(Body::from(bytes));
        set(response.headers_mut(), "content-type", &manifest.media_type);
        set(response.headers_mut(), "content-length", &length.to_string());
        response
    };
    set(response.headers_mut(), "docker-content-digest", &manifest.digest);
    set(response.headers_mut(), "etag", &tag);
    Ok(response)
}

/// Deletes a tag, or a manifest with all its tags.
pub(crate) async fn delete(
    registry: &Registry,
    name: String,
    reference: Target,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let shown = reference.to_string();
    let had = registry.drop_manifest(name, reference, Condition::of(headers)).await?;
    if had { Ok(empty(StatusCode::ACCEPTED)) } else { Err(Refusal::manifest_unknown(&shown)) }
}

/// Takes a manifest in, under its digest and the tags that were asked for.
pub(crate) async fn put(
    registry: &Registry,
    name: String,
    reference: Target,
    (headers, query): (&HeaderMap, &Query),
    body: Body,
) -> Result<Response, Refusal> {
    let condition = Condition::of(headers);
    let mut tags: Vec<String> = query.all("tag").map(path::tag).collect::<Result<_, _>>()?;
    let wanted = match &reference {
        Target::Digest(digest) => Some(digest.clone()),
        Target::Tag(tag) => {
            tags = vec![tag.clone()];
            None
        }
    };
    if tags.len() > TAGS {
        return Err(Refusal::manifest_invalid(format!("more than {TAGS} tags at once")));
    }
    let bytes = read(registry, body).await?;
    let algorithm = wanted.as_ref().map_or(Algorithm::Sha256, |wanted| wanted.algorithm);
    let digest = AnyDigest::of(algorithm, &bytes);
    if wanted.is_some_and(|wanted| wanted != digest) {
        return Err(Refusal::digest_invalid(format!("the manifest has the digest {digest}")));
    }
    let said = Said::read(&bytes, text(headers, "content-type"))?;
    let subject = said.subject.clone();
    let manifest = said.of(digest.to_string(), &bytes);
    let lent = same_store::lend(registry, &name, &manifest, headers).await?;
    registry.put_manifest(name.clone(), (manifest, bytes), tags.clone(), (reference, condition)).await?;
    let mut response = empty(StatusCode::CREATED);
    let answer = response.headers_mut();
    set(answer, "location", &format!("/v2/{name}/manifests/{digest}"));
    set(answer, "docker-content-digest", digest.as_str());
    if let Some(subject) = subject {
        set(answer, "oci-subject", &subject);
    }
    if let Some(lent) = lent {
        set(answer, MOUNT_PROOF, &lent);
    }
    if !tags.is_empty() && query.get("tag").is_some() {
        set(answer, "oci-tag", &tags.join(", "));
    }
    Ok(response)
}

async fn read(registry: &Registry, mut body: Body) -> Result<Vec<u8>, Refusal> {
    let limit = registry.inner.config.manifest;
    let mut bytes = Vec::new();
    while let Some(piece) = registry.next(&mut body).await? {
        if (bytes.len() + piece.len()) as u64 > limit {
            return Err(Refusal::size(format!("a manifest may have {limit} bytes")));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// What a manifest says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) media_type: String,
    pub(crate) subject: Option<String>,
    pub(crate) artifact_type: String,
    pub(crate) annotations: String,
    /// Digests of the blobs that must be there.
    pub(crate) needed: Vec<String>,
}

impl Said {
    /// Returns what is said by a manifest that was not read.
    pub(crate) fn unread(media_type: String) -> Self {
        let (artifact_type, annotations) = (String::new(), "{}".to_owned());
        Self { media_type, subject: None, artifact_type, annotations, needed: Vec::new() }
    }

    /// Returns what a repository keeps of a manifest with these bytes.
    pub(crate) fn of(self, digest: String, bytes: &[u8]) -> HostedManifest {
        HostedManifest {
            digest,
            blob: Digest::of(bytes),
            size: bytes.len() as u64,
            media_type: self.media_type,
            subject: self.subject,
            artifact_type: self.artifact_type,
            annotations: self.annotations,
            blobs: self.needed,
        }
    }

    /// Reads a manifest that was sent as `header`.
    pub(crate) fn read(bytes: &[u8], header: Option<&str>) -> Result<Self, Refusal> {
        let invalid = |message: &str| Refusal::manifest_invalid(message);
        let value: Value = parse_json(bytes)
            .map_err(|error| invalid(&format!("the manifest is no JSON that means one thing: {error}")))?;
        let own = value["mediaType"].as_str();
        let header = header.map(|header| header.split(';').next().unwrap_or_default().trim());
        let media_type = match (own, header.filter(|header| !header.is_empty())) {
            (Some(own), Some(header)) if own != header => {
                return Err(invalid("its `mediaType` and the Content-Type are not the same"));
            }
            (Some(kind), _) | (None, Some(kind)) => kind,
            (None, None) => return Err(invalid("neither `mediaType` nor Content-Type says what it is")),
        };
        if value["schemaVersion"] != 2 {
            return Err(invalid("its `schemaVersion` is not 2"));
        }
        // One document must not be read in two ways. Spec: GHSA-mc8v-mgrf-8f4m.
        let (is_image, is_index) = (IMAGES.contains(&media_type), INDEXES.contains(&media_type));
        let needed = match (is_image, is_index) {
            (true, _) if value.get("manifests").is_none() => needed_by_image(&value)?,
            (_, true) if value.get("layers").is_none() && value.get("config").is_none() => {
                check_children(&value)?;
                Vec::new()
            }
            (false, false) => return Err(invalid(&format!("manifests of type {media_type} are not taken"))),
            _ => return Err(invalid("it is an image and an index at once")),
        };
        let subject = match value.get("subject") {
            None | Some(Value::Null) => None,
            Some(subject) => Some(digest_in(subject)?),
        };
        let artifact = value["artifactType"].as_str().filter(|kind| !kind.is_empty());
        let config = value["config"]["mediaType"].as_str().filter(|_| is_image);
        let annotations = value.get("annotations").filter(|found| found.is_object());
        Ok(Self {
            media_type: media_type.to_owned(),
            subject,
            artifact_type: artifact.or(config).unwrap_or_default().to_owned(),
            annotations: annotations.map_or_else(|| "{}".to_owned(), ToString::to_string),
            needed,
        })
    }
}

/// Returns the digest of a descriptor.
fn digest_in(descriptor: &Value) -> Result<String, Refusal> {
    let digest: AnyDigest = descriptor["digest"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Refusal::manifest_invalid("a descriptor has no sha256 or sha512 digest"))?;
    if descriptor["size"].as_u64().is_none() {
        return Err(Refusal::manifest_invalid("a descriptor has no size"));
    }
    Ok(digest.to_string())
}

fn needed_by_image(value: &Value) -> Result<Vec<String>, Refusal> {
    let mut needed = vec![digest_in(&value["config"])?];
    let layers = match value.get("layers") {
        // Compat: Go writes a list of nothing so.
        None | Some(Value::Null) => &[][..],
        Some(layers) => layers.as_array().ok_or_else(|| Refusal::manifest_invalid("`layers` is no list"))?,
    };
    for layer in layers {
        let digest = digest_in(layer)?;
        let kind = layer["mediaType"].as_str().unwrap_or_default();
        // Those lie elsewhere, where `urls` says.
        if !kind.contains("nondistributable") && !kind.contains(".foreign.") {
            needed.push(digest);
        }
    }
    Ok(needed)
}

/// An index may list manifests that are not here: an image for some of its platforms.
fn check_children(value: &Value) -> Result<(), Refusal> {
    let children = value["manifests"].as_array();
    let children = children.ok_or_else(|| Refusal::manifest_invalid("`manifests` is no list"))?;
    children.iter().try_for_each(|child| digest_in(child).map(drop))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shipway_testkit::{Dice, rounds};

    use super::*;

    #[test]
    fn whatever_a_manifest_says_it_is_read_or_refused() {
        let blob = AnyDigest::of(Algorithm::Sha256, b"blob").to_string();
        let descriptor = json!({"mediaType": "x/config", "digest": blob, "size": 4});
        let image = json!({
            "schemaVersion": 2, "mediaType": IMAGES[0], "config": descriptor, "layers": [descriptor],
            "subject": descriptor, "annotations": {"a": "b"},
        })
        .to_string();
        let words: [&[u8]; 7] =
            [b"\"manifests\":[]", b"null", b"{}", b"[[[[", b"-1", b"1e999", b"\"mediaType\":\"x\""];
        let mut dice = Dice::new(0x3a);
        let mut read = 0;
        for _ in 0..rounds(20_000) {
            let bytes = dice.mutate(image.as_bytes(), &words);
            if let Ok(said) = Said::read(&bytes, [None, Some(IMAGES[0])][dice.roll(2)]) {
                read += 1;
                assert!(said.needed.iter().all(|digest| digest.parse::<AnyDigest>().is_ok()));
                let known = IMAGES.contains(&&*said.media_type) || INDEXES.contains(&&*said.media_type);
                assert!(known, "{}", said.media_type);
            }
        }
        assert!(read > 100, "{read}");
    }

    #[test]
    fn a_manifest_says_one_thing_and_says_it_well() {
        let blob = AnyDigest::of(Algorithm::Sha256, b"blob").to_string();
        let descriptor = json!({"mediaType": "x/config", "digest": blob, "size": 4});
        let image = json!({
            "schemaVersion": 2, "mediaType": IMAGES[0], "config": descriptor, "layers": [descriptor],
            "subject": descriptor, "annotations": {"a": "b"},
        });
        let said = Said::read(image.to_string().as_bytes(), Some(IMAGES[0])).unwrap();
        assert_eq!(said.needed, [blob.clone(), blob.clone()]);
        assert_eq!((said.subject.as_deref(), said.artifact_type.as_str()), (Some(blob.as_str()), "x/config"));
        let with = |key: &str, value: Value| {
            let mut changed = image.clone();
            changed[key] = value;
            changed.to_string()
        };
        let empty = Said::read(with("layers", Value::Null).as_bytes(), None).unwrap();
        assert_eq!(empty.needed, std::slice::from_ref(&blob));
        for (text, kind, want) in [
            ("{".to_owned(), Some(IMAGES[0]), "is no JSON"),
            (image.to_string().replacen('{', "{\"layers\":[],", 1), None, "is no JSON that means one thing"),
            ("[]".to_owned(), None, "neither `mediaType` nor"),
            (image.to_string(), Some(IMAGES[1]), "are not the same"),
            (with("schemaVersion", json!(1)), None, "is not 2"),
            (with("manifests", json!([])), None, "an image and an index at once"),
            (with("mediaType", json!(INDEXES[0])), None, "an image and an index at once"),
            (with("mediaType", json!("text/plain")), None, "are not taken"),
            (with("config", json!({})), None, "has no sha256 or sha512 digest"),
            (with("config", json!({"digest": blob})), None, "has no size"),
            (with("layers", json!("x")), None, "`layers` is no list"),
            (with("subject", json!({"digest": "x"})), None, "has no sha256 or sha512 digest"),
        ] {
            let refusal = Said::read(text.as_bytes(), kind).unwrap_err();
            assert!(refusal.message.contains(want), "{text}: {}", refusal.message);
        }
    }
}
