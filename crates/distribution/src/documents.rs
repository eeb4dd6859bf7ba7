//! Manifests and indexes as registries send them, believed only as far as they are unambiguous.

use std::fmt;
use std::io::Read as _;

use serde_json::{Map, Value};
use shipway_fetch::{Method, Response, is_overdue};
use shipway_oci::{Descriptor, Digest, ImageConfig, Index, Manifest, MediaType, check_values, parse_json};
use shipway_store::CONFIG_LIMIT;

use crate::RegistryError;
use crate::blob::BlobReader;
use crate::refusal::{Attempt, refusal};
use crate::registry::{Ask, Registry};
use crate::sources::Sources;

/// Largest manifest or index. Compat: containerd, distribution and containers/image agree on 4 MiB.
pub(crate) const DOCUMENT_LIMIT: u64 = 4 << 20;

/// So often it is waited in vain for a document that does not come to its end.
const DELAYS: u32 = 2;

/// Media types of what can be pulled, in the order of preference.
const ACCEPTED: [&str; 4] =
    [MediaType::OCI_INDEX, MediaType::DOCKER_INDEX, MediaType::OCI_MANIFEST, MediaType::DOCKER_MANIFEST];

/// A document and what it says.
#[derive(Debug)]
pub struct Document {
    /// The document as it was sent.
    pub bytes: Vec<u8>,
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// What it says.
    pub content: Content,
    /// How many more the registry gives, where it says so.
    pub(crate) quota: Option<Quota>,
}

/// How often a registry may still be asked for manifests. Compat: Docker Hub, `ratelimit-limit` and `ratelimit-remaining`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    remaining: u64,
    limit: u64,
    /// Seconds.
    window: u64,
}

impl Quota {
    fn of(response: &Response) -> Option<Self> {
        Self::parse(response.header("ratelimit-remaining")?, response.header("ratelimit-limit")?)
    }

    /// Reads `76;w=21600` and the like.
    fn parse(remaining: &str, limit: &str) -> Option<Self> {
        let (remaining, _) = remaining.split_once(';')?;
        let (limit, window) = limit.split_once(";w=")?;
        Some(Self {
            remaining: remaining.parse().ok()?,
            limit: limit.parse().ok()?,
            window: window.parse().ok()?,
        })
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { remaining, limit, window } = self;
        write!(f, "{remaining} of {limit} pulls left")?;
        match window.div_ceil(60) {
            0 => Ok(()),
            minutes @ 1..120 => write!(f, " within {minutes} minutes"),
            minutes => write!(f, " within {} hours", minutes.div_ceil(60)),
        }
    }
}

/// What a document says.
#[derive(Debug)]
pub enum Content {
    /// An image for several platforms.
    Index(Index),
    /// One image.
    Manifest(Box<Manifest>),
}

/// A document as it was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    /// What it is called.
    pub(crate) what: String,
    pub(crate) bytes: Vec<u8>,
    /// What it was sent as.
    pub(crate) media_type: String,
    quota: Option<Quota>,
}

/// What is said of a document before it comes.
struct Head {
    media_type: String,
    quota: Option<Quota>,
    announced: Option<Digest>,
}

impl Head {
    fn of(response: &Response) -> Self {
        let content_type = response.header("content-type").unwrap_or_default();
        Self {
            media_type: content_type.split(';').next().unwrap_or_default().trim().to_owned(),
            quota: Quota::of(response),
            announced: response.header("docker-content-digest").and_then(|text| text.parse().ok()),
        }
    }
}

/// Which document is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'a> {
    Tag(&'a str),
    Digest(Digest),
    Described(&'a Descriptor),
}

/// A repository of a registry.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    pub(crate) registry: Registry,
    pub(crate) path: String,
    /// What tokens for pulling allow.
    pub(crate) pull_scope: String,
}

impl Repository {
    pub(crate) fn new(registry: Registry, path: &str) -> Self {
        Self { registry, path: path.to_owned(), pull_scope: format!("repository:{path}:pull") }
    }

