//! The document of an event. Compat: BuildKit, `client/graph.go` and the source's place in `solver/pb/ops.proto`: these names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};
use shipway_oci::Digest;

#[derive(Debug, Default, Serialize)]
pub(super) struct Document {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) vertexes: Vec<Vertex>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) statuses: Vec<Status>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) logs: Vec<Log>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) warnings: Vec<Warning>,
}

/// A part of the work, as it stands. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Vertex {
    pub(super) digest: Digest,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<Digest>,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) completed: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) cached: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) error: String,
}

impl Vertex {
    /// Returns one that has not begun.
    pub(super) fn new(digest: Digest, name: String, inputs: Vec<Digest>) -> Self {
        Self { digest, inputs, name, started: None, completed: None, cached: false, error: String::new() }
    }
}

/// How far something in a vertex is.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    pub(super) id: String,
    pub(super) vertex: Digest,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) total: u64,
    pub(super) current: u64,
    pub(super) timestamp: String,
    pub(super) started: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) completed: Option<String>,
}

/// What a vertex printed.
#[derive(Debug, Serialize)]
pub(super) struct Log {
    pub(super) vertex: Digest,
    /// 1 is the standard output; what commands write to the standard error is not told from it.
    pub(super) stream: u8,
    pub(super) data: Base64,
    pub(super) timestamp: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Warning {
    pub(super) vertex: Digest,
    pub(super) level: u8,
    pub(super) short: Base64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) url: String,
    #[serde(rename = "sourceInfo", skip_serializing_if = "Option::is_none")]
    pub(super) source_info: Option<SourceInfo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) range: Vec<Range>,
}

#[derive(Debug, Serialize)]
pub(super) struct SourceInfo {
    pub(super) filename: String,
    pub(super) data: Base64,
    pub(super) language: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Range {
    pub(super) start: Place,
    pub(super) end: Place,
}

/// Lines count from 1. Compat: BuildKit, whose places are whole lines.
#[derive(Debug, Serialize)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) character: usize,
}

/// Bytes as Go writes them to JSON.
#[derive(Debug)]
pub(super) struct Base64(Vec<u8>);

impl From<&[u8]> for Base64 {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
