use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use shipway_registry::{AccessLog, Config, Registry, Tls};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::world::{IMAGE, World, sha256};

#[tokio::test]
async fn what_means_nothing_is_refused() {
    let world = World::new();
    let base = world.get("/v2/").await;
    assert_eq!(base.is(200).header("docker-distribution-api-version"), "registry/2.0");
    for (line, status, code) in [
        ("POST /v2/", 405, "UNSUPPORTED"),
        ("PUT /v2/web/tags/list", 405, "UNSUPPORTED"),
        ("GET /", 404, "UNSUPPORTED"),
        ("GET /v2/We/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/..%2f..%2fetc/tags/list", 400, "NAME_INVALID"),
        ("POST /v2/../blobs/uploads/", 400, "NAME_INVALID"),
    ] {
        let answer = world.ask(line, &[], "").await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{line}");
    }
    let page = world.ask("GET /v2/", &[("origin", "http://evil.test")], "").await;
    assert_eq!(page.is(403).code(), "DENIED");
}

#[tokio::test]
async fn names_of_others_that_lead_here_are_refused() {
    let world = World::with(|config| Config { names: Some(vec!["box".to_owned()]), ..config });
    for (host, status) in
        [("127.0.0.1:5000", 200), ("localhost", 200), ("box:5000", 200), ("evil.example", 403)]
    {
        let answer = world.ask("GET /v2/", &[("host", host)], "").await;
        assert_eq!(answer.status.as_u16(), status, "{host}");
    }
    let refused = world.ask("GET /metrics", &[("host", "evil.example:5000")], "").await;
    assert_eq!(refused.is(403).code(), "DENIED");
    let text = refused.json()["errors"][0]["message"].to_string();
    assert!(text.contains("--allow-host NAME"), "{text}");
    world.get("/v2/").await.is(200);
}

#[tokio::test]
async fn there_is_a_limit_to_everything() {
    let world = World::with(|config| Config { blob: 10, manifest: 20, uploads: 2, ..config });
    let place = world.begin("web").await;
    world.ask(&format!("PATCH {place}"), &[], "0123456789").await.is(202);
    assert_eq!(world.ask(&format!("PATCH {place}"), &[], "x").await.is(413).code(), "SIZE_INVALID");
    world.get(&place).await.is(404);
    let line = format!("POST /v2/web/blobs/uploads/?digest={}", sha256(b"0123456789a"));
    world.ask(&line, &[], "0123456789a").await.is(413);
    let long =
        world.ask("PUT /v2/web/manifests/1", &[("content-type", IMAGE)], "{\"x\": \"0123456789\"}   ").await;
    assert_eq!(long.is(413).code(), "SIZE_INVALID");
    let (one, _two) = (world.begin("web").await, world.begin("web").await);
    let refused = world.ask("POST /v2/web/blobs/uploads/", &[], "").await;
    assert_eq!((refused.is(429).code().as_str(), refused.header("retry-after")), ("TOOMANYREQUESTS", "10"));
    world.ask(&format!("DELETE {one}"), &[], "").await.is(204);
    world.begin("web").await;
}

#[tokio::test]
async fn whoever_sends_nothing_is_not_waited_for() {
    let world = World::with(|config| Config { idle: Duration::from_millis(20), ..config });
    let place = world.begin("web").await;
    let silent = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    world.ask(&format!("PATCH {place}"), &[], silent).await.is(408);
}

#[tokio::test]
async fn connections_are_served_until_the_end_and_told_of() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    let world = World::with(|config| Config {
        log: Some(AccessLog::new(move |access| {
            log.lock().unwrap().push(format!("{} {} {}", access.method, access.path, access.status));
        })),
        ..config
    });
    let digest = world.push_blob("web", b"0123456789").await;
    let listener = Registry::listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    assert!(Registry::listen(address).await.unwrap_err().to_string().contains("could not listen on"));
    let stop = CancellationToken::new();
    let client = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /v2/web/blobs/{digest} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        stop.cancel();
        text
    };
    let ((), text) = tokio::join!(world.registry.serve(listener, stop.clone()), client);
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("\r\n\r\n0123456789"), "{text}");
    assert!(text.contains("content-length: 10\r\n") && !text.contains("chunked"), "{text}");
    assert_eq!(heard.lock().unwrap()[1], format!("GET /v2/web/blobs/{digest} 200"));
}

