//! Who may do what.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PublicKeyData as _};
use serde_json::{Value, json};
use shipway_registry::{Config, Guard, TokenService, Tokens, Users};

use crate::world::{Answer, IMAGE, NOW, World, sha256};

const REALM: &str = "https://auth.test/token";

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

fn with_users(anonymous_pull: bool) -> World {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    fs_err::write(&path, format!("ann:{}\n", bcrypt::hash("secret", 4).unwrap())).unwrap();
    let guard = Guard::new(Some(Users::open(&path).unwrap()), None, anonymous_pull);
    World::with(|config| Config { guard, ..config })
}

async fn asked(world: &World, line: &str, authorization: &str) -> Answer {
    let headers = [("authorization", authorization)];
    world.ask(line, if authorization.is_empty() { &[] } else { &headers }, "").await
}

#[tokio::test]
async fn only_users_are_let_in_and_others_may_read_where_that_is_wanted() {
    let ann = basic("ann", "secret");
    let upload = "POST /v2/web/blobs/uploads/";
    for (anonymous_pull, line, authorization, want) in [
        (false, "GET /v2/", "", 401),
        (false, "GET /v2/", &*ann, 200),
        (false, "GET /v2/", &*basic("ann", "Secret"), 401),
        (false, "GET /v2/", &*basic("eve", "secret"), 401),
        (false, "GET /v2/", "Basic ???", 401),
        (false, "GET /v2/", "Bearer x.y.z", 401),
        (false, "GET /v2/web/tags/list", "", 401),
        (false, "GET /v2/web/tags/list", &*ann, 404),
        (false, upload, &*ann, 202),
        (false, upload, "", 401),
        (false, "GET /metrics", "", 401),
        (false, "GET /metrics", &*ann, 200),
        // Even there a client learns how it can prove who it is.
        (true, "GET /v2/", "", 401),
        (true, "GET /v2/web/tags/list", "", 404),
        (true, "HEAD /v2/web/manifests/1", "", 404),
        (true, "GET /v2/web/tags/list", &*basic("", ""), 404),
        (true, "GET /v2/web/tags/list", &*basic("ann", "wrong"), 401),
        (true, "GET /v2/_catalog", "", 401),
        (true, upload, "", 401),
        (true, "GET /v2/web/blobs/uploads/x", "", 401),
        (true, "DELETE /v2/web/manifests/1", "", 401),
        (true, "PUT /v2/web/manifests/1", "", 401),
        (true, "DELETE /v2/web/manifests/1", &*ann, 404),
    ] {
        let world = with_users(anonymous_pull);
        let answer = asked(&world, line, authorization).await;
        assert_eq!(answer.status.as_u16(), want, "case {line} {authorization} {anonymous_pull}");
        if want == 401 {
            let challenge = answer.header("www-authenticate");
            assert!(challenge.starts_with("Basic realm=\""), "case {line}: {challenge}");
        }
    }
}

#[tokio::test]
async fn clients_without_a_name_get_a_token_where_everybody_may_pull() {
    let world = with_users(true);
    let token = async |authorization: &str| {
        let given = asked(&world, "GET /token?service=x&scope=repository:web:pull,push", authorization).await;
        format!("Bearer {}", given.is(200).json()["token"].as_str().unwrap())
    };
    let everybody = token("").await;
    let ann = token(&basic("ann", "secret")).await;
    asked(&world, "GET /token", &basic("ann", "wrong")).await.is(401);
    asked(&world, "POST /token", "").await.is(405);
    for (line, authorization, want) in [
        ("GET /v2/", &everybody, 200),
        ("GET /v2/web/tags/list", &everybody, 404),
        ("POST /v2/web/blobs/uploads/", &everybody, 401),
        ("GET /v2/_catalog", &everybody, 401),
        ("GET /v2/", &ann, 200),
        ("POST /v2/web/blobs/uploads/", &ann, 202),
        ("GET /v2/_catalog", &ann, 200),
    ] {
        assert_eq!(asked(&world, line, authorization).await.status.as_u16(), want, "case {line}");
    }
    for (headers, want) in [
        (&[("host", "registry.test:5000")][..], "Bearer realm=\"http://registry.test:5000/token\""),
        (
            &[("host", "[::1]:5000"), ("x-forwarded-proto", "https")],
            "Bearer realm=\"https://[::1]:5000/token\"",
        ),
        (&[("host", "x\" evil")], "Basic "),
        (&[], "Basic "),
    ] {
        let refused = world.ask("PUT /v2/web/manifests/1", headers, "").await;
        let challenge = refused.is(401).header("www-authenticate");
        assert!(challenge.starts_with(want), "case {headers:?}: {challenge}");
    }
    // Where nobody is let in without a name there are none.
    asked(&with_users(false), "GET /token", "").await.is(404);
    asked(&with_users(false), "GET /v2/", &ann).await.is(401);
    World::new().get("/token").await.is(404);
}

/// A token service, and a registry that trusts it.
struct Service {
    key: KeyPair,
    world: World,
}

