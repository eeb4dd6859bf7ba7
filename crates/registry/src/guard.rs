//! Who may do what.
//!
//! Without users and without a token service everybody may do everything. With users, whoever proves to be one of them may, and
//! others may read if that is wanted. With a token service the token says what its bearer may.

mod tokens;
mod users;

use base64::Engine as _;
use http::{HeaderMap, header};

pub use self::tokens::{TokenService, TokenServiceError, Tokens};
pub use self::users::{Users, UsersError};
use crate::refusal::Refusal;

/// Compat: distribution, what a challenge calls the registry.
const REALM: &str = "Shipway registry";

/// Who may use a registry.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Names and passwords that are taken.
    pub users: Option<Users>,
    /// A service whose tokens are taken.
    pub tokens: Option<Tokens>,
    /// Everybody may pull.
    pub anonymous_pull: bool,
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
    /// One of the users.
    User(String),
    /// The bearer of a token.
    Bearer(tokens::Claims),
}

impl Caller {
    /// Returns its name for the log; `-` without one.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Anybody | Self::Anonymous => "-",
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
    /// Returns whether there is anything to prove.
    pub fn is_open(&self) -> bool {
        self.users.is_none() && self.tokens.is_none()
    }

    /// Finds out who asks. What is proved wrongly is not taken for nothing proved.
    pub(crate) async fn who(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        if self.is_open() {
            return Ok(Caller::Anybody);
        }
        let Some(said) = headers.get(header::AUTHORIZATION) else { return Ok(Caller::Anonymous) };
        let said = said.to_str().unwrap_or_default();
        let (scheme, value) = said.split_once(' ').unwrap_or((said, ""));
        let value = value.trim();
        let refuse = || self.unauthorized(Wish::Login, "the name or password is wrong");
        if scheme.eq_ignore_ascii_case("bearer") {
            let tokens = self.tokens.as_ref().ok_or_else(refuse)?;
            let claims = tokens.read(value).map_err(|reason| self.invalid_token(&reason))?;
            return Ok(Caller::Bearer(claims));
        }
        let users = self.users.as_ref().filter(|_| scheme.eq_ignore_ascii_case("basic"));
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

    /// Refuses what somebody may not do.
    pub(crate) fn check(&self, caller: &Caller, wish: Wish<'_>) -> Result<(), Refusal> {
        match (caller, wish) {
            (Caller::Anybody | Caller::User(_), _) | (Caller::Bearer(_), Wish::Login) => Ok(()),
            (Caller::Bearer(claims), wish) if claims.allow(wish) => Ok(()),
            (Caller::Bearer(_), _) => Err(self.insufficient(wish)),
            (Caller::Anonymous, Wish::Use(_, Action::Pull)) if self.anonymous_pull => Ok(()),
            // Also where everybody may pull: clients learn here how they can prove more.
            (Caller::Anonymous, _) => Err(self.unauthorized(wish, "authentication required")),
        }
    }

    fn unauthorized(&self, wish: Wish<'_>, message: &str) -> Refusal {
        self.challenge(Refusal::unauthorized(message), wish, "")
    }

    fn insufficient(&self, wish: Wish<'_>) -> Refusal {
        let refusal = Refusal::unauthorized("the token does not allow this");
        self.challenge(refusal, wish, ",error=\"insufficient_scope\"")
    }

    fn invalid_token(&self, reason: &str) -> Refusal {
        let refusal = Refusal::unauthorized(format!("the token is not taken: {reason}"));
        self.challenge(refusal, Wish::Login, ",error=\"invalid_token\"")
    }

    /// Says how to prove who one is. Spec: RFC 9110, 11.6.1; RFC 6750, section 3.
    fn challenge(&self, mut refusal: Refusal, wish: Wish<'_>, more: &str) -> Refusal {
        if let Some(tokens) = &self.tokens {
            let scope = wish.scope().map(|scope| format!(",scope=\"{scope}\"")).unwrap_or_default();
            let service = tokens.service();
            let value =
                format!("Bearer realm=\"{}\",service=\"{}\"{scope}{more}", service.realm, service.service);
            refusal = refusal.with("www-authenticate", value);
        }
        if self.users.is_some() {
            refusal = refusal.with("www-authenticate", format!("Basic realm=\"{REALM}\""));
        }
        refusal
    }
}
