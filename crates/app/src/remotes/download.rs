//! Files over HTTP. What the server says has not changed is not fetched again.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use shipway_build::Fetched;
use shipway_fetch::{Client, Method, Payload, Request, Response};
use shipway_oci::Digest;

use super::RemoteError;

/// Largest file.
const LARGEST: u64 = 64 << 30;
/// Bytes that are copied at a time.
const PIECE: usize = 1 << 20;

/// What is known of a file that was fetched.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    etag: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    modified: Option<u64>,
    digest: String,
}

/// Fetches a file, or takes it from those in `kept` that the server says are still the same.
pub(super) fn to_file(client: &Client, kept: &Path, url: &str, into: &Path) -> Result<Fetched, RemoteError> {
    let place = kept.join(Digest::of(url.as_bytes()).hex());
    let notes = place.with_extension("json");
    let known: Option<Known> =
        fs_err::read(&notes).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let mut request = Request::new(Method::Get, url, LARGEST);
    if let Some(known) = known.as_ref().filter(|_| place.is_file()) {
        request = request.header("if-none-match", known.etag.clone());
    }
    let failed =
        |error: shipway_fetch::FetchError| RemoteError::new(error, format!("try it: `curl -I {url}`"));
    let response = client.exchange(&request, Payload::None).map_err(failed)?;
    match (response.status(), known) {
        (304, Some(known)) => {
            let digest = copy(&place, into)?;
            if digest == known.digest {
                return Ok(Fetched { name: known.name, modified: known.modified });
            }
            // It is damaged: all of it comes again.
            fs_err::remove_file(&notes).map_err(|error| RemoteError::io("remove", &notes, &error))?;
            to_file(client, kept, url, into)
        }
        (200..=299, _) => fetch(response, url, into, (kept, &place, &notes)),
        (status, _) => Err(RemoteError::new(
            format!("{url} answered with status {status}"),
            "see that the address is right, and that it needs no login",
        )),
    }
}

fn fetch(
    response: Response,
    url: &str,
    into: &Path,
    (kept, place, notes): (&Path, &Path, &Path),
) -> Result<Fetched, RemoteError> {
    let write = |error: io::Error| RemoteError::io("write", into, &error);
    let etag = response.header("etag").unwrap_or_default().to_owned();
    let name = response.header("content-disposition").and_then(name_in).map(str::to_owned);
    let modified = response.last_modified();
    let mut body = response.into_body();
    let expected = body.expected();
    let mut file = File::create(into).map_err(write)?;
    let (mut buffer, mut length) = (vec![0; PIECE], 0_u64);
    loop {
        let read = body.read(&mut buffer).map_err(|error| {
            RemoteError::new(format!("{url} broke off after {length} bytes: {error}"), "try again")
        })?;
        if read == 0 {
            break;
        }
        length += read as u64;
        file.write_all(&buffer[..read]).map_err(write)?;
    }
    if expected.is_some_and(|expected| expected != length) {
        return Err(RemoteError::new(format!("{url} broke off after {length} bytes"), "try again"));
    }
    if !etag.is_empty() {
        // A copy for the next time; a build that has its file needs none.
        let keep = || -> Result<(), RemoteError> {
            fs_err::create_dir_all(kept).map_err(|error| RemoteError::io("make", kept, &error))?;
            let part = place.with_extension(format!("{}.part", std::process::id()));
            let digest = copy(into, &part)?;
            fs_err::rename(&part, place).map_err(|error| RemoteError::io("name", place, &error))?;
            let known = Known { etag, name: name.clone(), modified, digest };
            let text = serde_json::to_vec(&known).unwrap_or_default();
            shipway_store::atomic_write(notes, &text, 0o600)
                .map_err(|error| RemoteError::io("write", notes, &error))
        };
        if let Err(error) = keep() {
            tracing::debug!(%error, "a download is not kept");
        }
    }
    Ok(Fetched { name, modified })
}

/// Copies a file and returns its digest.
fn copy(from: &Path, to: &Path) -> Result<String, RemoteError> {
    let failed = |error: io::Error| RemoteError::io("copy", from, &error);
    let mut source = File::open(from).map_err(failed)?;
    let mut target = File::create(to).map_err(failed)?;
    let mut hasher = shipway_oci::Hasher::default();
    let mut buffer = vec![0; PIECE];
    loop {
        let read = source.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            return Ok(hasher.finish().to_string());
        }
        hasher.update(&buffer[..read]);
        target.write_all(&buffer[..read]).map_err(failed)?;
    }
}

/// Returns the file name that a server proposes. Spec: RFC 6266; a path is none.
fn name_in(header: &str) -> Option<&str> {
    let (_, rest) = header.split_once("filename=")?;
    let name = rest.split(';').next()?.trim().trim_matches('"');
    let name = name.rsplit(['/', '\\']).next()?;
    (!name.is_empty() && name != "." && name != "..").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_proposes_names_and_no_paths() {
        for (header, want) in [
            ("attachment; filename=\"a b.tar\"", Some("a b.tar")),
            ("attachment; filename=x.gz; size=5", Some("x.gz")),
            ("attachment; filename=\"../../etc/passwd\"", Some("passwd")),
            ("attachment; filename=\"..\"", None),
            ("inline", None),
        ] {
            assert_eq!(name_in(header), want, "case {header}");
        }
    }
}