    /// Asks what a tag stands for; `None` if the registry does not say.
    pub(crate) fn fetch_digest(&self, tag: &str) -> Result<Option<Digest>, RegistryError> {
        let what = format!("{}:{tag}", self.path);
        let url = self.registry.url(&format!("{}/manifests/{tag}", self.path));
        let ask = Ask::new(Method::Head, &url, &self.pull_scope).header("accept", ACCEPTED.join(", "));
        let response = self.registry.ask(&ask, &[])?;
        if response.status() != 200 {
            return Err(refusal(&self.registry, Attempt { operation: "look for", what: &what }, response));
        }
        Ok(response.header("docker-content-digest").and_then(|text| text.parse().ok()))
    }

    /// Asks how many bytes a blob has.
    pub(crate) fn fetch_size(&self, digest: &Digest) -> Result<u64, RegistryError> {
        let what = format!("blob {}", digest.short());
        let url = self.registry.url(&format!("{}/blobs/{digest}", self.path));
        let response = self.registry.ask(&Ask::new(Method::Head, &url, &self.pull_scope), &[])?;
        if response.status() != 200 {
            return Err(refusal(&self.registry, Attempt { operation: "look for", what: &what }, response));
        }
        let size = response.header("content-length").and_then(|text| text.parse().ok());
        size.ok_or_else(|| self.wrong(&what, "its length is not told".to_owned()))
    }

    /// Fetches a manifest or an index.
    pub(crate) fn fetch_document(&self, wanted: Wanted<'_>) -> Result<Document, RegistryError> {
        let Sent { what, bytes, media_type, quota } = self.fetch_bytes(wanted)?;
        let wrong = |reason: String| self.wrong(&format!("manifest of {what}"), reason);
        let mut document = read_document(bytes, &media_type).map_err(wrong)?;
        document.quota = quota;
        if let Wanted::Described(descriptor) = wanted {
            if descriptor.size != document.bytes.len() as u64 {
                return Err(wrong(format!("it has {} bytes, not {}", document.bytes.len(), descriptor.size)));
            }
            if descriptor.media_type.as_str() != document.media_type {
                let (is, said) = (&document.media_type, &descriptor.media_type);
                return Err(wrong(format!("it is of type {is}, and the index says {said}")));
            }
        }
        Ok(document)
    }

    /// Fetches the bytes of a manifest or an index.
    pub(crate) fn fetch_bytes(&self, wanted: Wanted<'_>) -> Result<Sent, RegistryError> {
        let (tag, digest) = match wanted {
            Wanted::Tag(tag) => (tag.to_owned(), None),
            Wanted::Digest(digest) => (digest.to_string(), Some(digest)),
            Wanted::Described(descriptor) => (descriptor.digest.to_string(), Some(descriptor.digest)),
        };
        let what = format!("{}{}{tag}", self.path, if digest.is_some() { '@' } else { ':' });
        let url = self.registry.url(&format!("{}/manifests/{tag}", self.path));
        let ask = Ask::new(Method::Get, &url, &self.pull_scope).budget(DOCUMENT_LIMIT + 1);
        let (head, bytes) = self.fetch_whole(&ask.header("accept", ACCEPTED.join(", ")), &what)?;
        let Head { media_type, quota, announced } = head;
        let wrong = |reason: String| self.wrong(&format!("manifest of {what}"), reason);
        if bytes.len() as u64 > DOCUMENT_LIMIT {
            return Err(wrong(format!("it is larger than {DOCUMENT_LIMIT} bytes")));
        }
        let found = Digest::of(&bytes);
        if let Some(expected) = digest.or(announced).filter(|expected| *expected != found) {
            return Err(wrong(format!("its digest is {found}, not {expected}")));
        }
        Ok(Sent { what, bytes, media_type, quota })
    }

