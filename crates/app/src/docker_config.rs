//! What `config.json` of Docker's says of how lists are printed, and of what is not to be removed.

use serde_json::{Map, Value};
use shipway_distribution::CredentialStore;

/// Returns a template that the file has under a key, such as `imagesFormat`. A file that cannot be read has none: those who need what is in
/// it say why.
pub(crate) fn format(key: &str) -> Option<String> {
    let document = document()?;
    let format = document.get(key)?.as_str()?;
    (!format.is_empty()).then(|| format.to_owned())
}

/// Returns the filters of all commands that remove what nobody uses, `pruneFilters`.
pub(crate) fn prune_filters() -> Vec<String> {
    let document = document().unwrap_or_default();
    let filters = document.get("pruneFilters").and_then(Value::as_array).into_iter().flatten();
    filters.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn document() -> Option<Map<String, Value>> {
    let bytes = fs_err::read(CredentialStore::from_environment().path()?).ok()?;
    serde_json::from_slice(&bytes).ok()
}
