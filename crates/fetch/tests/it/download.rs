use std::io::{Read as _, Write as _};
use std::time::Duration;

use shipway_fetch::{Client, Config, FetchError, Method, Payload, Request, Retry};

use crate::server::{Server, broken, reply};

const BODY: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

fn client() -> Client {
    Client::new(config())
}

pub(crate) fn config() -> Config {
    let retry =
        Retry { attempts: 4, first_pause: Duration::from_millis(1), longest_pause: Duration::from_millis(5) };
    Config { retry, read_timeout: Duration::from_millis(500), ..Config::default() }
}

#[test]
fn temporary_failures_are_tried_again_and_others_are_not() {
    for (name, status, failures, want, asked) in [
        ("busy", "503 Busy", 2, None, 3),
        ("limited", "429 Slow", 3, None, 4),
        ("always busy", "503 Busy", 99, Some(503), 4),
        ("missing", "404 Not Found", 99, Some(404), 1),
        ("denied", "403 No", 99, Some(403), 1),
    ] {
        let server = Server::start(move |_, number| match number <= failures {
            true => reply(status, "Retry-After: 0\r\n", b"no"),
            false => reply("200 OK", "", BODY),
        });
        let got = client().bytes(&Request::get(&server.url("/f"), 100));
        assert_eq!(got.as_ref().err().and_then(FetchError::status), want, "case {name}");
        assert_eq!(got.ok().as_deref(), want.is_none().then_some(BODY), "case {name}");
        assert_eq!(server.asked().len(), asked, "case {name}");
    }
}

#[test]
fn a_broken_body_goes_on_where_it_stopped() {
    let server = Server::start(|asked, number| match (number, asked.header("range")) {
        (1, None) => broken("ETag: \"v1\"\r\n", BODY, 10),
        (_, Some("bytes=10-")) => {
            reply("206 Partial Content", "ETag: \"v1\"\r\nContent-Range: bytes 10-35/36\r\n", &BODY[10..])
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(client().bytes(&Request::get(&server.url("/f"), 36)).unwrap(), BODY);
    assert_eq!(server.asked()[1].header("if-range"), Some("\"v1\""));
}

#[test]
fn a_server_without_ranges_sends_all_again_and_each_byte_counts_once() {
    let server = Server::start(|asked, number| {
        assert_eq!(asked.header("range").is_some(), number > 1);
        if number < 3 { broken("ETag: \"v\"\r\n", BODY, 7 * number) } else { reply("200 OK", "", BODY) }
    });
    assert_eq!(client().bytes(&Request::get(&server.url("/f"), 36)).unwrap(), BODY);

    let server =
        Server::start(|_, number| if number < 3 { broken("", BODY, 7) } else { reply("200 OK", "", BODY) });
    assert_eq!(client().bytes(&Request::get(&server.url("/f"), 36)).unwrap(), BODY);
    assert!(server.asked().iter().all(|asked| asked.header("range").is_none()));
}

#[test]
fn a_body_that_always_breaks_off_is_an_error_that_says_so() {
    let server = Server::start(|_, _| broken("", BODY, 5));
    let error = client().bytes(&Request::get(&server.url("/f"), 36)).unwrap_err();
    assert!(matches!(error, FetchError::Truncated { received: 5, attempts: 4, .. }), "{error:?}");
}

#[test]
fn a_body_over_its_budget_is_an_error_with_and_without_a_length() {
    let server = Server::start(|asked, _| match asked.line.contains("/known") {
        true => reply("200 OK", "", BODY),
        false => [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", BODY].concat(),
    });
    for path in ["/known", "/unknown"] {
        let error = client().bytes(&Request::get(&server.url(path), 35)).unwrap_err();
        assert!(matches!(error, FetchError::TooLarge { budget: 35, .. }), "{path}: {error:?}");
        assert_eq!(client().bytes(&Request::get(&server.url(path), 36)).unwrap(), BODY, "{path}");
        let mut body = client().open(&Request::get(&server.url(path), 35)).unwrap().into_body();
        assert!(body.read_to_end(&mut Vec::new()).is_err(), "{path}");
    }
}

#[test]
fn connections_are_used_again() {
    let server = Server::start(|_, _| reply("200 OK", "", BODY));
    let client = client();
    for _ in 0..5 {
        client.bytes(&Request::get(&server.url("/f"), 100)).unwrap();
    }
    assert!(server.asked().iter().all(|asked| asked.connection == 0));
}

#[test]
fn credentials_do_not_follow_a_redirect_to_another_origin() {
    let other = Server::start(|_, _| reply("200 OK", "", BODY));
    let target = other.url("/there");
    let server = Server::start(move |asked, _| match asked.line.split(' ').nth(1).unwrap() {
        "/away" => reply("302 Found", &format!("Location: {target}\r\n"), b""),
        "/here" => reply("301 Moved", "Location: end\r\n", b""),
        "/loop" => reply("307 Again", "Location: /loop\r\n", b""),
        "/lost" => reply("302 Found", "", b""),
        _ => reply("200 OK", "", BODY),
    });
    let fetch = |path: &str| {
        let url = server.url(path).replace("http://", "http://me:pw@");
        client().bytes(
            &Request::get(&url, 100)
                .header("Cookie", "secret")
                .header("X-Plain", "yes")
                .private_header("X-Token", "t"),
        )
    };
    fetch("/away").unwrap();
    let there = &other.asked()[0];
    assert_eq!(["authorization", "cookie", "x-token"].map(|name| there.header(name)), [None; 3]);
    assert_eq!(there.header("x-plain"), Some("yes"));
    fetch("/here").unwrap();
    let end = server.asked().into_iter().find(|asked| asked.line.starts_with("GET /end ")).unwrap();
    assert_eq!((end.header("cookie"), end.header("authorization")), (Some("secret"), Some("Basic bWU6cHc=")));
    assert_eq!(end.header("x-token"), Some("t"));
    for (path, text) in [("/loop", "one redirect too many"), ("/lost", "no Location")] {
        let error = fetch(path).unwrap_err();
        assert!(matches!(error, FetchError::Redirect { .. }) && error.to_string().contains(text), "{error}");
        assert!(!format!("{error:?}").contains("pw"), "{error:?}");
    }
}

#[test]
fn silence_and_closed_ports_are_errors_that_say_what_was_tried() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error =
        client().bytes(&Request::get(&format!("http://me:pw@localhost:{}/f", port.port()), 1)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("4 attempts") && text.contains("127.0.0.1") && !text.contains("pw"), "{text}");

    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config();
    config.retry.attempts = 1;
    config.read_timeout = Duration::from_millis(50);
    let url = format!("http://{}/f", silent.local_addr().unwrap());
    let error = Client::new(config).bytes(&Request::get(&url, 1)).unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { .. }), "{error:?}");
}

#[test]
fn a_stopped_client_asks_nobody() {
    let server = Server::start(|_, _| reply("503 Busy", "", b""));
    let client = client();
    client.config().stop.stop();
    let error = client.bytes(&Request::get(&server.url("/f"), 1)).unwrap_err();
    assert!(matches!(error, FetchError::Stopped { .. }));
    assert!(server.asked().is_empty());
}

/// Gives bytes, and stops a client after the first.
struct Once(Client);

impl std::io::Read for Once {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.config().stop.stop();
        buffer[0] = b'x';
        Ok(1)
    }
}

