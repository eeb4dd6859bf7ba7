//! Tokens of a service that the registry trusts.
//!
//! Spec: distribution's token authentication, `docs/spec/auth/jwt.md`; RFC 7519. The keys are those of a file: one that a token
//! brings along proves nothing.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use super::Wish;

/// Longest token that is read.
const TOKEN: usize = 64 << 10;
/// Clocks may differ by so many seconds.
const LEEWAY: u64 = 60;

/// A service that gives out tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenService {
    /// Where clients get them: a URL.
    pub realm: String,
    /// What it calls this registry; tokens for others are not taken.
    pub service: String,
    /// What it calls itself.
    pub issuer: String,
}

/// Reads the tokens of one service.
#[derive(Clone)]
pub struct Tokens {
    service: TokenService,
    keys: Arc<[Key]>,
    clock: fn() -> i64,
}

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Why a token service cannot be trusted.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TokenServiceError {
    /// The keys cannot be read.
    #[error("could not read `{}`", path.display())]
    #[diagnostic(code(registry::token_keys), help("see `ls -l {}`", path.display()))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// They are no keys that tokens are signed with.
    #[error("`{}` has no keys to check tokens with: {reason}", path.display())]
    #[diagnostic(
        code(registry::token_keys),
        help("it must be a JSON web key set (RFC 7517) of public keys: RSA, P-256, P-384 or Ed25519")
    )]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a token says.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Claims {
    #[serde(default)]
    sub: String,
    #[serde(default)]
    nbf: Option<i64>,
    exp: i64,
    /// Some services write `null` for nothing.
    #[serde(default)]
    access: Option<Vec<Access>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Access {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    actions: Vec<String>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("service", &self.service).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Trusts a service, whose keys are in a file: a JSON web key set. `clock` returns the seconds since the epoch.
    pub fn of(service: TokenService, keys: &Path, clock: fn() -> i64) -> Result<Self, TokenServiceError> {
        let text = fs_err::read_to_string(keys)
            .map_err(|source| TokenServiceError::Read { path: keys.to_owned(), source })?;
        let refuse = |reason: String| TokenServiceError::Keys { path: keys.to_owned(), reason };
        let set: JwkSet = serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))?;
        let signing = set
            .keys
            .iter()
            .filter(|key| matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature)));
        let keys: Vec<Key> = signing.map(Key::read).collect::<Result<_, _>>().map_err(refuse)?;
        if keys.is_empty() {
            return Err(refuse("the set is empty".to_owned()));
        }
        Ok(Self { service, keys: keys.into(), clock })
    }

    pub(crate) fn service(&self) -> &TokenService {
        &self.service
    }

    /// Reads a token; the error says why it is not taken.
    pub(crate) fn read(&self, token: &str) -> Result<Claims, String> {
        if token.len() > TOKEN {
            return Err("it is too long".to_owned());
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| error.to_string())?;
        let fits = |key: &&Key| {
            key.algorithm == header.alg && (header.kid.is_none() || key.id.is_none() || key.id == header.kid)
        };
        let mut reason = "it is signed with a key that is not trusted".to_owned();
        for key in self.keys.iter().filter(fits) {
            let mut validation = Validation::new(key.algorithm);
            validation.set_audience(&[&self.service.service]);
            validation.set_issuer(&[&self.service.issuer]);
            validation.set_required_spec_claims(&["exp", "iss", "aud"]);
            // By the clock that the registry was given.
            (validation.validate_exp, validation.validate_nbf) = (false, false);
            match jsonwebtoken::decode::<Claims>(token, &key.key, &validation) {
                Ok(read) => return self.in_time(read.claims),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(reason)
    }

    fn in_time(&self, claims: Claims) -> Result<Claims, String> {
        let (now, leeway) = ((self.clock)(), LEEWAY.cast_signed());
        if claims.exp.saturating_add(leeway) <= now {
            return Err("it has expired".to_owned());
        }
        if claims.nbf.is_some_and(|since| since.saturating_sub(leeway) > now) {
            return Err("its time has not come".to_owned());
        }
        Ok(claims)
    }
}

impl Key {
    fn read(jwk: &Jwk) -> Result<Self, String> {
        use jsonwebtoken::jwk::{AlgorithmParameters as Kind, EllipticCurve, KeyAlgorithm};
        let algorithm = match (&jwk.algorithm, jwk.common.key_algorithm) {
            // A secret that the registry knows too would prove nothing.
            (Kind::OctetKey(_), _) => return Err("one of them is a shared secret".to_owned()),
            (Kind::RSA(_), None | Some(KeyAlgorithm::RS256)) => Algorithm::RS256,
            (Kind::RSA(_), Some(KeyAlgorithm::RS384)) => Algorithm::RS384,
            (Kind::RSA(_), Some(KeyAlgorithm::RS512)) => Algorithm::RS512,
            (Kind::RSA(_), Some(KeyAlgorithm::PS256)) => Algorithm::PS256,
            (Kind::EllipticCurve(curve), _) if curve.curve == EllipticCurve::P256 => Algorithm::ES256,
            (Kind::EllipticCurve(curve), _) if curve.curve == EllipticCurve::P384 => Algorithm::ES384,
            (Kind::OctetKeyPair(_), _) => Algorithm::EdDSA,
            (_, algorithm) => {
                return Err(format!("one of them is of a kind that is not taken: {algorithm:?}"));
            }
        };
        let key = DecodingKey::from_jwk(jwk).map_err(|error| error.to_string())?;
        Ok(Self { id: jwk.common.key_id.clone(), algorithm, key })
    }
}

impl Claims {
    pub(crate) fn subject(&self) -> &str {
        if self.sub.is_empty() { "-" } else { &self.sub }
    }

    /// Returns whether the bearer may do something.
    pub(super) fn allow(&self, wish: Wish<'_>) -> bool {
        let (kind, name, action) = match wish {
            Wish::Login => return true,
            Wish::Overview => ("registry", "catalog", "*"),
            Wish::Use(name, action) => ("repository", name, action.name()),
        };
        self.access.iter().flatten().any(|access| {
            access.kind == kind
                && access.name == name
                && access.actions.iter().any(|allowed| allowed == action || allowed == "*")
        })
    }
}
