//! Who may do what.
//!
//! Without users and without a token service everybody may do everything. With users, whoever proves to be one of them may, and
//! others may read if that is wanted. With a token service the token says what its bearer may.

mod own;
mod tokens;
mod users;

use base64::Engine as _;
use http::{HeaderMap, header};

use self::own::OwnTokens;
pub use self::tokens::{TokenService, TokenServiceError, Tokens};
pub use self::users::{Users, UsersError};
use crate::answer::text;
use crate::refusal::Refusal;

/// What challenges call this registry.
const SERVICE: &str = "Shipway registry";

/// Who may use a registry.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    users: Option<Users>,
    tokens: Option<Tokens>,
    anonymous_pull: bool,
    /// Where there are users and no other service.
    own: OwnTokens,
}

/// A guard as one request meets it.
#[derive(Debug)]
pub(crate) struct Gate<'a> {
    guard: &'a Guard,
    headers: &'a HeaderMap,
    now: i64,
    /// Where clients get tokens of our own.
    realm: Option<String>,
}

/// What somebody may do with a repository, or wants to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Pull,
    Push,
    Delete,
}

impl Action {
    /// Its name in tokens. Spec: distribution's token authentication, scope.
    fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }
}

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish<'a> {
    /// To know whether it is known.
    Login,
    /// To see which repositories there are, or how the registry is doing.
    Overview,
    /// To do something with a repository.
    Use(&'a str, Action),
}

impl Wish<'_> {
    /// Spec: distribution's token authentication, scope.
    fn scope(self) -> Option<String> {
        match self {
            Self::Login => None,
            Self::Overview => Some("registry:catalog:*".to_owned()),
            // Compat: distribution, whoever may push must be able to look.
            Self::Use(name, Action::Push) => Some(format!("repository:{name}:pull,push")),
            Self::Use(name, action) => Some(format!("repository:{name}:{}", action.name())),
        }
    }
}

/// Somebody who asks.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// The registry has no guard.
    Anybody,
    /// Nobody has said who it is.
    Anonymous,
    /// The bearer of a token of ours that was given for no name.
    Everybody,
    /// One of the users.
    User(String),
    /// The bearer of a token.
    Bearer(tokens::Claims),
}

impl Caller {
    /// Returns its name for the log; `-` without one.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Anybody | Self::Anonymous | Self::Everybody => "-",
            Self::User(name) => name,
            Self::Bearer(claims) => claims.subject(),
        }
    }

    /// Returns whether it may read every repository.
    pub(crate) fn reads_everything(&self, guard: &Guard) -> bool {
        matches!(self, Self::Anybody | Self::User(_)) || guard.anonymous_pull
    }
}

impl Guard {
    /// Makes a guard that takes names and passwords, and the tokens of a service. With `anonymous_pull` everybody may pull; without
    /// users and without a service everybody may do everything.
    pub fn new(users: Option<Users>, tokens: Option<Tokens>, anonymous_pull: bool) -> Self {
        Self { users, tokens, anonymous_pull, own: OwnTokens::default() }
    }

    /// Makes the tokens that it gives out good for all registries with the same secret.
    pub fn share(&mut self, secret: [u8; 32]) {
        self.own = OwnTokens::of(secret);
    }

    /// Returns whether there is nothing to prove.
    pub fn is_open(&self) -> bool {
        self.users.is_none() && self.tokens.is_none()
    }

    /// Returns whether clients can get tokens of our own. Where nobody is let in without a name, they have no use for them.
    fn gives_tokens(&self) -> bool {
        self.users.is_some() && self.tokens.is_none() && self.anonymous_pull
    }

    /// Meets a request. `now` is seconds since the epoch; `encrypted` says whether its connection is.
    pub(crate) fn gate<'a>(&'a self, headers: &'a HeaderMap, now: i64, encrypted: bool) -> Gate<'a> {
        let realm = self.gives_tokens().then(|| own_realm(headers, encrypted)).flatten();
        Gate { guard: self, headers, now, realm }
    }

    /// Returns whether somebody may do something.
    pub(crate) fn may(&self, caller: &Caller, wish: Wish<'_>) -> bool {
        let is_open = self.anonymous_pull && matches!(wish, Wish::Use(_, Action::Pull));
        match caller {
            Caller::Anybody | Caller::User(_) => true,
            // Whoever has proved something may do no less than everybody.
            Caller::Bearer(claims) => is_open || claims.allow(wish),
            Caller::Anonymous => is_open,
            Caller::Everybody => is_open || self.anonymous_pull && wish == Wish::Login,
        }
    }
}

