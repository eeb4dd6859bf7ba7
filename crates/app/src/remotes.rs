//! What builds fetch by an address: files over HTTP, and repositories.

mod download;
pub(crate) mod git;
mod logins;

use std::fmt;
use std::path::{Path, PathBuf};

use shipway_build::{Fetched, Remotes, RepositoryFlags, SeamError, Stop};
use shipway_fetch::{Client, FetchError};

use crate::tasks;

pub(crate) use logins::Logins;

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{message}")]
#[diagnostic(code(build::remote), help("{hint}"))]
pub(crate) struct RemoteError {
    message: String,
    hint: String,
    /// What it came of. Its own hint would say less.
    source: Option<FetchError>,
}

impl RemoteError {
    pub(crate) fn new(message: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Self { message: message.to_string(), hint: hint.to_string(), source: None }
    }

    /// What the client said, with all that it knows of why.
    fn fetch(source: FetchError, hint: impl fmt::Display) -> Self {
        Self { message: source.to_string(), hint: hint.to_string(), source: Some(source) }
    }

    pub(crate) fn io(what: &str, path: &Path, error: &std::io::Error) -> Self {
        let hint = "see that the directory is writable, and that its disk has room";
        Self::new(format!("could not {what} `{}`: {error}", path.display()), hint)
    }
}

/// Fetches with this machine's proxies, certificates and git.
#[derive(Debug)]
pub(crate) struct Remote {
    client: Client,
    /// Where files are kept that were downloaded before.
    kept: PathBuf,
    logins: Logins,
}

impl Remote {
    /// Keeps files below a data root.
    pub(crate) fn new(data: &Path, logins: Logins) -> Result<Self, shipway_fetch::InvalidProxyError> {
        Ok(Self { client: Client::new(tasks::fetching()?), kept: data.join("cache/http"), logins })
    }
}

/// Reads what ADD names, and what its flags say of it; `None` if that is no repository.
pub(crate) fn repository(
    source: &str,
    (keep_git_dir, checksum): RepositoryFlags<'_>,
) -> Option<Result<git::Address, SeamError>> {
    let hint = "write it as `https://HOST/PATH.git#REF:DIRECTORY`";
    let parsed = git::parse(source, git::Form::Source)?;
    let address = parsed.and_then(|address| address.with_flags(keep_git_dir, checksum));
    Some(address.map_err(|why| SeamError::new(RemoteError::new(why, hint))))
}

impl Remotes for Remote {
    fn repository(&self, source: &str, flags: RepositoryFlags<'_>) -> Option<Result<(), SeamError>> {
        Some(repository(source, flags)?.map(drop))
    }

    fn http(&self, url: &str, into: &Path) -> Result<Fetched, SeamError> {
        download::to_file((&self.client, &self.logins), &self.kept, url, into).map_err(SeamError::new)
    }

    fn git(
        &self,
        source: &str,
        into: &Path,
        flags: RepositoryFlags<'_>,
        stop: &Stop,
    ) -> Result<(PathBuf, String), SeamError> {
        let no_address =
            || RemoteError::new(format!("`{source}` is no address of a repository"), "see how it is spelled");
        let address = repository(source, flags).ok_or_else(|| SeamError::new(no_address()))??;
        git::fetch(&address, into, &self.logins, &|| stop.is_set()).map_err(SeamError::new)
    }
}
