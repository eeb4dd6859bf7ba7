//! What went wrong with a registry, and what to do next.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;
use shipway_fetch::{CertificateFault, FetchError, TrustError};
use shipway_oci::{Digest, Platform};
use shipway_store::StoreError;

use crate::registry::Registry;
use crate::{CredentialsError, SeamError, SettingsError};

/// Why something could not be done with a registry.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum RegistryError {
    /// The registry wants to know who asks, or does not let that one in.
    #[error("{host} refused access to `{what}`{}", said(.message))]
    #[diagnostic(code(registry::unauthorized), help("{}", login_hint(.registry, *.logged_in)))]
    Unauthorized {
        /// Where it answers.
        host: String,
        /// The registry, as images name it.
        registry: String,
        /// The repository.
        what: String,
        /// Credentials were sent.
        logged_in: bool,
        /// What the registry said.
        message: String,
    },
    /// There is no such manifest, blob or repository.
    #[error("{host} has no `{what}`{}", said(.message))]
    #[diagnostic(code(registry::not_found), help("{}", missing_hint(.registry, *.logged_in)))]
    NotFound {
        /// Where it answers.
        host: String,
        /// The registry, as images name it.
        registry: String,
        /// What is not there.
        what: String,
        /// Credentials were sent.
        logged_in: bool,
        /// What the registry said.
        message: String,
    },
    /// The registry does not have a layer whose manifest says that it lies elsewhere.
    #[error("{host} does not have layer {}, which its manifest says is to be had at `{url}`", digest.short())]
    #[diagnostic(
        code(registry::elsewhere),
        help(
            "addresses in a manifest are not followed; a tool that does so brings the image: `skopeo copy docker://{image} docker-archive:image.tar && shipway load -i image.tar`"
        )
    )]
    Elsewhere {
        /// Where it answers.
        host: String,
        /// The whole name of the image.
        image: String,
        /// The layer.
        digest: Digest,
        /// The first of these places.
        url: String,
    },
    /// The registry limits how much may be asked.
    #[error("{host} limits requests{}{}", after(*.wait), said(.message))]
    #[diagnostic(code(registry::limited), help("wait, or log in: `shipway login {registry}`"))]
    Limited {
        /// Where it answers.
        host: String,
        /// The registry, as images name it.
        registry: String,
        /// How long it asks to wait.
        wait: Option<Duration>,
        /// What the registry said.
        message: String,
    },
    /// The registry answered with an error that is none of the others.
    #[error("{host} answered {status} to {operation} `{what}`{}", said(.message))]
    #[diagnostic(code(registry::status), help("{}", status_hint(*.status)))]
    Status {
        /// Where it answers.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What was tried.
        operation: &'static str,
        /// With what.
        what: String,
        /// What the registry said.
        message: String,
    },
    /// The registry speaks TLS only.
    #[error("{host} speaks HTTPS, and was asked in plain HTTP")]
    #[diagnostic(
        code(registry::wants_tls),
        help(
            "say so in registries.toml: [registry.\"{registry}\"] plain-http = false, and ca = \"FILE.pem\" if its authority is your own"
        )
    )]
    WantsTls {
        /// Where it answers.
        host: String,
        /// The registry, as images name it.
        registry: String,
    },
    /// The registry's certificate is signed by nobody who is trusted.
    #[error("the certificate of {host} is not trusted")]
    #[diagnostic(
        code(registry::untrusted),
        help("{}", untrusted_hint(registry, source.certificate_fault(), authorities))
    )]
    Untrusted {
        /// Where it answers.
        host: String,
        /// The registry, as images name it.
        registry: String,
        /// The files with authorities that are trusted for it.
        authorities: Vec<PathBuf>,
        /// Who was tried, and what the verification said.
        source: FetchError,
    },
    /// The registry takes only those who show a certificate that it knows.
    #[error("{host} wants a client certificate that it knows")]
    #[diagnostic(
        code(registry::certificate),
        help(
            "name it in registries.toml: [registry.\"{registry}\"] client-cert = \"FILE.pem\", client-key = \"FILE.pem\""
        )
    )]
    WantsCertificate {
        /// Where it answers.
        host: String,
        /// The registry, as images name it.
        registry: String,
        /// What it said.
        source: FetchError,
    },
    /// Name or password is not what the registry knows.
    #[error("{host} does not take this user name and password{}", said(.message))]
    #[diagnostic(
        code(registry::login),
        help(
            "check both; a registry with two-factor login or SSO wants a token of your account's settings as password"
        )
    )]
    WrongPassword {
        /// Where it answers.
        host: String,
        /// What the registry said.
        message: String,
    },
    /// What a name stands for is something else than an image.
    #[error("`{what}` is no container image: its config is of type {kind}")]
    #[diagnostic(
        code(registry::artifact),
        help("it is another kind of artifact: the tool that made it pulls it, such as `helm` or `oras`")
    )]
    NoImage {
        /// Its name.
        what: String,
        /// The media type.
        kind: String,
    },
    /// No answer came.
    #[error("could not talk to {host}")]
    #[diagnostic(code(registry::unreachable))]
    Unreachable {
        /// Where it should answer.
        host: String,
        /// What was tried.
        #[source]
        #[diagnostic_source]
        source: FetchError,
    },
    /// The connection broke, and asking for the rest did not help.
    #[error("{what} broke off after {received} of {size} bytes")]
    #[diagnostic(code(registry::broken), help("try again; what has arrived of other layers is kept"))]
    Broken {
        /// The blob.
        what: String,
        /// Bytes that arrived.
        received: u64,
        /// Bytes that should have.
        size: u64,
        /// What the last attempt ended in.
        source: io::Error,
    },
    /// What arrived is not what was announced.
    #[error("{host} sent a wrong {what}: {reason}")]
    #[diagnostic(
        code(registry::content),
        help("the registry, or something on the way, is damaged or hostile: nothing of it was kept")
    )]
    Content {
        /// Where it answers.
        host: String,
        /// Which document or blob.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The token service that the registry names must not be asked.
    #[error("{host} names the token service `{realm}`, which is not asked: {reason}")]
    #[diagnostic(
        code(registry::realm),
        help(
            "if it is right, allow it in registries.toml: [registry.\"{registry}\"] token-hosts = [\"HOST\"]"
        )
    )]
    Realm {
        /// Where it answers.
        host: String,
        /// The registry, as images name it.
        registry: String,
        /// The token service.
        realm: String,
        /// Why not.
        reason: &'static str,
    },
    /// The settings of registries.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Settings(SettingsError),
    /// An index has nothing for the platform.
    #[error("no image for platform {wanted} in `{what}`; {}", listing(available))]
    #[diagnostic(code(registry::platform), help("{}", choice(available)))]
    Platform {
        /// The name.
        what: String,
        /// The platform that was wanted.
        wanted: Platform,
        /// Those that there are.
        available: Vec<String>,
    },
    /// The certificates that the settings name cannot be used.
    #[error("the certificates of {host} that the settings name cannot be used")]
    #[diagnostic(
        code(registry::certificates),
        help(
            "see ca, client-cert and client-key of [registry.\"{registry}\"] in registries.toml, or what stands in /etc/containerd/certs.d or /etc/docker/certs.d: PEM files, and a key without a password"
        )
    )]
    Certificates {
        /// Where it answers.
        host: String,
        /// The registry, as images name it.
        registry: String,
        /// Which file.
        source: TrustError,
    },
    /// Credentials could not be read.
    #[error("could not find out how to log in to {host}")]
    #[diagnostic(code(registry::credentials))]
    Credentials {
        /// Where it answers.
        host: String,
        /// Why not.
        #[source]
        #[diagnostic_source]
        source: CredentialsError,
    },
    /// The store did not take something, or does not have it.
    #[error("could not use the image store")]
    #[diagnostic(code(registry::store))]
    Store {
        /// Why not.
        #[source]
        #[diagnostic_source]
        source: StoreError,
    },
    /// A layer that another tool made is here as files only, and its archive cannot be made again.
    #[error("the archive of layer {} is not here, and cannot be made again from its files", digest.short())]
    #[diagnostic(
        code(registry::not_repeatable),
        help("pull the image again under the name that it came from, or import it again, then push it")
    )]
    NotRepeatable {
        /// The diff ID.
        digest: Digest,
    },
    /// A name stands for images for several platforms, and one of them is not here any more.
    #[error("the image {} for another platform, which index {} lists, is not here as a whole", digest.short(), index.short())]
    #[diagnostic(
        code(registry::incomplete),
        help(
            "build it again for all platforms, then push it; or push one that is here: `shipway push --platform OS/ARCH NAME`"
        )
    )]
    Incomplete {
        /// Digest of the index.
        index: Digest,
        /// Digest of the manifest that it lists.
        digest: Digest,
    },
    /// A layer could not be taken in or given.
    #[error("could not {operation} layer {}", digest.short())]
    #[diagnostic(code(registry::layer))]
    Layer {
        /// What was tried.
        operation: &'static str,
        /// The layer.
        digest: Digest,
        /// Why not.
        #[source]
        #[diagnostic_source]
        source: Cause,
    },
}

