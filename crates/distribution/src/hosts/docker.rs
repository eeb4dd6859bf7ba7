//! Docker's certificates: `certs.d/HOST:PORT`, where `*.crt` are authorities and `*.cert` with `*.key` what is shown.
//!
//! Spec: docker's documentation, "Verify repository client with certificates".

use std::path::{Path, PathBuf};

use shipway_fetch::Identity;

use super::{Host, folders};

/// Adds what is there for a registry.
pub(super) fn read(dir: &Path, registry: &str, host: &mut Host) {
    for folder in folders(registry) {
        let entries = fs_err::read_dir(dir.join(folder)).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.sort();
        for file in files {
            let key = file.with_extension("key");
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => host.ca.push(file),
                Some("cert") if key.exists() && host.identity.is_none() => {
                    host.identity = Some(Identity { certificate: file, key });
                }
                _ => {}
            }
        }
    }
}
