//! A suite of an archive, verified.

use std::io::{self, BufReader, Read};
use std::time::SystemTime;

use pgp::types::Timestamp;
use shipway_fetch::{Client, FetchError, Request};
use shipway_oci::{Digest, without_credentials};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::{FileCache, VerifyError, fetch_verified};
use crate::error::BootstrapError;
use crate::index::PackageIndex;
use crate::plan::PlannedSource;
use crate::release::Release;
use crate::signature::{Keyring, verify};

/// Largest `InRelease` that is read; the largest known one has 300 KiB.
const RELEASE_LIMIT: u64 = 8 << 20;

/// A suite whose description is signed by somebody who counts.
#[derive(Clone, Debug)]
pub(crate) struct SuiteIndex {
    pub(crate) source: PlannedSource,
    pub(crate) release: Release,
    /// Digest of the description, which names everything else.
    pub(crate) digest: Digest,
    /// Its time was over, and that was accepted.
    pub(crate) expired: bool,
}

/// Fetches and checks the description of a suite. Nothing, if the suite may be missing and is.
pub(crate) fn open_suite(
    client: &Client,
    source: &PlannedSource,
    keyring: &Keyring,
    now: SystemTime,
) -> Result<Option<SuiteIndex>, BootstrapError> {
    let url = format!("{}/dists/{}/InRelease", source.uri, source.suite);
    let shown = without_credentials(&url);
    let bytes = match client.bytes(&Request::get(&url, RELEASE_LIMIT)) {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.status(), Some(404 | 410)) => {
            return if source.optional { Ok(None) } else { Err(unknown_suite(source, error)) };
        }
        Err(error) => {
            let what = format!("the index of suite `{}`", source.suite);
            return Err(BootstrapError::Fetch {
                what,
                mirror: without_credentials(&source.uri),
                source: error,
            });
        }
    };
    let message = String::from_utf8_lossy(&bytes);
    let timestamp = Timestamp::try_from(now).unwrap_or_default();
    let text = verify(&message, keyring, timestamp)
        .map_err(|error| BootstrapError::Signature { url: shown.clone(), source: error })?;
    let release = Release::parse(&text);
    if !release.is_of_suite(&source.suite) {
        let reason = format!("it describes `{}`, not `{}`", release.codename, source.suite);
        return Err(BootstrapError::Release { url: shown, reason });
    }
    let expired = release.valid_until.is_some_and(|until| until < OffsetDateTime::from(now));
    if let Some(until) = release.valid_until.filter(|_| expired && source.check_valid_until) {
        let until = until.format(&Rfc2822).unwrap_or_else(|_unusual| until.to_string());
        return Err(BootstrapError::Expired { url: shown, until });
    }
    Ok(Some(SuiteIndex { source: source.clone(), release, digest: Digest::of(text.as_bytes()), expired }))
}

fn unknown_suite(source: &PlannedSource, error: FetchError) -> BootstrapError {
    BootstrapError::UnknownSuite {
        mirror: without_credentials(&source.uri),
        suite: source.suite.clone(),
        source: error,
    }
}

impl SuiteIndex {
    /// Fetches the package indexes of all components, compressed.
    pub(crate) fn fetch_packages(
        &self,
        client: &Client,
        cache: &FileCache,
        architecture: &str,
    ) -> Result<Vec<CompressedIndex>, BootstrapError> {
        let mut found = Vec::new();
        let base = format!("{}/dists/{}", self.source.uri, self.source.suite);
        for component in &self.source.components {
            let entry = self.release.package_index(component, architecture);
            let Some((path, file)) = entry.filter(|_| self.release.has_architecture(architecture)) else {
                // Pockets need not have every component; the base suite must have what is asked for.
                if self.source.optional || self.is_pocket() {
                    continue;
                }
                let reason = format!("it has no component `{component}` for {architecture}");
                return Err(BootstrapError::Release {
                    url: without_credentials(&format!("{base}/InRelease")),
                    reason,
                });
            };
            let plain = format!("{base}/{path}");
            let by_hash = path
                .rsplit_once('/')
                .map(|(folder, _)| format!("{base}/{folder}/by-hash/SHA256/{}", file.digest.hex()));
            // By its hash an index can be fetched also while the mirror is being updated.
            let urls = by_hash.into_iter().filter(|_| self.release.by_hash).chain([plain]);
            let mut result = Err(VerifyError::Mismatch(file.digest));
            let mut asked = String::new();
            for url in urls {
                result = fetch_verified(client, cache, &url, file.digest, file.size);
                asked = url;
                let missing =
                    matches!(&result, Err(VerifyError::Fetch(error)) if error.status() == Some(404));
                if !missing {
                    break;
                }
            }
            let what = format!("the package index of `{} {component}`", self.source.suite);
            let mirror = without_credentials(&self.source.uri);
            let bytes = result.map_err(|error| error.about(&what, &mirror, &asked, file.digest))?;
            found.push(CompressedIndex { bytes, path, url: without_credentials(&asked) });
        }
        Ok(found)
    }

    fn is_pocket(&self) -> bool {
        !crate::suite::split_pocket(&self.source.suite).1.is_empty()
    }
}

/// A verified package index as the archive has it.
pub(crate) struct CompressedIndex {
    bytes: Vec<u8>,
    path: String,
    url: String,
}

impl CompressedIndex {
    /// Adds what it lists to `index`.
    pub(crate) fn read_into(&self, index: &mut PackageIndex, archive: usize) -> Result<(), BootstrapError> {
        let bytes = self.bytes.as_slice();
        let plain: Box<dyn Read + '_> = if self.path.ends_with(".xz") {
            Box::new(lzma_rust2::XzReader::new(bytes, true))
        } else {
            Box::new(flate2::read::MultiGzDecoder::new(bytes))
        };
        let added = index.add(&mut BufReader::with_capacity(1 << 16, plain), archive);
        added.map_err(|error: io::Error| BootstrapError::Release {
            url: self.url.clone(),
            reason: error.to_string(),
        })
    }
}