/// Returns where tokens of ours are to be had, as the client reaches us.
fn own_realm(headers: &HeaderMap, encrypted: bool) -> Option<String> {
    let host = text(headers, "host")?;
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    let forwarded = text(headers, "x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let scheme = if encrypted || forwarded { "https" } else { "http" };
    (!host.is_empty() && host.bytes().all(is_plain)).then(|| format!("{scheme}://{host}/token"))
}

impl Gate<'_> {
    /// Finds out who asks. What is proved wrongly is not taken for nothing proved; the answer to it says what `wish` takes.
    pub(crate) async fn who(&self, wish: Wish<'_>) -> Result<Caller, Refusal> {
        let guard = self.guard;
        if guard.is_open() {
            return Ok(Caller::Anybody);
        }
        let Some(said) = self.headers.get(header::AUTHORIZATION) else { return Ok(Caller::Anonymous) };
        let said = said.to_str().unwrap_or_default();
        let (scheme, value) = said.split_once(' ').unwrap_or((said, ""));
        let value = value.trim();
        let refuse = || self.unauthorized(wish, "the name or password is wrong");
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.bearer(value, wish);
        }
        let users = guard.users.as_ref().filter(|_| scheme.eq_ignore_ascii_case("basic"));
        let decoded = base64::engine::general_purpose::STANDARD.decode(value).unwrap_or_default();
        let decoded = String::from_utf8(decoded).unwrap_or_default();
        let (name, password) = decoded.split_once(':').unwrap_or_default();
        // Compat: containers/image answers a challenge so when it knows no name.
        if name.is_empty() && password.is_empty() {
            return Ok(Caller::Anonymous);
        }
        let users = users.ok_or_else(refuse)?;
        if users.verify(name, password).await { Ok(Caller::User(name.to_owned())) } else { Err(refuse()) }
    }

    fn bearer(&self, token: &str, wish: Wish<'_>) -> Result<Caller, Refusal> {
        let guard = self.guard;
        if let Some(tokens) = &guard.tokens {
            let claims = tokens.read(token).map_err(|reason| self.invalid_token(&reason, wish))?;
            return Ok(Caller::Bearer(claims));
        }
        let found = guard.own.read(token, self.now).filter(|_| guard.gives_tokens());
        match found.ok_or_else(|| self.invalid_token("it is not of this registry, or has expired", wish))? {
            nobody if nobody.is_empty() => Ok(Caller::Everybody),
            name if guard.users.as_ref().is_some_and(|users| users.knows(&name)) => Ok(Caller::User(name)),
            _ => Err(self.invalid_token("its user is no longer known", wish)),
        }
    }

    /// Refuses what somebody may not do.
    pub(crate) fn check(&self, caller: &Caller, wish: Wish<'_>) -> Result<(), Refusal> {
        match caller {
            _ if self.guard.may(caller, wish) => Ok(()),
            Caller::Bearer(_) | Caller::Everybody => Err(self.insufficient(wish)),
            // Also where everybody may pull: clients learn here how they can prove more.
            _ => Err(self.unauthorized(wish, "authentication required")),
        }
    }

    /// Gives a token to whoever asks: to a user its own, else one for everybody.
    pub(crate) fn token(&self, caller: &Caller) -> Result<String, Refusal> {
        let name = match caller {
            Caller::User(name) => name,
            Caller::Anonymous | Caller::Everybody => "",
            Caller::Anybody | Caller::Bearer(_) => return Err(Refusal::not_found()),
        };
        let token = self.guard.own.make(name, self.now).filter(|_| self.guard.gives_tokens());
        let token = token.ok_or_else(Refusal::not_found)?;
        let document =
            serde_json::json!({"token": token, "access_token": token, "expires_in": own::LIFETIME});
        Ok(document.to_string())
    }

    fn unauthorized(&self, wish: Wish<'_>, message: &str) -> Refusal {
        self.challenge(Refusal::unauthorized(message), wish, "")
    }

    fn insufficient(&self, wish: Wish<'_>) -> Refusal {
        let refusal = Refusal::unauthorized("the token does not allow this");
        self.challenge(refusal, wish, ",error=\"insufficient_scope\"")
    }

    fn invalid_token(&self, reason: &str, wish: Wish<'_>) -> Refusal {
        let refusal = Refusal::unauthorized(format!("the token is not taken: {reason}"));
        self.challenge(refusal, wish, ",error=\"invalid_token\"")
    }

    /// Says how to prove who one is. Spec: RFC 9110, 11.6.1; RFC 6750, section 3.
    fn challenge(&self, refusal: Refusal, wish: Wish<'_>, more: &str) -> Refusal {
        let guard = self.guard;
        let scope = wish.scope().map(|scope| format!(",scope=\"{scope}\"")).unwrap_or_default();
        let bearer = |realm: &str, service: &str| {
            format!("Bearer realm=\"{realm}\",service=\"{service}\"{scope}{more}")
        };
        match (&guard.tokens, &self.realm) {
            (Some(tokens), _) => {
                let service = tokens.service();
                let refusal = refusal.with("www-authenticate", bearer(&service.realm, &service.service));
                if guard.users.is_some() { refusal.with("www-authenticate", basic()) } else { refusal }
            }
            // Compat: docker, a client that knows no name asks nothing more where only names are wanted, but gets a token.
            (None, Some(realm)) => refusal.with("www-authenticate", bearer(realm, SERVICE)),
            (None, None) => refusal.with("www-authenticate", basic()),
        }
    }
}

fn basic() -> String {
    format!("Basic realm=\"{SERVICE}\"")
}