#[test]
fn a_stop_ends_bodies_that_come_and_go() {
    let server = Server::start(|_, _| reply("200 OK", "", BODY));
    let client = client();
    let mut body = client.open(&Request::get(&server.url("/f"), 100)).unwrap().into_body();
    let mut first = [0];
    body.read_exact(&mut first).unwrap();
    client.config().stop.stop();
    assert_eq!(body.read(&mut first).unwrap_err().to_string(), "it was stopped");

    // What has no length ends with the connection, which a stop closes.
    let (started, sent) = std::sync::mpsc::channel();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/f", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 16]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf").unwrap();
        started.send(stream).unwrap();
    });
    let client = self::client();
    let mut body = client.open(&Request::get(&url, 100)).unwrap().into_body();
    body.read_exact(&mut [0; 4]).unwrap();
    let _open = sent.recv().unwrap();
    let stop = client.config().stop.clone();
    let waiting = std::thread::spawn(move || body.read(&mut [0]).map_err(|error| error.to_string()));
    stop.stop();
    assert_eq!(waiting.join().unwrap(), Err("it was stopped".to_owned()));

    let client = self::client();
    let payload = Payload::Stream { reader: &mut Once(client.clone()), length: Some(1 << 20) };
    let url = server.url("/f");
    let request = Request::new(Method::Put, &url, 100);
    let failed = client.exchange(&request, payload).unwrap_err();
    assert!(matches!(failed, FetchError::Stopped { .. }), "{failed}");
}

#[test]
fn a_stop_ends_waiting_for_a_server_that_says_nothing() {
    let (silent, asked) = std::sync::mpsc::channel();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/f", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut first = [0];
            (&stream).read_exact(&mut first).unwrap();
            silent.send(stream).unwrap();
        }
    });
    let config = Config { read_timeout: Duration::from_secs(3600), ..Config::default() };
    let client = Client::new(config);
    let stop = client.config().stop.clone();
    let waiting = std::thread::spawn(move || client.bytes(&Request::get(&url, 100)).unwrap_err());
    let _open = asked.recv().unwrap();
    stop.stop();
    let error = waiting.join().unwrap();
    assert!(matches!(error, FetchError::Stopped { .. }), "{error}");
}

/// Returns a server that takes no connection any more, and what has to be held for that.
fn full() -> (String, (std::net::TcpListener, Vec<std::net::TcpStream>)) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let short = Duration::from_millis(200);
    let one = || std::net::TcpStream::connect_timeout(&address, short).ok();
    let waiting = std::iter::from_fn(one).collect();
    (format!("http://{address}/f"), (listener, waiting))
}

#[test]
fn a_stop_ends_waiting_for_a_connection() {
    let (url, _open) = full();
    let config = Config { connect_timeout: Duration::from_secs(3600), ..Config::default() };
    let client = Client::new(config);
    let stop = client.config().stop.clone();
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || ended.send(client.bytes(&Request::get(&url, 100)).unwrap_err()).unwrap());
    let quiet = end.recv_timeout(Duration::from_millis(300));
    assert!(quiet.is_err(), "it waits: {quiet:?}");
    let began = std::time::Instant::now();
    stop.stop();
    let error = end.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(matches!(error, FetchError::Stopped { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_server_that_takes_no_connection_is_given_up() {
    let (url, _open) = full();
    let config = Config {
        connect_timeout: Duration::from_millis(100),
        retry: Retry { attempts: 1, ..Retry::default() },
        ..Config::default()
    };
    let error = Client::new(config).bytes(&Request::get(&url, 1)).unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { .. }), "{error:?}");
}
