//! What builds fetch by an address: files over HTTP, and repositories.

mod download;
pub(crate) mod git;
mod logins;

use std::fmt;
use std::path::{Path, PathBuf};

use shipway_build::{Fetched, Remotes, SeamError, Stop};
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

impl Remotes for Remote {
    fn is_git(&self, source: &str) -> bool {
        git::parse(source, git::Form::Source).is_some()
    }

    fn http(&self, url: &str, into: &Path) -> Result<Fetched, SeamError> {
        download::to_file((&self.client, &self.logins), &self.kept, url, into).map_err(SeamError::new)
    }

    fn git(
        &self,
        source: &str,
        into: &Path,
        (keep_git_dir, checksum): (bool, Option<&str>),
        stop: &Stop,
    ) -> Result<(PathBuf, String), SeamError> {
        let hint = "write it as `https://HOST/PATH.git#REF:DIRECTORY`";
        let parsed = git::parse(source, git::Form::Source);
        let parsed = parsed.unwrap_or_else(|| Err(format!("`{source}` is no address of a repository")));
        let mut address = parsed.map_err(|why| SeamError::new(RemoteError::new(why, hint)))?;
        address.keep_git_dir |= keep_git_dir;
        address.checksum = checksum.map(str::to_owned).or(address.checksum);
        git::fetch(&address, into, &self.logins, &|| stop.is_set()).map_err(SeamError::new)
    }
}
