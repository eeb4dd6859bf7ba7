//! Files over HTTP. What the server says has not changed is not fetched again.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shipway_build::Fetched;
use shipway_fetch::{Client, FetchError, Method, Payload, Request, Response};
use shipway_oci::{Digest, Hasher, Hashing};

use super::{Logins, RemoteError};

/// Largest file.
const LARGEST: u64 = 64 << 30;

/// What is known of a file that was fetched.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    etag: String,
    #[serde(default)]
    modified: Option<u64>,
    digest: String,
}

/// Where a file and what is known of it are kept for the next time.
struct Place {
    file: PathBuf,
    notes: PathBuf,
}

/// Fetches a file, or takes it from those in `kept` that the server says are still the same.
pub(super) fn to_file(
    (client, logins): (&Client, &Logins),
    kept: &Path,
    url: &str,
    into: &Path,
) -> Result<Fetched, RemoteError> {
    let file = kept.join(Digest::of(url.as_bytes()).hex());
    let place = Place { notes: file.with_extension("json"), file };
    let known: Option<Known> =
        fs_err::read(&place.notes).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let known = known.filter(|_| place.file.is_file());
    let mut request = Request::new(Method::Get, url, LARGEST);
    if let Some(known) = &known {
        request = request.header("if-none-match", known.etag.clone());
    }
    if let Some(authorization) = logins.of_file(url) {
        request = request.private_header("authorization", authorization);
    }
    let failed = |error: FetchError| RemoteError::fetch(error, format!("try it: `curl -I {url}`"));
    let response = client.exchange(&request, Payload::None).map_err(failed)?;
    match (response.status(), known) {
        (304, Some(known)) => {
            let digest = digest_of(&place.file)?;
            if digest.to_string() == known.digest {
                let failed = |error: io::Error| RemoteError::io("link", &place.file, &error);
                fs_err::hard_link(&place.file, into).map_err(failed)?;
                return Ok(Fetched { modified: known.modified, digest });
            }
            // It is damaged: all of it comes again.
            let failed = |error: io::Error| RemoteError::io("remove", &place.notes, &error);
            fs_err::remove_file(&place.notes).map_err(failed)?;
            to_file((client, logins), kept, url, into)
        }
        (200..=299, _) => fetch(response, url, into, &place),
        (status, _) => Err(RemoteError::new(
            format!("{url} answered with status {status}"),
            "see that the address is right; a login goes with it as a secret: --secret id=HTTP_AUTH_TOKEN_HOST,src=FILE",
        )),
    }
}

fn fetch(response: Response, url: &str, into: &Path, place: &Place) -> Result<Fetched, RemoteError> {
    let etag = response.header("etag").unwrap_or_default().to_owned();
    let modified = response.last_modified();
    let file = File::create(into).map_err(|error| RemoteError::io("write", into, &error))?;
    let mut file = Hashing::new(file);
    io::copy(&mut response.into_body(), &mut file).map_err(|error| {
        RemoteError::new(
            format!("{url} broke off after {} bytes, or they could not be written: {error}", file.length()),
            "try again, and see that the disk has room",
        )
    })?;
    let (_file, digest, _length) = file.finish();
    if !etag.is_empty() {
        let known = Known { etag, modified, digest: digest.to_string() };
        // A build that has its file needs none for the next time.
        if let Err(error) = keep(into, &known, place) {
            tracing::debug!(%error, "a download is not kept");
        }
    }
    Ok(Fetched { modified, digest })
}

/// Keeps a file for the next time. What is between the two steps is found out by its digest.
fn keep(file: &Path, known: &Known, place: &Place) -> io::Result<()> {
    if let Some(directory) = place.file.parent() {
        fs_err::create_dir_all(directory)?;
    }
    match fs_err::remove_file(&place.file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs_err::hard_link(file, &place.file)?,
    }
    shipway_store::atomic_write(&place.notes, &serde_json::to_vec(known)?, 0o600)
}

fn digest_of(path: &Path) -> Result<Digest, RemoteError> {
    let failed = |error: io::Error| RemoteError::io("read", path, &error);
    let mut hasher = Hasher::default();
    io::copy(&mut File::open(path).map_err(failed)?, &mut hasher).map_err(failed)?;
    Ok(hasher.finish())
}
