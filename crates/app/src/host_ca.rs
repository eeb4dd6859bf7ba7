//! The host's certificate authorities, lent to build steps.
//!
//! Nothing of the distribution's is covered: the bundle has a place of its own below `/run`, and variables name it
//! (docs/adr/0005). Neither is recorded in the image.

use std::path::PathBuf;

/// Where a step finds the bundle.
pub(crate) const BUNDLE: &str = "/run/shipway/host-ca.crt";
/// Where a step finds the settings of apt that name it.
pub(crate) const APT_CONFIG: &str = "/run/shipway/apt.conf";

/// Variables that name the bundle to the programs that fetch things.
const VARIABLES: [&str; 7] = [
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
];

/// Places where distributions keep the bundle.
const PLACES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Returns the host's bundle: what `SSL_CERT_FILE` names, else where distributions keep it.
pub(crate) fn bundle() -> Option<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    named.into_iter().chain(PLACES.map(PathBuf::from)).find(|path| path.is_file())
}

/// Returns the variables of a step that trusts the host's authorities.
pub(crate) fn variables() -> Vec<String> {
    let named = VARIABLES.iter().map(|name| format!("{name}={BUNDLE}"));
    named.chain([format!("APT_CONFIG={APT_CONFIG}")]).collect()
}

/// Returns the settings of apt.
pub(crate) fn apt_config() -> String {
    format!("Acquire::https::CAInfo \"{BUNDLE}\";\n")
}
