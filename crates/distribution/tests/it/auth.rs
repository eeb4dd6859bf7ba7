use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use serde_json::json;
use shipway_distribution::{Credentials, RegistryError, RegistrySettings, Secret};

use crate::image::Image;
use crate::machine::Machine;
use shipway_testkit::registry::{Asked, Reply, TestRegistry};

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

fn unauthorized(challenge: String) -> Option<Reply> {
    let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
    Some(Reply::new(401, body).header("WWW-Authenticate", challenge))
}

/// A registry that wants name and password.
fn private() -> TestRegistry {
    TestRegistry::with_fault(|asked, _| {
        if asked.header("authorization") == Some(&basic("me", "pw")) {
            return None;
        }
        unauthorized("Basic realm=\"x\"".to_owned())
    })
}

#[test]
fn a_private_image_is_refused_before_and_pulled_after_logging_in() {
    let registry = private();
    Image::of(&[b"x"]).publish(&registry, "web", "1");
    let machine = Machine::new();
    let error = machine.refused(&registry.name("web:1"));
    assert!(matches!(error, RegistryError::Unauthorized { logged_in: false, .. }), "{error}");
    let hint = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(hint.contains(&format!("shipway login {}", registry.address)), "{hint}");

    machine.log_in(&registry.address, "me", "wrong");
    let error = machine.refused(&registry.name("web:1"));
    assert!(matches!(error, RegistryError::Unauthorized { logged_in: true, .. }), "{error}");

    machine.log_in(&registry.address, "me", "pw");
    registry.forget_questions();
    machine.pull(&registry.name("web:1")).unwrap();
    let refused = registry.asked().iter().filter(|asked| asked.header("authorization").is_none()).count();
    assert_eq!(refused, 1, "who has been asked once says it from the start");
}

#[test]
fn credentials_are_proved_before_they_are_kept() {
    let registry = private();
    let registries = Machine::new().registries();
    let as_user = |password: &str| {
        let credentials = Credentials::Password { user: "me".to_owned(), password: Secret::new(password) };
        registries.named_as(&registry.address, credentials).unwrap().log_in()
    };
    as_user("pw").unwrap();
    let error = as_user("wrong").unwrap_err();
    assert!(matches!(error, RegistryError::WrongPassword { .. }), "{error}");
}

#[test]
fn a_token_that_allows_nothing_is_asked_for_once() {
    let registry = TestRegistry::with_fault(|asked, _| {
        if asked.target.starts_with("/token") {
            return Some(Reply::new(200, r#"{"token":null,"access_token":"t"}"#));
        }
        let is_push = ["POST", "PUT", "PATCH"].iter().any(|method| asked.is(method, "/v2/"));
        let host = asked.header("host").unwrap();
        let refuse = || unauthorized(format!("Bearer realm=\"http://{host}/token\""));
        (is_push || asked.header("authorization").is_none()).then(refuse)?
    });
    let other = TestRegistry::start();
    let image = Image::of(&[&b"one"[..], b"two", b"three", b"four"]);
    image.publish(&other, "web", "1");
    let machine = Machine::new();
    let pulled = machine.pull(&other.name("web:1")).unwrap();
    let name = registry.name("web:1");
    machine.store.tag(&name.parse().unwrap(), pulled.manifest, pulled.image_id, 1).unwrap();
    let error = machine.push(&name).unwrap_err().source;
    assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");
    assert!(registry.count("GET", "/token") <= 2, "{:?}", registry.asked());
}

/// A registry with a token service of its own; each token is good for `uses` questions.
fn with_tokens(uses: usize) -> (TestRegistry, Arc<AtomicUsize>) {
    let given = Arc::new(AtomicUsize::new(0));
    let left = Arc::new(AtomicUsize::new(0));
    let of_server = Arc::clone(&given);
    let registry = TestRegistry::with_fault(move |asked, _| {
        let host = asked.header("host").unwrap();
        if asked.target.starts_with("/token") {
            let number = of_server.fetch_add(1, Ordering::SeqCst) + 1;
            left.store(uses, Ordering::SeqCst);
            return Some(Reply::new(
                200,
                json!({"token": format!("t{number}"), "expires_in": 60}).to_string(),
            ));
        }
        let newest = format!("Bearer t{}", of_server.load(Ordering::SeqCst));
        let is_good = asked.header("authorization") == Some(&newest)
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if is_good {
            return None;
        }
        unauthorized(format!("Bearer realm=\"http://{host}/token\",service=\"reg\",scope=\"ignored\""))
    });
    (registry, given)
}

#[test]
fn tokens_are_fetched_for_the_scope_and_replaced_when_they_are_used_up() {
    let (registry, given) = with_tokens(2);
    Image::of(&[b"one"]).publish(&registry, "team/web", "1");
    let machine = Machine::new();
    machine.log_in(&registry.address, "me", "pw");
    machine.pull(&registry.name("team/web:1")).unwrap();
    assert_eq!(given.load(Ordering::SeqCst), 2, "three questions, two for each token");
    let tokens: Vec<Asked> =
        registry.asked().into_iter().filter(|asked| asked.target.starts_with("/token")).collect();
    assert_eq!(tokens[0].target, "/token?service=reg&scope=repository%3Ateam%2Fweb%3Apull&account=me");
    assert_eq!(tokens[0].header("authorization"), Some(basic("me", "pw").as_str()));
    let others = registry.asked().into_iter().filter(|asked| !asked.target.starts_with("/token"));
    let leaked =
        others.filter(|asked| asked.header("authorization").is_some_and(|text| text.starts_with("Basic")));
    assert_eq!(leaked.count(), 0, "the registry itself does not see the password");
}

#[test]
fn anonymous_tokens_need_no_credentials() {
    let (registry, _) = with_tokens(100);
    Image::of(&[b"one"]).publish(&registry, "web", "1");
    Machine::new().pull(&registry.name("web:1")).unwrap();
    let token = registry.asked().into_iter().find(|asked| asked.target.starts_with("/token")).unwrap();
    assert_eq!(token.header("authorization"), None);
}

#[test]
fn an_identity_token_is_exchanged_and_not_sent_to_the_registry() {
    let (registry, _) = with_tokens(100);
    Image::of(&[b"one"]).publish(&registry, "web", "1");
    let machine = Machine::new();
    machine.credentials().put(&registry.address, &Credentials::Identity(Secret::new("long+lived"))).unwrap();
    machine.pull(&registry.name("web:1")).unwrap();
    let asked = registry.asked();
    let token = asked.iter().find(|asked| asked.target == "/token").unwrap();
    assert_eq!(token.method, "POST");
    let form = String::from_utf8(token.body.clone()).unwrap();
    assert!(form.starts_with("grant_type=refresh_token&service=reg&client_id=shipway&scope="), "{form}");
    assert!(form.ends_with("&refresh_token=long%2Blived"), "{form}");
    assert!(
        asked.iter().all(|asked| !asked.header("authorization").is_some_and(|text| text.contains("long")))
    );
}

#[test]
fn credentials_do_not_follow_a_redirect() {
    let storage = TestRegistry::with_fault(|asked, _| {
        asked.target.starts_with("/storage").then(|| Reply::new(200, crate::image::gzip(b"layer")))
    });
    let to = storage.address.clone();
    let image = Image::of(&[b"layer"]);
    let path = format!("/blobs/{}", image.blob_digest(0));
    let registry = TestRegistry::with_fault(move |asked, _| {
        if asked.header("authorization") != Some(&basic("me", "pw")) {
            return unauthorized("Basic realm=\"x\"".to_owned());
        }
        let is_it = asked.target.ends_with(&path);
        is_it.then(|| Reply::new(307, "").header("Location", format!("http://{to}/storage?signature=x")))
    });
    image.publish(&registry, "web", "1");
    let machine = Machine::new();
    machine.log_in(&registry.address, "me", "pw");
    machine.pull(&registry.name("web:1")).unwrap();
    assert!(machine.trees.has_layer(image.diff_id(0)));
    let seen = storage.asked();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].header("authorization"), seen[0].header("cookie")), (None, None));
}

