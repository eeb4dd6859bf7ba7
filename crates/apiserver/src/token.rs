//! Tokens of service accounts: JWTs signed with a key that only this server has.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::hmac;
use serde_json::{Value, json};

use crate::object::meta;
use crate::server::Api;
use crate::{Identity, kind_of, respond};

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) namespace: String,
    pub(crate) account: String,
    /// Uid of the account: a token dies with it.
    pub(crate) uid: String,
    pub(crate) expires: i64,
    /// Name and uid of the pod the token is bound to.
    pub(crate) pod: Option<(String, String)>,
}

/// Returns a signed token.
pub(crate) fn sign(key: &hmac::Key, claims: &Claims) -> String {
    let mut kubernetes = json!({"namespace": claims.namespace,
        "serviceaccount": {"name": claims.account, "uid": claims.uid}});
    if let Some((name, uid)) = &claims.pod {
        kubernetes["pod"] = json!({"name": name, "uid": uid});
    }
    let payload = json!({"iss": "https://kubernetes.default.svc", "aud": ["https://kubernetes.default.svc"],
        "sub": format!("system:serviceaccount:{}:{}", claims.namespace, claims.account),
        "exp": claims.expires, "kubernetes.io": kubernetes});
    let head = BASE64.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let text = format!("{head}.{}", BASE64.encode(payload.to_string()));
    let signature = BASE64.encode(hmac::sign(key, text.as_bytes()));
    format!("{text}.{signature}")
}

fn open(key: &hmac::Key, token: &str) -> Option<Claims> {
    let (text, signature) = token.rsplit_once('.')?;
    hmac::verify(key, text.as_bytes(), &BASE64.decode(signature).ok()?).ok()?;
    let payload: Value = serde_json::from_slice(&BASE64.decode(text.split_once('.')?.1).ok()?).ok()?;
    let of = &payload["kubernetes.io"];
    let string = |value: &Value| value.as_str().map(str::to_owned);
    let pod = match (string(&of["pod"]["name"]), string(&of["pod"]["uid"])) {
        (Some(name), Some(uid)) => Some((name, uid)),
        _ => None,
    };
    Some(Claims {
        namespace: string(&of["namespace"])?,
        account: string(&of["serviceaccount"]["name"])?,
        uid: string(&of["serviceaccount"]["uid"])?,
        expires: payload["exp"].as_i64()?,
        pod,
    })
}

/// Returns whose token this is, if it is one of ours, has not expired, and what it is bound to still exists.
pub(crate) fn verify(api: &Api, token: &str) -> Option<Identity> {
    let claims = open(&api.token_key, token)?;
    if claims.expires < respond::now().unix_timestamp() {
        return None;
    }
    let exists = |plural: &str, name: &str, uid: &str| {
        let key = format!("{}/{name}", claims.namespace);
        let found = kind_of("", "v1", plural).and_then(|kind| api.store.get(kind, &key));
        found.is_some_and(|object| meta(&object.value(), "uid") == uid)
    };
    let bound = claims.pod.as_ref().is_none_or(|(name, uid)| exists("pods", name, uid));
    (bound && exists("serviceaccounts", &claims.account, &claims.uid))
        .then(|| Identity::service_account(&claims.namespace, &claims.account))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_only_with_its_key_and_unchanged() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"one");
        let claims = Claims {
            namespace: "default".into(),
            account: "web".into(),
            uid: "u".into(),
            expires: 10,
            pod: Some(("p".into(), "q".into())),
        };
        let token = sign(&key, &claims);
        assert_eq!(open(&key, &token), Some(claims));
        assert_eq!(open(&hmac::Key::new(hmac::HMAC_SHA256, b"two"), &token), None);
        assert_eq!(open(&key, &token.replace('.', "..")), None);
    }
}