impl RegistryError {
    /// Returns the error and what it came of on one line, for those who show no more.
    pub fn with_cause(&self) -> String {
        let cause = std::error::Error::source(self);
        cause.map_or_else(|| self.to_string(), |cause| format!("{self}: {cause}"))
    }
}

/// An error of what the program injected.
#[derive(Debug)]
pub struct Cause(pub(crate) SeamError);

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl Diagnostic for Cause {
    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.0.code()
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.0.help()
    }

    fn diagnostic_source(&self) -> Option<&dyn Diagnostic> {
        self.0.diagnostic_source()
    }
}

/// An image could not be pulled.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("could not pull `{reference}`")]
#[diagnostic(code(registry::pull))]
pub struct PullError {
    /// Its name.
    pub reference: String,
    /// Why not.
    #[source]
    #[diagnostic_source]
    pub source: RegistryError,
}

/// An image could not be pushed.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("could not push `{reference}`")]
#[diagnostic(code(registry::push))]
pub struct PushError {
    /// Its name.
    pub reference: String,
    /// Why not.
    #[source]
    #[diagnostic_source]
    pub source: RegistryError,
}

impl RegistryError {
    pub(crate) fn store(source: StoreError) -> Self {
        Self::Store { source }
    }

    /// Sorts what went wrong on the way to a registry.
    pub(crate) fn of_fetch(registry: &Registry, source: FetchError) -> Self {
        let (host, settings) = (registry.host(), &registry.inner.host);
        let has_own = !settings.ca.is_empty() || settings.identity.is_some();
        let registry = registry.name();
        match source {
            FetchError::Trust { source, .. } if has_own => {
                Self::Certificates { host, registry: registry.to_owned(), source }
            }
            FetchError::Untrusted { .. } => {
                let authorities = settings.ca.clone();
                Self::Untrusted { host, registry: registry.to_owned(), authorities, source }
            }
            FetchError::WantsCertificate { .. } => {
                Self::WantsCertificate { host, registry: registry.to_owned(), source }
            }
            FetchError::TooLarge { url, budget } => Self::Content {
                host,
                what: "answer".to_owned(),
                reason: format!("{url} is larger than {budget} bytes"),
            },
            _ => Self::Unreachable { host, source },
        }
    }
}

