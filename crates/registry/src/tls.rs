//! The certificate that the registry shows.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A certificate and its key, read again when their files have changed. Clones are the same.
#[derive(Clone, Debug)]
pub struct Tls {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    certificate: PathBuf,
    key: PathBuf,
    current: Mutex<(Stamp, Arc<ServerConfig>)>,
}

/// Tells one state of the files from another.
type Stamp = [Option<SystemTime>; 2];

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TlsError {
    /// A file cannot be read, or has not what it should have.
    #[error("could not read `{}`: {reason}", path.display())]
    #[diagnostic(
        code(registry::tls),
        help(
            "--tls-cert wants the certificates in PEM, the server's first, and --tls-key its key in PEM, without a password"
        )
    )]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// They do not belong together.
    #[error("the certificate of `{}` and the key of `{}` cannot be used", certificate.display(), key.display())]
    #[diagnostic(code(registry::tls), help("see that the key is the certificate's"))]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

impl Tls {
    /// Reads a certificate, with those above it, and its key, both in PEM.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let current = Mutex::new((stamp(certificate, key), Arc::new(read(certificate, key)?)));
        let inner = Inner { certificate: certificate.to_owned(), key: key.to_owned(), current };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns what accepts the next connection. Files that became unusable leave it as it was.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let inner = &self.inner;
        let mut current = inner.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamp(&inner.certificate, &inner.key);
        if now != current.0 {
            current.0 = now;
            match read(&inner.certificate, &inner.key) {
                Ok(config) => current.1 = Arc::new(config),
                Err(error) => tracing::warn!(%error, "the certificate is the one that was there before"),
            }
        }
        TlsAcceptor::from(Arc::clone(&current.1))
    }
}

fn stamp(certificate: &Path, key: &Path) -> Stamp {
    [certificate, key].map(|path| fs_err::metadata(path).and_then(|found| found.modified()).ok())
}

fn read(certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let wrong = |path: &Path, error: rustls::pki_types::pem::Error| TlsError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(certificate, error))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error))?;
    let failed = |source| TlsError::Pair { certificate: certificate.to_owned(), key: key.to_owned(), source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(failed)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["one", "two"] {
            let made = rcgen::generate_simple_self_signed(vec!["registry.test".to_owned()]).unwrap();
            fs_err::write(path(&format!("{name}.crt")), made.cert.pem()).unwrap();
            fs_err::write(path(&format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
        }
        Tls::open(&path("one.crt"), &path("one.key")).unwrap();
        for (certificate, key, want) in [
            ("none", "one.key", "/none`"),
            ("one.key", "one.key", "/one.key"),
            ("one.crt", "one.crt", "could not read `"),
            ("one.crt", "two.key", "cannot be used"),
        ] {
            let error = Tls::open(&path(certificate), &path(key)).unwrap_err().to_string();
            assert!(error.contains(want), "{certificate} {key}: {error}");
        }
    }

    #[test]
    fn a_new_certificate_is_shown_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("crt"), dir.path().join("key"));
        let write = |later: u64| {
            let made = rcgen::generate_simple_self_signed(vec!["registry.test".to_owned()]).unwrap();
            fs_err::write(&certificate, made.cert.pem()).unwrap();
            fs_err::write(&key, made.signing_key.serialize_pem()).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(later);
            fs_err::File::options().write(true).open(&key).unwrap().file().set_modified(time).unwrap();
        };
        write(1);
        let tls = Tls::open(&certificate, &key).unwrap();
        let shown = |tls: &Tls| Arc::as_ptr(&tls.inner.current.lock().unwrap().1);
        let first = shown(&tls);
        drop(tls.acceptor());
        assert_eq!(shown(&tls), first);
        write(2);
        drop(tls.acceptor());
        let second = shown(&tls);
        assert_ne!(second, first);
        fs_err::write(&key, "nonsense").unwrap();
        drop(tls.acceptor());
        assert_eq!(shown(&tls), second);
    }
}
