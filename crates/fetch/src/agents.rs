//! One ureq agent for each way out: directly or through a proxy, plain or with TLS.

use std::sync::{Arc, OnceLock};

use ureq::Agent;
use ureq::config::AutoHeaderValue;
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver as UreqResolver};
use ureq::unversioned::transport::{Connector as _, NextTimeout, RustlsConnector};

use crate::absolute::AbsoluteForm;
use crate::connect::Tcp;
use crate::proxy::Proxy;
use crate::resolve::Resolver;
use crate::stop::{Attached, Stop};
use crate::target::Target;
use crate::tunnel::Tunnel;
use crate::{Config, TrustError};

/// The agents of a client. Certificates are read when the first `https` request comes.
#[derive(Debug)]
pub(crate) struct Agents {
    config: Config,
    resolver: Resolver,
    plain_direct: Agent,
    plain_proxied: Option<Agent>,
    _plain_stop: Attached,
    secure: OnceLock<Result<Secure, TrustError>>,
}

#[derive(Debug)]
struct Secure {
    direct: Agent,
    proxied: Option<Agent>,
    /// For `http` addresses through a proxy that itself wants TLS.
    tunnel: Option<Agent>,
    _stop: Attached,
}

impl Agents {
    pub(crate) fn new(config: Config, resolver: Resolver) -> Self {
        let tcp = || Tcp(config.stop.clone());
        let plain_direct = Agent::with_parts(
            base(&config).build(),
            ().chain(tcp()),
            Names(resolver.clone(), config.stop.clone()),
        );
        let plain_proxied = config.proxies.http().filter(|proxy| !proxy.tls).map(|proxy| {
            Agent::with_parts(
                base(&config).build(),
                ().chain(tcp()).chain(AbsoluteForm),
                AlwaysProxy {
                    resolver: resolver.clone(),
                    stop: config.stop.clone(),
                    host: proxy.host.clone(),
                    port: proxy.port,
                },
            )
        });
        let stop = config.stop.attach([Some(&plain_direct), plain_proxied.as_ref()].into_iter().flatten());
        Self { config, resolver, plain_direct, plain_proxied, _plain_stop: stop, secure: OnceLock::new() }
    }

    /// Returns the agent for an address and the proxy that it goes through.
    pub(crate) fn for_target(&self, target: &Target) -> Result<(&Agent, Option<&Proxy>), TrustError> {
        let proxy = self.config.proxies.for_target(target);
        let agent = match (target.is_https(), proxy) {
            (false, None) => &self.plain_direct,
            (false, Some(proxy)) if !proxy.tls => self.plain_proxied.as_ref().unwrap_or(&self.plain_direct),
            (false, Some(_tls)) => {
                let secure = self.secure()?;
                secure.tunnel.as_ref().unwrap_or(&secure.direct)
            }
            (true, None) => &self.secure()?.direct,
            (true, Some(_)) => {
                let secure = self.secure()?;
                secure.proxied.as_ref().unwrap_or(&secure.direct)
            }
        };
        Ok((agent, proxy))
    }

    /// Whether requests by this proxy carry its credentials in their own header (and not in a CONNECT before them).
    pub(crate) fn sends_proxy_header(target: &Target, proxy: &Proxy) -> bool {
        !target.is_https() && !proxy.tls
    }

    fn secure(&self) -> Result<&Secure, TrustError> {
        self.secure.get_or_init(|| self.open_secure()).as_ref().map_err(TrustError::clone)
    }

    fn open_secure(&self) -> Result<Secure, TrustError> {
        let tls = tls_config(&self.config)?;
        let agent = |proxy: Option<&Proxy>| {
            let config = base(&self.config).tls_config(tls.clone()).proxy(proxy.and_then(to_ureq)).build();
            let connector =
                ().chain(Tunnel::default())
                    .chain(Tcp(self.config.stop.clone()))
                    .chain(RustlsConnector::default());
            Agent::with_parts(config, connector, Names(self.resolver.clone(), self.config.stop.clone()))
        };
        let proxies = &self.config.proxies;
        let direct = agent(None);
        let proxied = proxies.https().map(|proxy| agent(Some(proxy)));
        let tunnel = proxies.http().filter(|proxy| proxy.tls).map(|proxy| agent(Some(proxy)));
        let all = [Some(&direct), proxied.as_ref(), tunnel.as_ref()];
        let stop = self.config.stop.attach(all.into_iter().flatten());
        Ok(Secure { direct, proxied, tunnel, _stop: stop })
    }
}

fn base(config: &Config) -> ureq::config::ConfigBuilder<ureq::typestate::AgentScope> {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(config.user_agent.as_str())
        // What is verified is the file on the server, so it must arrive as it is.
        .accept_encoding(AutoHeaderValue::Provided(Arc::new("identity".to_owned())))
        .timeout_connect(Some(config.connect_timeout))
        .timeout_resolve(Some(config.connect_timeout))
        .timeout_per_read(Some(config.read_timeout))
        .timeout_per_write(Some(config.read_timeout))
        .input_buffer_size(128 * 1024)
        .max_idle_connections(config.idle_connections * 4)
        .max_idle_connections_per_host(config.idle_connections)
}

fn tls_config(config: &Config) -> Result<TlsConfig, TrustError> {
    let certificates = config.trust.load_certificates()?;
    Ok(TlsConfig::builder()
        .client_cert(config.identity.as_ref().map(crate::Identity::load).transpose()?)
        .root_certs(RootCerts::new_with_certs(&certificates))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}

fn to_ureq(proxy: &Proxy) -> Option<ureq::Proxy> {
    let protocol = if proxy.tls { ureq::ProxyProtocol::Https } else { ureq::ProxyProtocol::Http };
    let host = if proxy.host.contains(':') { format!("[{}]", proxy.host) } else { proxy.host.clone() };
    let builder = ureq::Proxy::builder(protocol).host(&host).port(proxy.port);
    let builder = match proxy.user() {
        Some((user, password)) => builder.username(user).password(password),
        None => builder,
    };
    builder.build().ok()
}

/// Our resolver in ureq's clothes.
#[derive(Debug)]
struct Names(Resolver, Stop);

impl UreqResolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().unwrap_or_default();
        let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        resolve((&self.0, &self.1), host, uri.port_u16().unwrap_or(default), timeout, self.empty())
    }
}

/// Answers every question with the proxy's addresses.
#[derive(Debug)]
struct AlwaysProxy {
    resolver: Resolver,
    stop: Stop,
    host: String,
    port: u16,
}

impl UreqResolver for AlwaysProxy {
    fn resolve(
        &self,
        _uri: &Uri,
        _config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        resolve((&self.resolver, &self.stop), &self.host, self.port, timeout, self.empty())
    }
}

fn resolve(
    (resolver, stop): (&Resolver, &Stop),
    host: &str,
    port: u16,
    timeout: NextTimeout,
    mut out: ResolvedSocketAddrs,
) -> Result<ResolvedSocketAddrs, ureq::Error> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let within = timeout.not_zero().map(|left| *left);
    let found =
        resolver.resolve_until(host, within, stop).map_err(|error| ureq::Error::Other(Box::new(error)))?;
    for address in found.into_iter().take(16) {
        out.push((address, port).into());
    }
    Ok(out)
}
