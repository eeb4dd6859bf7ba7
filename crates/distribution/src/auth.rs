//! Who we are to a registry. Spec: distribution's token authentication (`docs/spec/auth/token.md`), RFC 6749 for identity tokens.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde::Deserialize;
use shipway_fetch::{Method, Payload, Request, Response};

use crate::challenge::{Challenge, parse_challenges};
use crate::realm::judge;
use crate::refusal::{Attempt, refusal};
use crate::registry::{ANSWER_LIMIT, Registry};
use crate::{CredentialStore, Credentials, RegistryError};

/// Knows what to prove and what was proved.
#[derive(Debug)]
pub(crate) struct Authorizer {
    store: CredentialStore,
    /// Instead of what is kept.
    given: Option<Credentials>,
    state: Mutex<State>,
    /// Beside the state, whose lock is held while tokens are asked for.
    logged_in: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Looked for once.
    credentials: Option<Option<Credentials>>,
    /// Values of the `Authorization` header by scope.
    headers: HashMap<String, Header>,
    /// The registry takes name and password for everything.
    basic: Option<Header>,
}

/// A registry that does not take a new token is not asked with another one so soon: it would not take that either.
const SOON: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct Header {
    value: String,
    /// When it was refused though it was new.
    refused: Option<Instant>,
}

impl Header {
    fn new(value: String) -> Self {
        Self { value, refused: None }
    }
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Header(…)")
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Authorizer {
    pub(crate) fn new(store: CredentialStore, given: Option<Credentials>) -> Self {
        let logged_in = AtomicBool::new(given.is_some());
        Self { store, given, state: Mutex::default(), logged_in }
    }

    pub(crate) fn is_logged_in(&self) -> bool {
        self.logged_in.load(Ordering::Relaxed)
    }

    /// Returns the header that was accepted for a scope, or may be.
    pub(crate) fn header(&self, scope: &str) -> Option<String> {
        let state = self.lock();
        state.headers.get(scope).or(state.basic.as_ref()).map(|header| header.value.clone())
    }

    /// Answers the challenge of a 401 to a question that had the header `sent`; `false` if there is nothing to answer it with. Only
    /// one thread at a time asks for tokens: the others find its.
    pub(crate) fn authorize(
        &self,
        registry: &Registry,
        scope: &str,
        sent: Option<&str>,
        response: &Response,
    ) -> Result<bool, RegistryError> {
        let challenges = parse_challenges(response.headers("www-authenticate"));
        let mut state = self.lock();
        let known = state.headers.get(scope).or(state.basic.as_ref());
        if known.is_some_and(|known| sent != Some(known.value.as_str())) {
            return Ok(true);
        }
        if known.and_then(|known| known.refused).is_some_and(|refused| refused.elapsed() < SOON) {
            return Ok(false);
        }
        let credentials = self.credentials(registry, &mut state)?;
        let bearer = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Bearer { realm, service } => Some((realm, service)),
            Challenge::Basic => None,
        });
        if let Some((realm, service)) = bearer {
            let asked = Asked { registry, realm, service: service.as_deref(), scope };
            let token = asked.token(credentials.as_ref())?;
            let mut header = Header::new(format!("Bearer {token}"));
            // The same as before: it is refused by now.
            let is_new = sent != Some(header.value.as_str());
            header.refused = (!is_new).then(Instant::now);
            state.headers.insert(scope.to_owned(), header);
            return Ok(is_new);
        }
        let is_basic = challenges.contains(&Challenge::Basic);
        match credentials.filter(|_| is_basic) {
            Some(Credentials::Password { user, password }) => {
                let header = Header::new(basic(&user, password.reveal()));
                // Sent before and refused: sending it again changes nothing.
                let is_new = sent != Some(header.value.as_str());
                state.basic = Some(header);
                Ok(is_new)
            }
            _ => Ok(false),
        }
    }

    /// Notes that a registry does not let in who has the newest token for a scope.
    pub(crate) fn note_refusal(&self, scope: &str) {
        if let Some(header) = self.lock().headers.get_mut(scope) {
            header.refused = Some(Instant::now());
        }
    }

    fn credentials(
        &self,
        registry: &Registry,
        state: &mut State,
    ) -> Result<Option<Credentials>, RegistryError> {
        if let Some(given) = &self.given {
            return Ok(Some(given.clone()));
        }
        if let Some(known) = &state.credentials {
            return Ok(known.clone());
        }
        let found = self
            .store
            .get(registry.name())
            .map_err(|source| RegistryError::Credentials { host: registry.host(), source })?;
        self.logged_in.store(found.is_some(), Ordering::Relaxed);
        state.credentials = Some(found.clone());
        Ok(found)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token that is wanted.
struct Asked<'a> {
    registry: &'a Registry,
    realm: &'a str,
    service: Option<&'a str>,
    scope: &'a str,
}

