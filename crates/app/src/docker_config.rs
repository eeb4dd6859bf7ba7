//! What `config.json` of Docker's says of how lists are printed, and of what is not to be removed.

use std::io;

use serde::Deserialize;
use serde_json::{Map, Value};
use shipway_distribution::CredentialStore;

use crate::failure::Failure;

/// Returns a template that the file has under a key, such as `imagesFormat`. A file that cannot be read has none: those who need what is in
/// it say why.
pub(crate) fn format(key: &str) -> Option<String> {
    let document = document()?;
    let format = document.get(key)?.as_str()?;
    (!format.is_empty()).then(|| format.to_owned())
}

/// Returns the filters of all commands that remove what nobody uses, `pruneFilters`. What is there and cannot be read is an error: it may
/// say what is to stay.
pub(crate) fn prune_filters() -> Result<Vec<String>, Failure> {
    let store = CredentialStore::from_environment();
    let Some(path) = store.path() else { return Ok(Vec::new()) };
    let unreadable = |why: String| {
        Failure::new(
            format!("could not read what `{}` wants to stay (`pruneFilters`): {why}", path.display()),
            "mend or remove it; `DOCKER_CONFIG=DIR` is another directory to look in",
        )
    };
    let bytes = match fs_err::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    let filters: PruneFilters =
        serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    Ok(filters.all.unwrap_or_default())
}

#[derive(Deserialize)]
struct PruneFilters {
    #[serde(rename = "pruneFilters")]
    all: Option<Vec<String>>,
}

fn document() -> Option<Map<String, Value>> {
    let bytes = fs_err::read(CredentialStore::from_environment().path()?).ok()?;
    serde_json::from_slice(&bytes).ok()
}
