//! A server that wants to see a certificate.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedKey, KeyPair, date_time_ymd};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, Stream};
use shipway_fetch::{CertificateFault, Client, Config, FetchError, Identity, Proxies, Request, Trust};

use crate::download::config;

fn made(name: &str) -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap()
}

/// Answers every question with `known`, but only to whoever shows `client`; returns the address.
fn start(server: &CertifiedKey<KeyPair>, client: &CertifiedKey<KeyPair>) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(client.cert.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let key = rustls::pki_types::PrivateKeyDer::try_from(server.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![server.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let (Ok(mut socket), Ok(mut tls)) = (socket, ServerConnection::new(Arc::clone(&config))) else {
                return;
            };
            let mut stream = Stream::new(&mut tls, &mut socket);
            let mut question = [0; 4096];
            // Whoever shows nothing gets nothing.
            if stream.read(&mut question).is_ok() {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nknown";
                drop(stream.write_all(answer).and_then(|()| stream.flush()));
            }
        }
    });
    format!("https://localhost:{}/", address.port())
}

fn write(dir: &Path, name: &str, text: String) -> std::path::PathBuf {
    let path = dir.join(name);
    fs_err::write(&path, text).unwrap();
    path
}

#[test]
fn a_certificate_is_shown_to_who_asks_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (server, client, stranger) = (made("localhost"), made("client"), made("stranger"));
    let url = start(&server, &client);
    let ca = write(dir.path(), "ca.pem", server.cert.pem());
    let get = |identity| {
        let config = Config { trust: Trust::HostAnd(vec![ca.clone()]), identity, ..config() };
        Client::new(config).bytes(&Request::get(&url, 10))
    };
    let identity = |name: &str, of: &CertifiedKey<KeyPair>| Identity {
        certificate: write(dir.path(), &format!("{name}.crt"), of.cert.pem()),
        key: write(dir.path(), &format!("{name}.key"), of.signing_key.serialize_pem()),
    };
    assert_eq!(get(Some(identity("client", &client))).unwrap(), b"known");
    for shown in [Some(identity("stranger", &stranger)), None] {
        let error = get(shown).unwrap_err();
        assert!(matches!(error, FetchError::WantsCertificate { .. }), "{error:?}");
    }
    let missing = Identity { key: dir.path().join("none"), ..identity("client", &client) };
    let error = get(Some(missing)).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("found no key of a client certificate"), "{error}: {cause}");
}

#[test]
fn the_certificate_of_a_proxy_is_not_taken_for_that_of_a_server() {
    let proxy = start(&made("localhost"), &made("client"));
    let address = proxy.trim_end_matches('/').replace("https://", "https://me:secret@");
    for url in ["https://reg.invalid/", "http://reg.invalid/"] {
        let proxies =
            Proxies::none().or_http(&address, "a test").unwrap().or_https(&address, "a test").unwrap();
        let client = Client::new(Config { proxies, ..config() });
        let error = client.bytes(&Request::get(url, 10)).unwrap_err();
        assert!(matches!(error, FetchError::UntrustedProxy { .. }), "{url}: {error:?}");
        assert_eq!(
            error.to_string(),
            format!("the certificate of the proxy {} is not trusted", proxy.trim_end_matches('/'))
        );
        let hint = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(hint.contains("the authority of the proxy"), "{url}: {hint}");
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let client = made("client");
    let of = |name: &str, years: (i32, i32)| {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
        let signing_key = KeyPair::generate().unwrap();
        CertifiedKey { cert: params.self_signed(&signing_key).unwrap(), signing_key }
    };
    for (name, server, is_known, want) in [
        ("expired", of("localhost", (2000, 2001)), true, CertificateFault::Expired),
        ("not yet", of("localhost", (3000, 3001)), true, CertificateFault::NotYet),
        ("another name", of("other.test", (2000, 3000)), true, CertificateFault::OtherName),
        ("nobody's", of("localhost", (2000, 3000)), false, CertificateFault::UnknownIssuer),
    ] {
        let url = start(&server, &client);
        let known = if is_known { &server } else { &client };
        let ca = write(dir.path(), "ca.pem", known.cert.pem());
        let client = Client::new(Config { trust: Trust::HostAnd(vec![ca]), ..config() });
        let error = client.bytes(&Request::get(&url, 10)).unwrap_err();
        assert_eq!(error.certificate_fault(), Some(want), "case {name}: {error:?}");
    }
}