fn numbers(key: &KeyPair) -> (String, String) {
    let point = &key.der_bytes()[1..];
    (URL_SAFE_NO_PAD.encode(&point[..32]), URL_SAFE_NO_PAD.encode(&point[32..]))
}

impl Service {
    fn new() -> Self {
        Self::with(false)
    }

    fn with(anonymous_pull: bool) -> Self {
        let key = KeyPair::generate().unwrap();
        let (x, y) = numbers(&key);
        let set = json!({"keys": [{"kty": "EC", "crv": "P-256", "use": "sig", "kid": "k", "x": x, "y": y}]});
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        fs_err::write(&path, set.to_string()).unwrap();
        let service = TokenService {
            realm: REALM.to_owned(),
            service: "registry.test".to_owned(),
            issuer: "auth.test".to_owned(),
        };
        let tokens = Tokens::of(service, &path, || NOW).unwrap();
        let guard = Guard::new(None, Some(tokens), anonymous_pull);
        Self { key, world: World::with(|config| Config { guard, ..config }) }
    }

    fn token(&self, change: impl FnOnce(&mut Value), access: &[(&str, &str)]) -> String {
        signed(
            &self.key,
            &Header { kid: Some("k".to_owned()), ..Header::new(Algorithm::ES256) },
            change,
            access,
        )
    }

    fn allowing(&self, access: &[(&str, &str)]) -> String {
        self.token(|_| {}, access)
    }
}

/// Signs what allows actions, separated by commas, with repositories.
fn signed(
    key: &KeyPair,
    header: &Header,
    change: impl FnOnce(&mut Value),
    access: &[(&str, &str)],
) -> String {
    let access: Vec<Value> = access
        .iter()
        .map(|(name, actions)| {
            json!({"type": "repository", "name": name, "actions": actions.split(',').collect::<Vec<_>>()})
        })
        .collect();
    let mut claims =
        json!({"iss": "auth.test", "aud": "registry.test", "sub": "ann", "exp": NOW + 300, "access": access});
    change(&mut claims);
    let secret = EncodingKey::from_ec_der(&key.serialize_der());
    format!("Bearer {}", jsonwebtoken::encode(header, &claims, &secret).unwrap())
}

#[tokio::test]
async fn a_token_allows_what_it_says_and_no_more() {
    let service = Service::new();
    let both = service.allowing(&[("web", "pull,push")]);
    let all = service.allowing(&[("web", "*"), ("other", "pull")]);
    let nothing = service.token(|claims| claims["access"] = Value::Null, &[]);
    for (line, token, want, scope) in [
        ("GET /v2/", "", 401, ""),
        ("GET /v2/", &*nothing, 200, ""),
        ("GET /v2/web/tags/list", "", 401, "repository:web:pull"),
        ("GET /v2/web/tags/list", &*nothing, 401, "repository:web:pull"),
        ("GET /v2/web/tags/list", &*both, 404, ""),
        ("GET /v2/other/tags/list", &*both, 401, "repository:other:pull"),
        ("POST /v2/web/blobs/uploads/", &*both, 202, ""),
        ("POST /v2/other/blobs/uploads/", &*all, 401, "repository:other:pull,push"),
        ("DELETE /v2/web/manifests/1", &*both, 401, "repository:web:delete"),
        ("DELETE /v2/web/manifests/1", &*all, 404, ""),
        ("GET /v2/_catalog", &*all, 401, "registry:catalog:*"),
    ] {
        let answer = asked(&service.world, line, token).await;
        assert_eq!(answer.status.as_u16(), want, "case {line}");
        if want == 401 {
            let challenge = answer.header("www-authenticate");
            let begin = format!("Bearer realm=\"{REALM}\",service=\"registry.test\"");
            assert!(challenge.starts_with(&begin), "case {line}: {challenge}");
            assert_eq!(challenge.contains("scope="), !scope.is_empty(), "case {line}: {challenge}");
            assert!(challenge.contains(scope), "case {line}: {challenge}");
        }
    }
}

#[tokio::test]
async fn a_token_that_allows_nothing_takes_nothing_from_what_everybody_may() {
    let service = Service::with(true);
    let nothing = service.allowing(&[]);
    for (line, token, want) in [
        ("GET /v2/web/tags/list", "", 404),
        // Compat: docker, which has asked for a token before it asks for anything else.
        ("GET /v2/web/tags/list", &*nothing, 404),
        ("POST /v2/web/blobs/uploads/", &*nothing, 401),
        ("DELETE /v2/web/manifests/1", &*nothing, 401),
        ("GET /v2/_catalog", &*nothing, 401),
        ("GET /v2/web/tags/list", "Bearer x.y.z", 401),
    ] {
        assert_eq!(asked(&service.world, line, token).await.status.as_u16(), want, "case {line} {token}");
    }
}

