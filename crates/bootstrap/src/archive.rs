//! Reading package archives: what is signed, what it names by digest, and what is kept of it.

mod cache;
mod suite_index;

pub(crate) use cache::FileCache;
pub(crate) use suite_index::{SuiteIndex, open_suite};

use shipway_fetch::{Client, FetchError, Request};
use shipway_oci::{Digest, without_credentials};

use crate::error::BootstrapError;

/// Returns a file that must have `digest` and `size`, from the cache or from `url`.
pub(crate) fn fetch_verified(
    client: &Client,
    cache: &FileCache,
    url: &str,
    digest: Digest,
    size: u64,
) -> Result<Vec<u8>, VerifyError> {
    if let Some(bytes) = cache.load(&digest) {
        return Ok(bytes);
    }
    let bytes = client.bytes(&Request::get(url, size)).map_err(VerifyError::Fetch)?;
    let found = Digest::of(&bytes);
    if found != digest {
        return Err(VerifyError::Mismatch(found));
    }
    cache.keep(&digest, &bytes).map_err(VerifyError::Keep)?;
    Ok(bytes)
}

/// Why a file is not here.
pub(crate) enum VerifyError {
    Fetch(FetchError),
    Mismatch(Digest),
    Keep(BootstrapError),
}

impl VerifyError {
    /// Says which file of which archive it is about.
    pub(crate) fn about(self, what: &str, mirror: &str, url: &str, expected: Digest) -> BootstrapError {
        match self {
            Self::Fetch(source) => {
                BootstrapError::Fetch { what: what.to_owned(), mirror: mirror.to_owned(), source }
            }
            Self::Mismatch(found) => {
                BootstrapError::Mismatch { url: without_credentials(url), expected, found }
            }
            Self::Keep(error) => error,
        }
    }
}
