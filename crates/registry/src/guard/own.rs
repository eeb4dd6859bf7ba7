//! Tokens of our own, for users and for everybody: clients that know no name get one that allows to pull.
//!
//! Spec: distribution's token authentication, `docs/spec/auth/token.md`. They end with the process, unless several share a secret.

use std::fmt;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

/// Seconds that a token is good for. Compat: clients must live with as little as 60.
pub(crate) const LIFETIME: i64 = 600;

/// Makes tokens and knows them again.
#[derive(Clone)]
pub(crate) struct OwnTokens {
    secret: Arc<[u8; 32]>,
}

/// What a token of ours says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    /// Empty for everybody.
    sub: String,
    exp: i64,
}

impl fmt::Debug for OwnTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnTokens(…)")
    }
}

impl Default for OwnTokens {
    fn default() -> Self {
        Self { secret: Arc::new(rand::random()) }
    }
}

impl OwnTokens {
    /// Returns those of every registry that has the same secret.
    pub(crate) fn of(secret: [u8; 32]) -> Self {
        Self { secret: Arc::new(secret) }
    }

    /// Makes a token for a user, or for everybody where that is empty. `now` is seconds since the epoch.
    pub(crate) fn make(&self, user: &str, now: i64) -> Option<String> {
        let claims = Claims { sub: user.to_owned(), exp: now.saturating_add(LIFETIME) };
        let secret = EncodingKey::from_secret(&*self.secret);
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &secret).ok()
    }

    /// Returns whom a token was made for; `None` if it is not ours any more or never was.
    pub(crate) fn read(&self, token: &str, now: i64) -> Option<String> {
        let mut validation = Validation::new(Algorithm::HS256);
        // By the clock that the registry was given.
        validation.validate_exp = false;
        let secret = DecodingKey::from_secret(&*self.secret);
        let read = jsonwebtoken::decode::<Claims>(token, &secret, &validation).ok()?;
        (read.claims.exp > now).then_some(read.claims.sub)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_again_by_who_made_it_and_for_a_while() {
        let own = OwnTokens::default();
        let token = own.make("ann", 100).unwrap();
        assert_eq!(own.read(&token, 100 + LIFETIME - 1).as_deref(), Some("ann"));
        assert_eq!(own.read(&token, 100 + LIFETIME), None);
        assert_eq!(OwnTokens::default().read(&token, 100), None);
        assert_eq!(
            OwnTokens::of([1; 32]).read(&OwnTokens::of([1; 32]).make("bob", 1).unwrap(), 1).as_deref(),
            Some("bob")
        );
        assert_eq!(own.read(&own.make("", 100).unwrap(), 100).as_deref(), Some(""));
        assert_eq!(own.read("x.y.z", 100), None);
    }
}