/// A registry that listens, and what ends it.
async fn serving<T>(world: &World, client: impl AsyncFnOnce(SocketAddr) -> T) -> T {
    let listener = Registry::listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let client = async {
        let _end = stop.clone().drop_guard();
        client(address).await
    };
    tokio::join!(world.registry.serve(listener, stop.clone()), client).1
}

async fn base(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut start = vec![0; 15];
    stream.read_exact(&mut start).await.unwrap();
    String::from_utf8(start).unwrap()
}

#[tokio::test]
async fn those_who_only_hold_connections_keep_nobody_out() {
    let world = World::with(|config| Config { connections: 3, ..config });
    serving(&world, async |address| {
        let mut silent = Vec::new();
        for _ in 0..3 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        silent[0].write_all(b"GET /v2/ HTTP/1.1\r\nx-slow: ").await.unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(base(&mut stream).await, "HTTP/1.1 200 OK");
        // The first of them was there for longest.
        let mut rest = Vec::new();
        drop(silent[0].read_to_end(&mut rest).await);
        assert_eq!(base(&mut silent[2]).await, "HTTP/1.1 200 OK");
    })
    .await;
}

#[tokio::test]
async fn whoever_takes_nothing_of_an_answer_keeps_nobody_out() {
    let world = World::with(|config| Config { connections: 2, idle: Duration::from_millis(50), ..config });
    // More than the kernel keeps for somebody who does not read.
    let digest = world.push_blob("web", &vec![7; 64 << 20]).await;
    serving(&world, async |address| {
        let ask = format!("GET /v2/web/blobs/{digest} HTTP/1.1\r\nhost: x\r\n\r\n");
        let mut deaf = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(ask.as_bytes()).await.unwrap();
            // It is being answered.
            stream.read_exact(&mut [0; 15]).await.unwrap();
            deaf.push(stream);
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(base(&mut stream).await, "HTTP/1.1 200 OK");
    })
    .await;
}

#[tokio::test]
async fn connections_are_encrypted_where_there_is_a_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = (dir.path().join("crt"), dir.path().join("key"));
    let made = rcgen::generate_simple_self_signed(vec!["registry.test".to_owned()]).unwrap();
    fs_err::write(&certificate, made.cert.pem()).unwrap();
    fs_err::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = Tls::open(&certificate, &key).unwrap();
    let idle = Duration::from_millis(100);
    let world = World::with(|config| Config { tls: Some(tls), connections: 3, idle, ..config });
    let digest = world.push_blob("web", &vec![7; 64 << 20]).await;
    serving(&world, async |address| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        // Those who begin a handshake and say no more keep nobody out.
        let mut halves = Vec::new();
        for _ in 0..3 {
            let mut half = TcpStream::connect(address).await.unwrap();
            half.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
            halves.push(half);
        }
        let connect = async || {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = rustls::pki_types::ServerName::try_from("registry.test").unwrap();
            connector.connect(name, stream).await.unwrap()
        };
        assert_eq!(base(&mut connect().await).await, "HTTP/1.1 200 OK");
        // Those who ask for much and take nothing of it keep nobody out either.
        let ask = format!("GET /v2/web/blobs/{digest} HTTP/1.1\r\nhost: x\r\n\r\n");
        let mut deaf = Vec::new();
        for _ in 0..3 {
            let mut stream = connect().await;
            stream.write_all(ask.as_bytes()).await.unwrap();
            stream.read_exact(&mut [0; 15]).await.unwrap();
            deaf.push(stream);
        }
        assert_eq!(base(&mut connect().await).await, "HTTP/1.1 200 OK");
        // Whoever does not speak it is told so.
        let mut plain = TcpStream::connect(address).await.unwrap();
        plain.write_all(b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        plain.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.0 400") && answer.contains("to an HTTPS server"), "{answer}");
    })
    .await;
}
