//! A bucket of object storage as far as a registry needs one, in memory. Spec: Amazon S3 API Reference.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::registry::{Asked, Reply};

/// Objects by name.
#[derive(Debug, Default)]
pub struct Bucket {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl Bucket {
    /// Returns how many objects there are whose name begins so.
    pub fn count(&self, prefix: &str) -> usize {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.keys().filter(|name| name.starts_with(prefix)).count()
    }

    /// Answers a question that names the bucket first: `/BUCKET/OBJECT`.
    ///
    /// # Panics
    /// The question is none that a registry asks.
    pub fn answer(&self, asked: &Asked) -> Reply {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        if !asked.header("authorization").is_some_and(|text| text.starts_with("AWS4-HMAC-SHA256 ")) {
            return Reply::new(403, "");
        }
        let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        let name =
            path.trim_start_matches('/').split_once('/').map_or("", |(_, name)| name).replace("%40", "@");
        let given = |key: &str| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
                .map(|value| value.replace("%2F", "/"))
        };
        let tag_of = |bytes: &[u8]| {
            format!("\"{:x}\"", u32::from_be_bytes(std::array::from_fn(|at| Sha256::digest(bytes)[at])))
        };
        match asked.method.as_str() {
            "GET" if query.contains("list-type=2") => {
                let prefix = given("prefix").unwrap_or_default();
                let found: Vec<(&String, &Vec<u8>)> =
                    objects.iter().filter(|(name, _)| name.starts_with(&prefix)).collect();
                Reply::new(200, listing(&prefix, &found, given("delimiter").is_some(), &tag_of))
            }
            "GET" | "HEAD" => match objects.get(&name) {
                None => Reply::new(404, ""),
                Some(bytes) => content(bytes, asked.header("range")).header("etag", tag_of(bytes)),
            },
            "PUT" => {
                let before = objects.get(&name).map(|bytes| tag_of(bytes));
                let is_wrong = asked.header("if-match").is_some_and(|tag| before.as_deref() != Some(tag))
                    || asked.header("if-none-match").is_some() && before.is_some();
                if is_wrong {
                    return Reply::new(412, "");
                }
                objects.insert(name, asked.body.clone());
                Reply::new(200, "").header("etag", tag_of(&asked.body))
            }
            "DELETE" => {
                objects.remove(&name);
                Reply::new(204, "")
            }
            other => panic!("{other} {}", asked.target),
        }
    }
}

fn content(bytes: &[u8], range: Option<&str>) -> Reply {
    let modified = "Thu, 26 Nov 2026 12:00:00 GMT";
    let range = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = range else {
        return Reply::new(200, bytes).header("last-modified", modified);
    };
    let (first, last): (usize, usize) = (first.parse().unwrap_or(0), last.parse().unwrap_or(usize::MAX - 1));
    let last = last.min(bytes.len() - 1);
    Reply::new(206, &bytes[first..=last])
        .header("last-modified", modified)
        .header("content-range", format!("bytes {first}-{last}/{}", bytes.len()))
}

fn listing(
    prefix: &str,
    found: &[(&String, &Vec<u8>)],
    is_flat: bool,
    tag_of: &dyn Fn(&[u8]) -> String,
) -> String {
    let mut entries = String::new();
    let mut folders: Vec<String> = Vec::new();
    for (name, bytes) in found {
        match name[prefix.len()..].split_once('/') {
            Some((folder, _)) if is_flat => folders.push(format!("{prefix}{folder}/")),
            _ => entries.push_str(&format!(
                "<Contents><Key>{name}</Key><LastModified>2026-11-26T12:00:00.000Z</LastModified><ETag>{}</ETag>\
                 <Size>{}</Size></Contents>",
                tag_of(bytes).replace('"', "&quot;"),
                bytes.len()
            )),
        }
    }
    folders.dedup();
    let folders: Vec<String> = folders
        .iter()
        .map(|folder| format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>"))
        .collect();
    format!(
        "<ListBucketResult><IsTruncated>false</IsTruncated>{entries}{}</ListBucketResult>",
        folders.concat()
    )
}
