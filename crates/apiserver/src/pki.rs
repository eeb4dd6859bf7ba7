//! The cluster's own certificate authority, the server's certificate, and the administrator's.
//!
//! The authority's and the administrator's keys live in files of mode 0600; the server's certificate is made anew at
//! each start. Only certificates issued here for a known identity are accepted from clients: there is no other issuer.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use ring::hmac;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use time::{Duration, OffsetDateTime};

use crate::{Identity, object};

/// Names under which pods and local clients reach the server.
pub(crate) const NAMES: &[&str] = &[
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// Why the keys could not be set up.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PkiError {
    /// A file could not be read or written.
    #[error("could not use `{}`", path.display())]
    #[diagnostic(code(apiserver::pki::file))]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A key or certificate does not parse.
    #[error("`{}` is damaged", path.display())]
    #[diagnostic(
        code(apiserver::pki::damaged),
        help(
            "remove the cluster's `pki` folder: new keys are made at the next start, old kubeconfigs end to work"
        )
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A certificate could not be made.
    #[error("could not issue a certificate")]
    #[diagnostic(code(apiserver::pki::issue))]
    Issue {
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The TLS library refused the keys.
    #[error("could not set up TLS")]
    #[diagnostic(code(apiserver::pki::tls))]
    Tls {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Keys and certificates of a cluster.
pub(crate) struct Pki {
    ca_pem: String,
    admin_pem: String,
    admin_key_pem: String,
    admin_der: CertificateDer<'static>,
    server: (CertificateDer<'static>, Vec<u8>),
    pub(crate) token_key: hmac::Key,
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pki").finish_non_exhaustive()
    }
}

fn issue(source: rcgen::Error) -> PkiError {
    PkiError::Issue { source }
}

fn params(name: &str, organization: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(3650);
    params
}

/// Returns the content of `path`, made by `make` if it is missing.
fn load_or(path: &Path, make: impl FnOnce() -> Result<String, PkiError>) -> Result<String, PkiError> {
    let file = |source| PkiError::File { path: path.to_owned(), source };
    match fs_err::read_to_string(path) {
        Ok(text) => return Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(file(error)),
    }
    let text = make()?;
    write_private(path, text.as_bytes()).map_err(file)?;
    Ok(text)
}

/// Writes a file of mode 0600: whole, or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let mut file =
        fs_err::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs_err::rename(&part, path)
}

impl Pki {
    /// Loads or makes everything below `dir`.
    pub(crate) fn open(dir: &Path, addresses: &[IpAddr]) -> Result<Self, PkiError> {
        let in_dir = |name: &str| dir.join(name);
        fs_err::create_dir_all(dir).map_err(|source| PkiError::File { path: dir.to_owned(), source })?;
        let new_key = || Ok(KeyPair::generate().map_err(issue)?.serialize_pem());
        let key_of =
            |path: PathBuf, pem: &str| KeyPair::from_pem(pem).map_err(|_bad| PkiError::Damaged { path });
        let ca_key_pem = load_or(&in_dir("ca.key"), new_key)?;
        let ca_key = key_of(in_dir("ca.key"), &ca_key_pem)?;
        let mut ca = params("shipway-ca", None);
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let ca_pem = load_or(&in_dir("ca.crt"), || Ok(ca.self_signed(&ca_key).map_err(issue)?.pem()))?;
        let issuer = Issuer::new(ca, ca_key);
        let admin_key_pem = load_or(&in_dir("admin.key"), new_key)?;
        let admin_key = key_of(in_dir("admin.key"), &admin_key_pem)?;
        let admin_pem = load_or(&in_dir("admin.crt"), || {
            let mut admin = params("shipway-admin", Some("system:masters"));
            admin.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            admin.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            Ok(admin.signed_by(&admin_key, &issuer).map_err(issue)?.pem())
        })?;
        let admin_der = CertificateDer::from_pem_slice(admin_pem.as_bytes())
            .map_err(|_bad| PkiError::Damaged { path: in_dir("admin.crt") })?;
        let token_key = load_or(&in_dir("token.key"), || Ok(object::random_token()))?;
        let server = server_certificate(&issuer, addresses)?;
        let token_key = hmac::Key::new(hmac::HMAC_SHA256, token_key.as_bytes());
        Ok(Self { ca_pem, admin_pem, admin_key_pem, admin_der, server, token_key })
    }

    /// Returns the authority's certificate.
    pub(crate) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Returns whose certificate this is.
    pub(crate) fn identity_of(&self, certificate: &CertificateDer<'_>) -> Option<Identity> {
        (certificate.as_ref() == self.admin_der.as_ref()).then(Identity::admin)
    }

    /// Returns a kubeconfig for the administrator, without references to files.
    pub(crate) fn kubeconfig(&self, server: &str) -> String {
        let ca = BASE64.encode(&self.ca_pem);
        let certificate = BASE64.encode(&self.admin_pem);
        let key = BASE64.encode(&self.admin_key_pem);
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: shipway\n  cluster:\n    server: {server}\n    \
             certificate-authority-data: {ca}\nusers:\n- name: shipway-admin\n  user:\n    \
             client-certificate-data: {certificate}\n    client-key-data: {key}\ncontexts:\n- name: shipway\n  \
             context:\n    cluster: shipway\n    user: shipway-admin\n    namespace: default\n\
             current-context: shipway\n"
        )
    }

    /// Returns the configuration of the TLS listener.
    pub(crate) fn server_config(&self) -> Result<ServerConfig, PkiError> {
        let tls = |source: Box<dyn std::error::Error + Send + Sync>| PkiError::Tls { source };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(self.ca_pem.as_bytes()).map_err(|e| tls(Box::new(e)))?;
        roots.add(ca).map_err(|e| tls(Box::new(e)))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|e| tls(Box::new(e)))?;
        let (certificate, key) = &self.server;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.clone()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| tls(Box::new(e)))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.clone()], key)
            .map_err(|e| tls(Box::new(e)))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn server_certificate(
    issuer: &Issuer<'_, KeyPair>,
    addresses: &[IpAddr],
) -> Result<(CertificateDer<'static>, Vec<u8>), PkiError> {
    let key = KeyPair::generate().map_err(issue)?;
    let mut server = params("shipway-apiserver", None);
    server.not_after = OffsetDateTime::now_utc() + Duration::days(365);
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for name in NAMES {
        server.subject_alt_names.push(SanType::DnsName((*name).try_into().map_err(issue)?));
    }
    server.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
    let certificate = server.signed_by(&key, issuer).map_err(issue)?;
    Ok((certificate.der().clone(), key.serialize_der()))
}
