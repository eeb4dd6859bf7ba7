//! Whose certificates are believed.

use std::path::{Path, PathBuf};

use miette::Diagnostic;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, parse_pem};

/// Where the trusted certificates come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// What the host trusts: `SSL_CERT_FILE`, `SSL_CERT_DIR`, then the places where distributions keep their bundle.
    #[default]
    Host,
    /// The certificates of one PEM file.
    File(PathBuf),
    /// What the host trusts, and the certificates of some PEM files.
    HostAnd(Vec<PathBuf>),
}

/// What proves to servers who we are, where they ask for a certificate. Both files are PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, with those above it.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Why there are no certificates to trust, or none to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum TrustError {
    /// None to trust.
    #[error("found no trusted certificates in {}", list(.tried))]
    #[diagnostic(
        code(fetch::no_certificates),
        help("install the package ca-certificates, or name a PEM bundle in SSL_CERT_FILE")
    )]
    None {
        /// The files and folders that were looked at.
        tried: Vec<PathBuf>,
    },
    /// None to show.
    #[error("found no {what} in `{}`", path.display())]
    #[diagnostic(
        code(fetch::no_identity),
        help("a client certificate and its key are two PEM files; the key must have no password")
    )]
    Identity {
        /// What should be there.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
}

impl Identity {
    pub(crate) fn load(&self) -> Result<ClientCert, TrustError> {
        let certificates = load_file(&self.certificate);
        if certificates.is_empty() {
            let path = self.certificate.clone();
            return Err(TrustError::Identity { what: "client certificate", path });
        }
        let key = fs_err::read(&self.key).ok().and_then(|pem| PrivateKey::from_pem(&pem).ok());
        let none = || TrustError::Identity { what: "key of a client certificate", path: self.key.clone() };
        Ok(ClientCert::new_with_certs(&certificates, key.ok_or_else(none)?))
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Debian and Arch, Fedora and RHEL, openSUSE, Alpine, the BSD-like place.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

impl Trust {
    /// Returns the bundle that [`Trust::Host`] reads, if it is one file: what a container needs to trust the same.
    pub fn host_bundle() -> Option<PathBuf> {
        let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        named.into_iter().chain(BUNDLES.iter().map(PathBuf::from)).find(|path| path.is_file())
    }

    pub(crate) fn load_certificates(&self) -> Result<Vec<Certificate<'static>>, TrustError> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let (files, folders) = match self {
            Self::File(file) => (vec![file.clone()], Vec::new()),
            Self::HostAnd(files) => {
                let mut certificates = Vec::new();
                for file in files {
                    certificates.extend(load(std::slice::from_ref(file), &[])?);
                }
                // A host without any may still have this one.
                certificates.extend(Self::Host.load_certificates().unwrap_or_default());
                return Ok(certificates);
            }
            Self::Host => match (variable("SSL_CERT_FILE"), variable("SSL_CERT_DIR")) {
                (None, None) => (BUNDLES.iter().map(PathBuf::from).collect(), Vec::new()),
                (file, folders) => (
                    file.into_iter().map(PathBuf::from).collect(),
                    folders.iter().flat_map(std::env::split_paths).collect::<Vec<_>>(),
                ),
            },
        };
        load(&files, &folders)
    }
}

/// The first file with certificates counts; the folders are read only if there is none.
fn load(files: &[PathBuf], folders: &[PathBuf]) -> Result<Vec<Certificate<'static>>, TrustError> {
    let from_files = files.iter().map(|file| load_file(file));
    let from_folders = folders.iter().map(|folder| load_folder(folder));
    from_files
        .chain(from_folders)
        .find(|certificates| !certificates.is_empty())
        .ok_or_else(|| TrustError::None { tried: files.iter().chain(folders).cloned().collect() })
}

fn load_file(path: &Path) -> Vec<Certificate<'static>> {
    let Ok(text) = fs_err::read(path) else { return Vec::new() };
    let certificates = parse_pem(&text).filter_map(|found| match found {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    certificates.collect()
}

fn load_folder(path: &Path) -> Vec<Certificate<'static>> {
    let Ok(entries) = fs_err::read_dir(path) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files.iter().filter(|file| file.is_file()).flat_map(|file| load_file(file)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_every_place_that_was_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        fs_err::write(&empty, "no certificate here\n").unwrap();
        let missing = folder.path().join("missing.pem");
        let error = load(&[empty.clone(), missing.clone()], &[folder.path().to_owned()]).unwrap_err();
        assert_eq!(error, TrustError::None { tried: vec![empty, missing, folder.path().to_owned()] });
    }

    #[test]
    fn a_certificate_to_show_needs_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = ["crt.pem", "key.pem"].map(|name| folder.path().join(name));
        let identity = Identity { certificate: certificate.clone(), key: key.clone() };
        let said = |identity: &Identity| identity.load().unwrap_err().to_string();
        assert_eq!(said(&identity), format!("found no client certificate in `{}`", certificate.display()));
        fs_err::write(&certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .unwrap();
        assert_eq!(said(&identity), format!("found no key of a client certificate in `{}`", key.display()));
        fs_err::write(&key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
        identity.load().unwrap();
    }

    #[test]
    fn the_first_file_with_certificates_counts() {
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("bundle.pem");
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        fs_err::write(&bundle, certificate.repeat(2)).unwrap();
        let missing = folder.path().join("missing.pem");
        assert_eq!(load(&[missing, bundle], &[]).unwrap().len(), 2);
        assert_eq!(load(&[], &[folder.path().to_owned()]).unwrap().len(), 2);
    }
}