    /// Asks for a document until all of it has come.
    fn fetch_whole(&self, ask: &Ask<'_>, what: &str) -> Result<(Head, Vec<u8>), RegistryError> {
        let config = self.registry.inner.client.config();
        let mut breaks = 0;
        loop {
            let response = self.registry.ask(ask, &[])?;
            if response.status() != 200 {
                return Err(refusal(&self.registry, Attempt { operation: "get", what }, response));
            }
            let head = Head::of(&response);
            let (mut body, mut bytes) = (response.into_body(), Vec::new());
            let Err(source) = body.by_ref().take(DOCUMENT_LIMIT + 1).read_to_end(&mut bytes) else {
                return Ok((head, bytes));
            };
            breaks += 1;
            // What is small and does not come will not do so the next time.
            let most = if is_overdue(&source) { DELAYS } else { config.retry.attempts };
            if breaks >= most || config.stop.wait(config.retry.pause(breaks, None)) {
                let (what, received) = (format!("manifest of {what}"), body.received());
                let size = body.expected().unwrap_or(received);
                return Err(RegistryError::Broken { what, received, size, source });
            }
        }
    }

    pub(crate) fn wrong(&self, what: &str, reason: String) -> RegistryError {
        RegistryError::Content { host: self.registry.host(), what: what.to_owned(), reason }
    }
}

/// Fetches the config of an image and returns its bytes too.
pub(crate) fn fetch_config(
    sources: &Sources<'_>,
    descriptor: &Descriptor,
) -> Result<(Vec<u8>, ImageConfig), RegistryError> {
    let what = format!("config {}", descriptor.digest.short());
    let wrong = |reason: String| sources.origin().wrong(&what, reason);
    if descriptor.size > CONFIG_LIMIT {
        return Err(wrong(format!("it is larger than {CONFIG_LIMIT} bytes")));
    }
    let bytes = sources.persist(|| {
        let mut reader = BlobReader::new(sources, descriptor);
        let mut bytes = Vec::new();
        let read = reader.read_to_end(&mut bytes);
        read.map(|_length| bytes).map_err(|error| reader.failure(error))
    })?;
    let config: ImageConfig = check_values(&bytes)
        .and_then(|()| parse_json(&bytes))
        .map_err(|error| wrong(format!("it is no image config: {error}")))?;
    Ok((bytes, config))
}

/// Reads a document that was sent as `content_type` (empty if nobody said); the error says what is wrong with it.
pub fn read_document(bytes: Vec<u8>, content_type: &str) -> Result<Document, String> {
    let fields: Map<String, Value> =
        parse_json(&bytes).map_err(|error| format!("it is not valid: {error}"))?;
    let own = fields.get("mediaType").and_then(Value::as_str);
    // Some servers do not know what they serve.
    let vague = ["", "application/json", "text/plain", "application/octet-stream"].contains(&content_type);
    let media_type = match own {
        Some(own) if !vague && own != content_type => {
            return Err(format!("it says that it is of type {own}, and was sent as {content_type}"));
        }
        Some(own) => own,
        None if vague && fields.contains_key("manifests") => MediaType::OCI_INDEX,
        None if vague => MediaType::OCI_MANIFEST,
        None => content_type,
    }
    .to_owned();
    let (lists, is_image) =
        (fields.contains_key("manifests"), fields.contains_key("config") || fields.contains_key("layers"));
    if lists && is_image {
        return Err("it can be read both as an image and as an index".to_owned());
    }
    if fields.get("schemaVersion").and_then(Value::as_u64) != Some(2) {
        return Err("it is of the old schema 1, which nobody makes any more; push the image again".to_owned());
    }
    let kind = MediaType::new(media_type.clone());
    let parse = |error: serde_json::Error| format!("it is not valid: {error}");
    let content = if kind.is_index() {
        Content::Index(parse_json(&bytes).map_err(parse)?)
    } else if kind.is_manifest() {
        Content::Manifest(Box::new(parse_json(&bytes).map_err(parse)?))
    } else {
        return Err(format!("it is of type {media_type}, which is no image"));
    };
    Ok(Document { digest: Digest::of(&bytes), bytes, media_type, content, quota: None })
}

#[cfg(test)]
mod tests {
    use shipway_testkit::{Dice, rounds};