/// Says what to do about a certificate that is not trusted.
fn untrusted_hint(registry: &str, fault: Option<CertificateFault>, authorities: &[PathBuf]) -> String {
    match (fault, authorities) {
        (Some(CertificateFault::Expired), _) => {
            "whoever runs it must renew its certificate; see also that the clock of this machine is right: `date`".to_owned()
        }
        (Some(CertificateFault::NotYet), _) => "see that the clock of this machine is right: `date`".to_owned(),
        (Some(CertificateFault::OtherName), _) => {
            "ask it by a name that its certificate has, or have it given one for this name".to_owned()
        }
        (Some(CertificateFault::UnknownIssuer), [first, ..]) => format!(
            "the authority in `{}`, which is trusted for it, has not issued its certificate: name the one that has",
            first.display()
        ),
        _ => format!(
            "name its authority in registries.toml: [registry.\"{registry}\"] ca = \"FILE.pem\"; for plain HTTP: plain-http = true"
        ),
    }
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

fn after(wait: Option<Duration>) -> String {
    wait.map(|wait| format!(" for the next {} seconds", wait.as_secs())).unwrap_or_default()
}

/// Says what an index has.
fn listing(available: &[String]) -> String {
    match available {
        [] => "its index lists no image".to_owned(),
        _ => format!("there are: {}", available.join(", ")),
    }
}

fn choice(available: &[String]) -> &'static str {
    match available {
        [] => "choose another tag, or push an image to this one",
        _ => "choose one of them: --platform OS/ARCHITECTURE",
    }
}

fn login_hint(registry: &str, logged_in: bool) -> String {
    if logged_in {
        format!("the account may not do this; log in as another: `shipway login {registry}`")
    } else {
        format!("log in, then try again: `shipway login {registry}`")
    }
}

/// Who is logged in need not do so.
fn missing_hint(registry: &str, logged_in: bool) -> String {
    if logged_in {
        "check the name and the tag; a repository that the account may not see looks the same".to_owned()
    } else {
        format!(
            "check the name and the tag; a private repository looks the same to those who did not `shipway login {registry}`"
        )
    }
}

fn status_hint(status: u16) -> &'static str {
    match status {
        500..=599 => "the registry has a problem: try again later",
        405 => "the registry is read-only, or is no registry",
        407 => {
            "the proxy wants a user name and password: write them into HTTP_PROXY and HTTPS_PROXY, http://NAME:PASSWORD@HOST:PORT"
        }
        413 => "the registry, or a proxy before it, does not take blobs of this size",
        _ => "see that the name is that of a registry: HOST/REPOSITORY:TAG",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_log_in_who_is() {
        for hint in [missing_hint, login_hint] {
            assert!(hint("reg.test", false).contains("`shipway login reg.test`"));
        }
        assert!(!missing_hint("reg.test", true).contains("shipway login"));
        assert!(login_hint("reg.test", true).contains("as another"));
    }

    #[test]
    fn what_to_do_about_a_certificate_depends_on_what_is_wrong_with_it() {
        let ca = [PathBuf::from("/ca.pem")];
        for (fault, authorities, want) in [
            (CertificateFault::Expired, &ca[..], "must renew"),
            (CertificateFault::NotYet, &[], "the clock"),
            (CertificateFault::OtherName, &ca, "a name that its certificate has"),
            (CertificateFault::UnknownIssuer, &ca, "the authority in `/ca.pem`"),
            (CertificateFault::UnknownIssuer, &[], "[registry.\"reg.test\"] ca = "),
            (CertificateFault::Other, &ca, "[registry.\"reg.test\"] ca = "),
        ] {
            let hint = untrusted_hint("reg.test", Some(fault), authorities);
            assert!(hint.contains(want), "case {fault:?}: {hint}");
        }
    }
}