impl Asked<'_> {
    fn token(&self, credentials: Option<&Credentials>) -> Result<String, RegistryError> {
        let inner = &self.registry.inner;
        let realm = judge(&inner.host.endpoint, self.realm, &inner.host.token_hosts)
            .map_err(|reason| self.untrusted(reason))?;
        if credentials.is_some() && !realm.is_trusted {
            return Err(self.untrusted("it must not see the credentials"));
        }
        let response = match credentials {
            Some(Credentials::Identity(token)) => self.exchange(&realm.url, token.reveal())?,
            Some(Credentials::Password { user, password }) => {
                self.get(&realm.url, Some((user, basic(user, password.reveal()))))?
            }
            None => self.get(&realm.url, None)?,
        };
        if !(200..300).contains(&response.status()) {
            let what = if self.scope.is_empty() { self.registry.name() } else { repository_of(self.scope) };
            return Err(refusal(self.registry, Attempt { operation: "get a token for", what }, response));
        }
        let mut bytes = Vec::new();
        let wrong = |reason: &str| RegistryError::Content {
            host: self.registry.host(),
            what: "token".to_owned(),
            reason: reason.to_owned(),
        };
        let read = response.into_body().take(ANSWER_LIMIT).read_to_end(&mut bytes);
        read.map_err(|error| wrong(&error.to_string()))?;
        let token: Token = serde_json::from_slice(&bytes)
            .map_err(|_secret| wrong("the token service's answer is no JSON"))?;
        let token = token.token.filter(|token| !token.is_empty()).or(token.access_token).unwrap_or_default();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("the token service's answer has no token"));
        }
        Ok(token)
    }

    fn get(&self, realm: &str, login: Option<(&String, String)>) -> Result<Response, RegistryError> {
        let mut url = realm.to_owned();
        let mut separator = if realm.contains('?') { '&' } else { '?' };
        let mut add = |name: &str, value: &str| {
            write!(url, "{separator}{name}={}", escape(value)).expect("writing to a string cannot fail");
            separator = '&';
        };
        if let Some(service) = self.service {
            add("service", service);
        }
        for scope in self.scope.split(' ').filter(|scope| !scope.is_empty()) {
            add("scope", scope);
        }
        if let Some((user, _)) = &login {
            add("account", user);
        }
        let mut request = Request::get(&url, ANSWER_LIMIT);
        if let Some((_, header)) = login {
            request = request.header("authorization", header);
        }
        self.send(&request, Payload::None)
    }

    fn exchange(&self, realm: &str, token: &str) -> Result<Response, RegistryError> {
        let form = [
            ("grant_type", "refresh_token"),
            ("service", self.service.unwrap_or_default()),
            ("client_id", "shipway"),
            ("scope", self.scope),
            ("refresh_token", token),
        ];
        let form: Vec<String> =
            form.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
        let request = Request::new(Method::Post, realm, ANSWER_LIMIT)
            .header("content-type", "application/x-www-form-urlencoded");
        self.send(&request, Payload::Bytes(form.join("&").as_bytes()))
    }

    fn send(&self, request: &Request<'_>, payload: Payload<'_>) -> Result<Response, RegistryError> {
        let sent = self.registry.inner.client.exchange(request, payload);
        sent.map_err(|error| RegistryError::of_fetch(self.registry, error))
    }

    fn untrusted(&self, reason: &'static str) -> RegistryError {
        RegistryError::Realm {
            host: self.registry.host(),
            registry: self.registry.name().to_owned(),
            realm: self.realm.chars().filter(|c| !c.is_control()).take(200).collect(),
            reason,
        }
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

/// Returns the repository of a scope, for messages.
fn repository_of(scope: &str) -> &str {
    scope.split(' ').next().and_then(|first| first.split(':').nth(1)).unwrap_or(scope)
}

/// Writes a text so that it can stand in a query. Spec: RFC 3986 section 2.3.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").expect("writing to a string cannot fail"),
        }
    }
    out
}