    use super::*;

    const ZERO: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

    #[test]
    fn whatever_a_document_says_it_means_one_thing_or_nothing() {
        let descriptor = format!(r#"{{"mediaType":"{}","digest":"{ZERO}","size":2}}"#, MediaType::OCI_CONFIG);
        let image = format!(r#"{{"schemaVersion":2,"config":{descriptor},"layers":[{descriptor}]}}"#);
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{descriptor}]}}"#);
        let words: [&[u8]; 6] =
            [b"\"manifests\":[],", b"\"layers\":[],", b"null", b"[[[[", b"-1", b"\"config\":{},"];
        let mut dice = Dice::new(0xd0);
        let mut read = 0;
        for round in 0..rounds(20_000) {
            let seed = if round % 2 == 0 { &image } else { &index };
            let bytes = dice.mutate(seed.as_bytes(), &words);
            let Ok(document) = read_document(bytes.clone(), "") else { continue };
            read += 1;
            assert_eq!(document.digest, Digest::of(&bytes));
            let fields: Value = serde_json::from_slice(&bytes).unwrap();
            match document.content {
                Content::Index(_) => {
                    assert!(fields.get("config").is_none() && fields.get("layers").is_none());
                }
                Content::Manifest(_) => assert!(fields.get("manifests").is_none()),
            }
        }
        assert!(read > 1000, "{read}");
    }

    #[test]
    fn a_quota_is_read_where_it_is_told() {
        let told = |remaining, limit| Quota::parse(remaining, limit).map(|quota| quota.to_string());
        assert_eq!(told("76;w=21600", "100;w=21600").unwrap(), "76 of 100 pulls left within 6 hours");
        assert_eq!(told("0;w=90", "5;w=90").unwrap(), "0 of 5 pulls left within 2 minutes");
        for (remaining, limit) in [("", ""), ("76", "100"), ("x;w=1", "1;w=1"), ("1;w=1", "1;w=-1")] {
            assert_eq!(told(remaining, limit), None, "{remaining} {limit}");
        }
    }

    #[test]
    fn a_document_means_one_thing() {
        let oci = MediaType::OCI_MANIFEST;
        let descriptor = format!(r#"{{"mediaType":"{}","digest":"{ZERO}","size":2}}"#, MediaType::OCI_CONFIG);
        let image = format!(r#""config":{descriptor},"layers":[]"#);
        for (name, body, content_type, want) in [
            ("image", format!(r#"{{"schemaVersion":2,{image}}}"#), oci, true),
            ("without type", format!(r#"{{"schemaVersion":2,{image}}}"#), "", true),
            ("index", r#"{"schemaVersion":2,"manifests":[]}"#.to_owned(), MediaType::OCI_INDEX, true),
            ("index as image", r#"{"schemaVersion":2,"manifests":[]}"#.to_owned(), oci, false),
            ("both", format!(r#"{{"schemaVersion":2,"manifests":[],{image}}}"#), oci, false),
            (
                "other type inside",
                format!(r#"{{"schemaVersion":2,"mediaType":"{}",{image}}}"#, MediaType::DOCKER_MANIFEST),
                oci,
                false,
            ),
            ("schema 1", r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(), oci, false),
            ("twice", format!(r#"{{"schemaVersion":2,{image},"layers":[]}}"#), oci, false),
            ("negative size", format!(r#"{{"schemaVersion":2,{image}}}"#).replace(":2}", ":-2}"), oci, false),
            (
                "digest with a path",
                format!(r#"{{"schemaVersion":2,{image}}}"#).replace("00000", "../.."),
                oci,
                false,
            ),
            ("upper case", format!(r#"{{"schemaVersion":2,{image}}}"#).replace("00000", "ABCDE"), oci, false),
            ("another kind", format!(r#"{{"schemaVersion":2,{image}}}"#), "application/x", false),
        ] {
            assert_eq!(read_document(body.into_bytes(), content_type).is_ok(), want, "case {name}");
        }
    }
}
