//! What went wrong, what was tried, and what to do next.

use std::io;

use miette::Diagnostic;

use crate::{InvalidProxyError, TrustError};

/// Why something could not be downloaded.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum FetchError {
    /// The text is not an address that can be fetched.
    #[error("`{url}` is not an http or https URL: {reason}")]
    #[diagnostic(code(fetch::url), help("write it as https://HOST/PATH"))]
    Url {
        /// The text, without user name and password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No answer came, however often it was asked.
    #[error("could not reach {url} ({route}, {})", attempts_of(*.attempts))]
    #[diagnostic(
        code(fetch::unreachable),
        help(
            "check the network, the name servers in /etc/resolv.conf and HTTP_PROXY, HTTPS_PROXY and NO_PROXY"
        )
    )]
    Unreachable {
        /// What was asked for, without user name and password.
        url: String,
        /// The addresses or the proxy that were tried.
        route: String,
        /// How often.
        attempts: u32,
        /// What the last attempt ended in.
        source: io::Error,
    },
    /// The server's certificate is signed by nobody the host trusts, or for another name.
    #[error("the certificate of {url} is not trusted ({route})")]
    #[diagnostic(
        code(fetch::untrusted),
        help(
            "if a proxy of your company signs certificates, add its CA to the host's, or name a bundle in SSL_CERT_FILE"
        )
    )]
    Untrusted {
        /// What was asked for.
        url: String,
        /// The addresses or the proxy that were tried.
        route: String,
        /// What the verification said.
        source: io::Error,
    },
    /// The same of the proxy that it is asked through.
    #[error("the certificate of the proxy {proxy} is not trusted")]
    #[diagnostic(code(fetch::untrusted_proxy), help("{}", proxy_hint(fault_of(source))))]
    UntrustedProxy {
        /// Its address, without user name and password.
        proxy: String,
        /// What the verification said.
        source: io::Error,
    },
    /// The server takes only those who show a certificate that it knows.
    #[error("{url} wants a certificate that it knows ({route})")]
    #[diagnostic(code(fetch::certificate), help("whoever runs the server gives one out, with its key"))]
    WantsCertificate {
        /// What was asked for.
        url: String,
        /// The addresses or the proxy that were tried.
        route: String,
        /// What it said.
        source: io::Error,
    },
    /// The server answered with an error.
    #[error("{url} answered {status} ({route}, {})", attempts_of(*.attempts))]
    #[diagnostic(code(fetch::status), help("{}", status_hint(*.status)))]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The addresses or the proxy that were tried.
        route: String,
        /// How often.
        attempts: u32,
    },
    /// The body broke off, and asking for the rest did not help.
    #[error("{url} broke off after {received} bytes ({route}, {})", attempts_of(*.attempts))]
    #[diagnostic(
        code(fetch::truncated),
        help("try again; if it breaks off at the same place, the server or a proxy is at fault")
    )]
    Truncated {
        /// What was asked for.
        url: String,
        /// Bytes that arrived.
        received: u64,
        /// The addresses or the proxy that were tried.
        route: String,
        /// How often.
        attempts: u32,
        /// What the last attempt ended in.
        source: io::Error,
    },
    /// There is more than the caller is ready to take.
    #[error("{url} is larger than {budget} bytes")]
    #[diagnostic(
        code(fetch::too_large),
        help("the server sends something else than was expected; look at the URL")
    )]
    TooLarge {
        /// What was asked for.
        url: String,
        /// What the caller allowed.
        budget: u64,
    },
    /// The server sent us somewhere we do not go.
    #[error("{url} redirects to {target}: {reason}")]
    #[diagnostic(code(fetch::redirect), help("see where `curl -IL {url}` ends, and use that address"))]
    Redirect {
        /// What was asked for.
        url: String,
        /// Where it wants us to go.
        target: String,
        /// Why not.
        reason: &'static str,
    },
    /// No certificates to trust were found.
    #[error("could not prepare a secure connection to {url}")]
    #[diagnostic(code(fetch::trust))]
    Trust {
        /// What was asked for.
        url: String,
        /// What was looked for.
        #[source]
        #[diagnostic_source]
        source: TrustError,
    },
    /// A proxy is configured that cannot be used.
    #[error("could not use the configured proxy")]
    #[diagnostic(code(fetch::proxy))]
    Proxy {
        /// Which variable, and why.
        #[source]
        #[diagnostic_source]
        source: InvalidProxyError,
    },
    /// What arrived could not be written.
    #[error("could not keep what {url} sent")]
    #[diagnostic(code(fetch::write), help("look for free space with `df -h`"))]
    Write {
        /// What was asked for.
        url: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The client was told to stop.
    #[error("stopped fetching {url}")]
    #[diagnostic(code(fetch::stopped))]
    Stopped {
        /// What was asked for.
        url: String,
    },
}

/// What is wrong with a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateFault {
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYet,
    /// It is for other names.
    OtherName,
    /// Nobody who is trusted has issued it.
    UnknownIssuer,
    /// Something else.
    Other,
}

impl FetchError {
    /// Returns what is wrong with the server's certificate, if that is what went wrong.
    pub fn certificate_fault(&self) -> Option<CertificateFault> {
        match self {
            Self::Untrusted { source, .. } => Some(fault_of(source)),
            _ => None,
        }
    }

    /// Returns the HTTP status, if the server answered with one that is an error.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// Returns what is wrong with a certificate that was not taken.
fn fault_of(source: &io::Error) -> CertificateFault {
    use rustls::CertificateError as Fault;
    let fault = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(fault)) = fault else { return CertificateFault::Other };
    match fault {
        Fault::Expired | Fault::ExpiredContext { .. } => CertificateFault::Expired,
        Fault::NotValidYet | Fault::NotValidYetContext { .. } => CertificateFault::NotYet,
        Fault::NotValidForName | Fault::NotValidForNameContext { .. } => CertificateFault::OtherName,
        // One of the same name whose key is another has not issued it either.
        Fault::UnknownIssuer | Fault::BadSignature => CertificateFault::UnknownIssuer,
        _ => CertificateFault::Other,
    }
}

fn proxy_hint(fault: CertificateFault) -> &'static str {
    match fault {
        CertificateFault::Expired => {
            "whoever runs the proxy must renew its certificate; see also that the clock of this machine is right: `date`"
        }
        CertificateFault::NotYet => "see that the clock of this machine is right: `date`",
        CertificateFault::OtherName => {
            "write the proxy in HTTP_PROXY and HTTPS_PROXY by a name that its certificate has"
        }
        CertificateFault::UnknownIssuer | CertificateFault::Other => {
            "add the authority of the proxy to the host's, or name a bundle that has it in SSL_CERT_FILE"
        }
    }
}

fn attempts_of(attempts: u32) -> String {
    if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") }
}

fn status_hint(status: u16) -> &'static str {
    match status {
        401 => "the server wants a user name and password",
        403 => "the server, or a proxy on the way, does not let you in",
        404 | 410 => "check the address",
        407 => "the proxy wants a user name and password: write them into HTTP_PROXY and HTTPS_PROXY",
        429 => "the server limits requests: try again later",
        500..=599 => "the server has a problem: try again later",
        _ => "check the address",
    }
}
