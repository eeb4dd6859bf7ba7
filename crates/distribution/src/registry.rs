//! A registry: where it answers, who we are to it, and asking it.

use std::collections::HashMap;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use shipway_fetch::{Client, Config, Method, Payload, Request, Resolver, Response, Retry, Trust, Wait};
use shipway_oci::Reference;

use crate::auth::Authorizer;
use crate::hosts::Host;
use crate::settings::Settings;
use crate::{CredentialStore, Credentials, Event, Progress, RegistryError, SettingsError};

/// Largest answer that is no blob and no manifest.
pub(crate) const ANSWER_LIMIT: u64 = 4 << 20;
/// So often a mirror is asked that does not answer: there is somebody else to ask.
const MIRROR_ATTEMPTS: u32 = 2;

/// Everything that registries have in common on this machine: settings, credentials, connections.
#[derive(Clone, Debug)]
pub struct Registries {
    inner: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    credentials: CredentialStore,
    fetch: Config,
    resolver: Resolver,
    client: Client,
    /// Tokens are kept as long as this value.
    known: Mutex<HashMap<String, Registry>>,
}

impl Registries {
    /// Returns the registries as `settings` describe them. Nothing is asked yet.
    pub fn new(settings: Settings, credentials: CredentialStore, fetch: Config) -> Self {
        let resolver = Resolver::host();
        let client = Client::with_resolver(fetch.clone(), resolver.clone());
        let known = Mutex::default();
        let credentials = credentials.with_stop(fetch.stop.clone());
        Self { inner: Arc::new(Shared { settings, credentials, fetch, resolver, client, known }) }
    }

    /// Returns the registry that a name belongs to.
    pub fn of(&self, reference: &Reference) -> Result<Registry, SettingsError> {
        let name = reference.registry();
        if let Some(known) = self.known(name) {
            return Ok(known);
        }
        Ok(self.keep(name, self.open(name, self.inner.settings.hosts_of(name)?.origin, None)))
    }

    /// Returns where the images of a registry are to be had, in the order in which to ask: its mirrors, with whether they are asked what
    /// a tag stands for, and itself.
    pub(crate) fn sources(&self, reference: &Reference) -> Result<Vec<(Registry, bool)>, SettingsError> {
        let name = reference.registry();
        let mirrors = self.inner.settings.hosts_of(name)?.mirrors.into_iter().map(|host| {
            let key = host.endpoint.url("");
            // A mirror is logged in to by its own name.
            let authority = host.endpoint.authority.clone();
            let resolves = host.resolves;
            let known = self.known(&key);
            let patience = self.inner.fetch.retry.attempts.min(MIRROR_ATTEMPTS);
            let open = || self.keep(&key, self.open_for(patience, &authority, host, None));
            (known.unwrap_or_else(open), resolves)
        });
        let mut all: Vec<_> = mirrors.collect();
        all.push((self.of(reference)?, true));
        Ok(all)
    }

    /// Returns a registry that knows us by other credentials than those that are kept.
    pub fn named_as(&self, name: &str, credentials: Credentials) -> Result<Registry, SettingsError> {
        Ok(self.open(name, self.inner.settings.hosts_of(name)?.origin, Some(credentials)))
    }

    /// Makes a registry know us by other credentials than those that are kept, from now on.
    pub fn know(&self, name: &str, credentials: Credentials) -> Result<(), SettingsError> {
        self.keep(name, self.named_as(name, credentials)?);
        Ok(())
    }

    fn known(&self, key: &str) -> Option<Registry> {
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn keep(&self, key: &str, registry: Registry) -> Registry {
        let mut known = self.inner.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(key.to_owned(), registry.clone());
        registry
    }

    /// Does something, and tells why it takes long where requests are repeated.
    pub(crate) fn telling<T>(&self, progress: &dyn Progress, work: impl FnOnce() -> T) -> T {
        let (listening, waits) = self.inner.fetch.waits.listen();
        std::thread::scope(|scope| {
            scope.spawn(move || tell(&waits, progress));
            let _listening = listening;
            work()
        })
    }

    /// Returns where credentials are kept.
    pub fn credentials(&self) -> &CredentialStore {
        &self.inner.credentials
    }

    fn open(&self, name: &str, host: Host, credentials: Option<Credentials>) -> Registry {
        self.open_for(self.inner.fetch.retry.attempts, name, host, credentials)
    }

    /// Opens a registry that is asked so often for the same.
    fn open_for(&self, attempts: u32, name: &str, host: Host, credentials: Option<Credentials>) -> Registry {
        let shared = &self.inner;
        let is_usual = attempts == shared.fetch.retry.attempts;
        let client = if is_usual && host.ca.is_empty() && host.identity.is_none() {
            shared.client.clone()
        } else {
            let trust =
                if host.ca.is_empty() { shared.fetch.trust.clone() } else { Trust::HostAnd(host.ca.clone()) };
            let (identity, retry) = (host.identity.clone(), Retry { attempts, ..shared.fetch.retry });
            let config = Config { trust, identity, retry, ..shared.fetch.clone() };
            Client::with_resolver(config, shared.resolver.clone())
        };
        let authorizer = Authorizer::new(shared.credentials.clone(), credentials);
        Registry { inner: Arc::new(RegistryInner { name: name.to_owned(), host, client, authorizer }) }
    }
}

/// Of requests that wait at the same time for the same reason one is told.
fn tell(waits: &Receiver<Wait>, progress: &dyn Progress) {
    let mut told: Option<Instant> = None;
    for wait in waits {
        if told.is_some_and(|until| Instant::now() < until) {
            continue;
        }
        told = Instant::now().checked_add(wait.pause);
        let note = format!("{}: asking again in {} s", wait.reason, wait.pause.as_secs_f32().ceil());
        progress.event(&Event::Note(&note));
    }
}

/// One registry. Clones share tokens and connections.
#[derive(Clone, Debug)]
pub struct Registry {
    pub(crate) inner: Arc<RegistryInner>,
}

#[derive(Debug)]
pub(crate) struct RegistryInner {
    pub(crate) name: String,
    pub(crate) host: Host,
    pub(crate) client: Client,
    authorizer: Authorizer,
}

/// A question to a registry.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    pub(crate) headers: Vec<(&'a str, String)>,
    /// What a token must allow, such as `repository:NAME:pull`; several are separated by spaces.
    pub(crate) scope: &'a str,
    /// Bytes that the answer may have.
    pub(crate) budget: u64,
}

