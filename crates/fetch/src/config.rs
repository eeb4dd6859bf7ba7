//! What a client is told when it is made.

use std::time::Duration;

use crate::{Identity, Proxies, Stop, Trust, Waits};

/// How a [`crate::Client`] connects and how long it waits.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which requests go through a proxy.
    pub proxies: Proxies,
    /// Which certificates are trusted for `https`.
    pub trust: Trust,
    /// What is shown to servers that ask for a certificate.
    pub identity: Option<Identity>,
    /// What the `User-Agent` header says.
    pub user_agent: String,
    /// How long making a connection may take, with TLS and an answer of a proxy.
    pub connect_timeout: Duration,
    /// How long the other side may stay silent, before and within a body.
    pub read_timeout: Duration,
    /// What is repeated, and after what pause.
    pub retry: Retry,
    /// Idle connections kept for each host.
    pub idle_connections: usize,
    /// Ends waiting requests early.
    pub stop: Stop,
    /// Hears of pauses before a request is repeated.
    pub waits: Waits,
}

/// How often a failed request is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, at least one.
    pub attempts: u32,
    /// The first pause; each further one is twice as long, with a random part.
    pub first_pause: Duration,
    /// The longest pause; where a server asks for a longer one, it is not asked again.
    pub longest_pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 5, first_pause: Duration::from_millis(250), longest_pause: Duration::from_secs(20) }
    }
}

impl Config {
    /// Returns the configuration that the process's environment asks for: its proxy variables and `SSL_CERT_FILE`.
    pub fn from_environment() -> Result<Self, crate::InvalidProxyError> {
        Ok(Self { proxies: Proxies::from_environment()?, ..Self::default() })
    }
}

impl Default for Config {
    /// No proxy, the host's certificates.
    fn default() -> Self {
        Self {
            proxies: Proxies::none(),
            trust: Trust::Host,
            identity: None,
            user_agent: concat!("shipway/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(15),
            read_timeout: Duration::from_secs(30),
            retry: Retry::default(),
            idle_connections: 8,
            stop: Stop::default(),
            waits: Waits::default(),
        }
    }
}