#[test]
fn an_evil_token_service_is_not_even_asked() {
    let evil = TestRegistry::start();
    let port = evil.address.rsplit(':').next().unwrap().to_owned();
    for realm in [
        format!("http://localhost:{port}/token"),
        format!("http://127.0.0.2:{port}/token"),
        format!("http://[::1]:{port}/token"),
        format!("http://me@127.0.0.1:{port}/token"),
        "https://169.254.169.254/token".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"x\"");
        let registry = TestRegistry::with_fault(move |_, _| unauthorized(challenge.clone()));
        let machine = Machine::new();
        machine.log_in(&registry.address, "me", "pw");
        let error = machine.refused(&registry.name("web:1"));
        assert!(matches!(error, RegistryError::Realm { .. }), "{realm}: {error}");
    }
    assert_eq!(evil.asked().len(), 0);
}

#[test]
fn a_token_service_that_is_named_is_asked() {
    let tokens = TestRegistry::with_fault(|_, _| Some(Reply::new(200, r#"{"access_token":"t"}"#)));
    let port = tokens.address.rsplit(':').next().unwrap().to_owned();
    let registry = TestRegistry::with_fault(move |asked, _| match asked.header("authorization") {
        Some("Bearer t") => None,
        _ => unauthorized(format!("Bearer realm=\"http://localhost:{port}/token\",service=\"x\"")),
    });
    Image::of(&[b"x"]).publish(&registry, "web", "1");
    let mut machine = Machine::new();
    let settings =
        RegistrySettings { token_hosts: vec!["localhost".to_owned()], ..RegistrySettings::default() };
    machine.settings.set(&registry.address, settings);
    machine.pull(&registry.name("web:1")).unwrap();
}

#[test]
fn a_token_service_that_refuses_or_talks_nonsense_is_an_error() {
    for (name, reply) in [
        ("no", Reply::new(401, "{}")),
        ("no JSON", Reply::new(200, "<html>")),
        ("no token", Reply::new(200, "{}")),
        ("a header in the token", Reply::new(200, r#"{"token":"x\r\nEvil: y"}"#)),
    ] {
        let registry = TestRegistry::with_fault(move |asked, _| {
            if asked.target.starts_with("/token") {
                return Some(reply.clone());
            }
            let host = asked.header("host").unwrap();
            unauthorized(format!("Bearer realm=\"http://{host}/token\""))
        });
        let error = Machine::new().refused(&registry.name("web:1"));
        let expected = matches!(error, RegistryError::Unauthorized { .. } | RegistryError::Content { .. });
        assert!(expected, "case {name}: {error}");
    }
}

#[test]
fn certificates_that_cannot_be_used_are_those_of_the_settings() {
    let mut machine = Machine::new();
    let settings = RegistrySettings { ca: Some("/nowhere/ca.pem".into()), ..RegistrySettings::default() };
    machine.settings.set("127.0.0.1:1", settings);
    let error = machine.pull("127.0.0.1:1/web:1").unwrap_err().source;
    assert!(matches!(error, RegistryError::Certificates { .. }), "{error}");
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(help.contains("[registry.\"127.0.0.1:1\"]") && !help.contains("SSL_CERT_FILE"), "{help}");
    assert!(error.to_string().contains("the certificates of 127.0.0.1:1"), "{error}");
}