impl<'a> Ask<'a> {
    pub(crate) fn new(method: Method, url: &'a str, scope: &'a str) -> Self {
        Self { method, url, headers: Vec::new(), scope, budget: ANSWER_LIMIT }
    }

    pub(crate) fn header(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn budget(self, budget: u64) -> Self {
        Self { budget, ..self }
    }
}

impl Registry {
    /// Returns its name in the names of images.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Returns where it answers, for messages.
    pub(crate) fn host(&self) -> String {
        self.inner.host.endpoint.authority.clone()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        self.inner.host.endpoint.url(path)
    }

    pub(crate) fn is_logged_in(&self) -> bool {
        self.inner.authorizer.is_logged_in()
    }

    /// Asks, and proves who we are when the registry wants to know. A token that it no longer takes is replaced once.
    pub(crate) fn ask(&self, ask: &Ask<'_>, bytes: &[u8]) -> Result<Response, RegistryError> {
        let payload = || if bytes.is_empty() { Payload::None } else { Payload::Bytes(bytes) };
        let sent = self.authorization(ask);
        let response = self.send_as(sent.as_deref(), ask, payload())?;
        if response.status() != 401
            || !self.inner.authorizer.authorize(self, ask.scope, sent.as_deref(), &response)?
        {
            return Ok(response);
        }
        let response = self.send(ask, payload())?;
        if response.status() == 401 {
            self.inner.authorizer.note_refusal(ask.scope);
        }
        Ok(response)
    }

    /// Asks with a stream, which can be sent only once: a 401 is the caller's to start again from.
    pub(crate) fn send(&self, ask: &Ask<'_>, payload: Payload<'_>) -> Result<Response, RegistryError> {
        self.send_as(self.authorization(ask).as_deref(), ask, payload)
    }

    /// Returns the `Authorization` header for a question; other hosts than the registry's own get none.
    fn authorization(&self, ask: &Ask<'_>) -> Option<String> {
        self.is_own(ask.url).then(|| self.inner.authorizer.header(ask.scope))?
    }

    fn is_own(&self, url: &str) -> bool {
        url.starts_with(&format!("{}/", self.inner.host.endpoint.origin()))
    }

    fn send_as(
        &self,
        authorization: Option<&str>,
        ask: &Ask<'_>,
        payload: Payload<'_>,
    ) -> Result<Response, RegistryError> {
        let mut request = Request::new(ask.method, ask.url, ask.budget);
        for (name, value) in &ask.headers {
            request = request.header(name, value.clone());
        }
        if self.is_own(ask.url) {
            for (name, value) in &self.inner.host.headers {
                request = request.private_header(name, value.clone());
            }
        }
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization.to_owned());
        }
        self.inner.client.exchange(&request, payload).map_err(|error| RegistryError::of_fetch(self, error))
    }

    /// Proves the credentials.
    pub fn log_in(&self) -> Result<(), RegistryError> {
        self.prove().map_err(|error| match error {
            RegistryError::Unauthorized { host, message, .. } => {
                RegistryError::WrongPassword { host, message }
            }
            other => other,
        })
    }

    fn prove(&self) -> Result<(), RegistryError> {
        let url = self.url("");
        let response = self.ask(&Ask::new(Method::Get, &url, ""), &[])?;
        if (200..300).contains(&response.status()) {
            return Ok(());
        }
        let attempt = crate::refusal::Attempt { operation: "log in to", what: self.name() };
        Err(crate::refusal::refusal(self, attempt, response))
    }

    /// Returns whether a registry that was asked in plain HTTP speaks TLS only: an answer to `HEAD` does not say that.
    pub(crate) fn wants_tls(&self) -> bool {
        let url = self.url("");
        !self.inner.host.endpoint.https
            && self
                .send_as(None, &Ask::new(Method::Get, &url, ""), Payload::None)
                .is_ok_and(crate::refusal::says_tls)
    }
}