#[tokio::test]
async fn a_token_that_somebody_else_made_is_not_taken() {
    let service = Service::new();
    let web: &[(&str, &str)] = &[("web", "pull")];
    let other = KeyPair::generate().unwrap();
    let header = || Header { kid: Some("k".to_owned()), ..Header::new(Algorithm::ES256) };
    let (x, y) = numbers(&other);
    let brought: jsonwebtoken::jwk::Jwk =
        serde_json::from_value(json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})).unwrap();
    let own = service.allowing(web);
    let (unsigned, _) = own.strip_prefix("Bearer ").unwrap().rsplit_once('.').unwrap();
    let claims = unsigned.split_once('.').unwrap().1;
    let none = format!("Bearer {}.{claims}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#));
    // The public key as if it were a shared secret.
    let secret = EncodingKey::from_secret(service.key.der_bytes());
    let shared = jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &json!({"iss": "auth.test", "aud": "registry.test", "exp": NOW + 300}),
        &secret,
    );
    for (name, token) in [
        ("another key", signed(&other, &header(), |_| {}, web)),
        (
            "a key that it brings along",
            signed(&other, &Header { jwk: Some(brought), ..header() }, |_| {}, web),
        ),
        (
            "another key's name",
            signed(&service.key, &Header { kid: Some("x".into()), ..header() }, |_| {}, web),
        ),
        ("expired", service.token(|claims| claims["exp"] = json!(NOW - 61), web)),
        ("without an end", service.token(|claims| drop(claims.as_object_mut().unwrap().remove("exp")), web)),
        ("not yet", service.token(|claims| claims["nbf"] = json!(NOW + 61), web)),
        ("for another registry", service.token(|claims| claims["aud"] = json!("other.test"), web)),
        ("for nobody", service.token(|claims| drop(claims.as_object_mut().unwrap().remove("aud")), web)),
        ("of another service", service.token(|claims| claims["iss"] = json!("evil.test"), web)),
        ("not signed", none),
        ("a public secret", format!("Bearer {}", shared.unwrap())),
        ("cut off", own[..own.len() - 9].to_owned()),
        ("nothing", "Bearer ".to_owned()),
        ("long", format!("Bearer {}", "a".repeat(70_000))),
    ] {
        let answer = asked(&service.world, "GET /v2/web/tags/list", &token).await;
        assert_eq!(answer.status.as_u16(), 401, "case {name}");
        let challenge = answer.header("www-authenticate");
        // Whose token has expired learns what another one is for.
        for want in [",error=\"invalid_token\"", ",scope=\"repository:web:pull\""] {
            assert!(challenge.contains(want), "case {name}: {challenge}");
        }
    }
    asked(&service.world, "GET /v2/web/tags/list", &own).await.is(404);
}

#[tokio::test]
async fn what_somebody_may_not_read_is_not_there_to_mount() {
    let service = Service::new();
    let world = &service.world;
    let owner = service.allowing(&[("secret", "pull,push")]);
    let digest = sha256(b"hidden");
    let push = format!("POST /v2/secret/blobs/uploads/?digest={digest}");
    world.ask(&push, &[("authorization", &owner)], "hidden").await.is(201);

    let thief = service.allowing(&[("mine", "pull,push")]);
    let reader = service.allowing(&[("mine", "pull,push"), ("secret", "pull")]);
    let mount = |from: &str| format!("POST /v2/mine/blobs/uploads/?mount={digest}{from}");
    for (line, token, want) in [
        (mount("&from=secret"), &thief, 202),
        (mount(""), &thief, 202),
        (format!("HEAD /v2/mine/blobs/{digest}"), &thief, 404),
        (format!("GET /v2/secret/blobs/{digest}"), &thief, 401),
        (format!("HEAD /v2/secret/blobs/{digest}"), &thief, 401),
        (mount("&from=secret"), &reader, 201),
        (format!("GET /v2/mine/blobs/{digest}"), &reader, 200),
        // Once given, a repository has it.
        (format!("GET /v2/mine/blobs/{digest}"), &thief, 200),
    ] {
        assert_eq!(asked(world, &line, token).await.status.as_u16(), want, "case {line}");
    }

    // A manifest gives nothing that its repository does not have.
    let manifest = json!({
        "schemaVersion": 2, "mediaType": IMAGE,
        "config": {"mediaType": "x", "digest": sha256(b"other"), "size": 5}, "layers": [],
    });
    let headers = [("authorization", thief.as_str()), ("content-type", IMAGE)];
    let put = world.ask("PUT /v2/mine/manifests/1", &headers, manifest.to_string()).await;
    assert_eq!(put.is(404).code(), "MANIFEST_BLOB_UNKNOWN");
}

#[test]
fn keys_that_prove_nothing_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.json");
    for (text, want) in [
        ("{", "has no keys to check tokens with"),
        (r#"{"keys": []}"#, "the set is empty"),
        (r#"{"keys": [{"kty": "oct", "k": "AAAA"}]}"#, "is a shared secret"),
        (r#"{"keys": [{"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}]}"#, "of a kind that is not taken"),
    ] {
        fs_err::write(&path, text).unwrap();
        let service = TokenService { realm: REALM.to_owned(), service: String::new(), issuer: String::new() };
        let error = Tokens::of(service, &path, || NOW).unwrap_err().to_string();
        assert!(error.contains(want), "{text}: {error}");
    }
}
