//! Docker's certificates: `certs.d/HOST:PORT`, where `*.crt` are authorities and `*.cert` with `*.key` what is shown.
//!
//! Spec: docker's documentation, "Verify repository client with certificates".

use std::path::{Path, PathBuf};

use shipway_fetch::Identity;

use super::{Host, folders};
use crate::SettingsError;

/// Adds what is there for a registry. Compat: docker, half of a pair is an error, as whoever left it there wants it to be shown.
pub(super) fn read(dir: &Path, registry: &str, host: &mut Host) -> Result<(), SettingsError> {
    for folder in folders(registry) {
        let entries = fs_err::read_dir(dir.join(folder)).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.sort();
        for file in files {
            let beside = |extension| {
                let other = file.with_extension(extension);
                if other.exists() {
                    Ok(other)
                } else {
                    Err(SettingsError::Half { path: file.clone(), other })
                }
            };
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => host.ca.push(file),
                Some("cert") => {
                    let key = beside("key")?;
                    host.identity.get_or_insert(Identity { certificate: file, key });
                }
                Some("key") => drop(beside("cert")?),
                _ => {}
            }
        }
    }
    Ok(())
}
