//! The table of contents. Spec: docs/estargz.md, "TOC, TOCEntries and Footer".

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use shipway_oci::{Digest, rfc3339};

use super::{LANDMARK, LANDMARK_CONTENT};
use crate::tar_reader::{Entry, EntryKind};

/// Times that have four digits for the year.
const TIMES: std::ops::RangeInclusive<i64> = 1..=253_402_300_799;

/// The table as it is written.
#[derive(Debug, Serialize)]
pub(super) struct Toc<'a> {
    version: u32,
    entries: &'a [TocEntry],
}

impl Toc<'_> {
    pub(super) fn bytes(entries: &[TocEntry]) -> Vec<u8> {
        serde_json::to_vec(&Toc { version: 1, entries }).expect("names and numbers are always JSON")
    }
}

/// What the table says of an entry, or of a piece of it. What is not known, or is nothing, is left out.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TocEntry {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<u64>,
    #[serde(rename = "modtime", skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dev_major: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dev_minor: Option<u32>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<Digest>,
    /// Where the member begins that has the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) chunk_offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) chunk_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) chunk_digest: Option<Digest>,
}

impl TocEntry {
    /// Returns what is told of an entry, but for its content; the name that cannot be told if there is one.
    pub(super) fn of(entry: &Entry) -> Result<Self, &[u8]> {
        let text = |bytes: &'_ [u8]| std::str::from_utf8(bytes).map(str::to_owned).ok();
        let is_link = matches!(entry.kind, EntryKind::Link | EntryKind::Symlink);
        let is_device = matches!(entry.kind, EntryKind::Character | EntryKind::Block);
        let link_name = match is_link {
            true => Some(text(&entry.link).ok_or(entry.link.as_slice())?),
            false => None,
        };
        let xattrs = entry.xattrs.iter().map(|(name, value)| (name.clone(), STANDARD.encode(value)));
        Ok(Self {
            name: text(&entry.path).ok_or(entry.path.as_slice())?,
            kind: match entry.kind {
                EntryKind::File => "reg",
                EntryKind::Link => "hardlink",
                EntryKind::Symlink => "symlink",
                EntryKind::Character => "char",
                EntryKind::Block => "block",
                EntryKind::Directory => "dir",
                EntryKind::Fifo => "fifo",
            },
            size: Some(entry.size).filter(|size| *size > 0),
            modified: Some(entry.mtime.0).filter(|at| TIMES.contains(at)).map(|at| rfc3339(at, 0)),
            link_name,
            mode: Some(entry.mode & 0o7777),
            uid: Some(entry.uid),
            gid: Some(entry.gid),
            dev_major: is_device.then_some(entry.device.0),
            dev_minor: is_device.then_some(entry.device.1),
            xattrs: xattrs.collect(),
            ..Self::default()
        })
    }

    /// Returns what is told of a later piece of a file.
    pub(super) fn piece_of(name: &str) -> Self {
        Self { name: name.to_owned(), kind: "chunk", ..Self::default() }
    }

    /// Returns what is told of the landmark.
    pub(super) fn landmark(offset: u64) -> Self {
        let digest = Some(Digest::of(&[LANDMARK_CONTENT]));
        Self {
            name: LANDMARK.to_owned(),
            kind: "reg",
            size: Some(1),
            mode: Some(0o644),
            uid: Some(0),
            gid: Some(0),
            digest,
            offset: Some(offset),
            chunk_digest: digest,
            ..Self::default()
        }
    }
}
