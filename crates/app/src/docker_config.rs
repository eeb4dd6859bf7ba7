//! What `config.json` of Docker's says of how lists are printed.

use serde_json::{Map, Value};
use shipway_distribution::CredentialStore;

/// Returns a template that the file has under a key, such as `imagesFormat`. A file that cannot be read has none: those who need what is in
/// it say why.
pub(crate) fn format(key: &str) -> Option<String> {
    let bytes = fs_err::read(CredentialStore::from_environment().path()?).ok()?;
    let document: Map<String, Value> = serde_json::from_slice(&bytes).ok()?;
    let format = document.get(key)?.as_str()?;
    (!format.is_empty()).then(|| format.to_owned())
}
