use shipway_fetch::{Client, Config, FetchError, Proxies, Request};

use crate::download::config;
use crate::server::{Server, reply};

fn through(proxy: &Server) -> Client {
    let address = format!("http://me:pw@{}", proxy.address);
    let proxies = Proxies::none().or_http(&address, "a test").unwrap().or_https(&address, "a test").unwrap();
    Client::new(Config { proxies, ..config() })
}

#[test]
fn plain_addresses_go_to_the_proxy_in_full_over_one_connection() {
    let proxy = Server::start(|_, _| reply("200 OK", "", b"cached"));
    let client = through(&proxy);
    for path in ["/one?x=1", "/two"] {
        let got = client.bytes(&Request::get(&format!("http://mirror.invalid{path}"), 10)).unwrap();
        assert_eq!(got, b"cached");
    }
    let asked = proxy.asked();
    let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
    assert_eq!(
        lines,
        ["GET http://mirror.invalid/one?x=1 HTTP/1.1", "GET http://mirror.invalid/two HTTP/1.1"]
    );
    assert_eq!(asked[0].header("host"), Some("mirror.invalid"));
    assert_eq!(asked[0].header("proxy-authorization"), Some("Basic bWU6cHc="));
    assert!(asked.iter().all(|asked| asked.connection == 0));
}

#[test]
fn secure_addresses_are_tunnelled() {
    let proxy = Server::start(|_, _| b"HTTP/1.1 403 No\r\n\r\n".to_vec());
    let error = through(&proxy).bytes(&Request::get("https://mirror.invalid/f", 10)).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, FetchError::Status { status: 403, attempts: 1, .. }), "{error:?}");
    assert!(
        text.contains(&format!("through the proxy http://{}", proxy.address)) && !text.contains("pw"),
        "{text}"
    );
    assert_eq!(proxy.asked().len(), 1, "it says the same each time");
    let asked = &proxy.asked()[0];
    assert_eq!(asked.line, "CONNECT mirror.invalid:443 HTTP/1.1");
    assert_eq!(asked.header("proxy-authorization"), Some("Basic bWU6cHc="));
}

#[test]
fn a_proxy_that_wants_a_password_is_called_so() {
    let proxy = Server::start(|_, _| reply("407 Proxy Authentication Required", "", b""));
    for url in ["http://mirror.invalid/f", "https://mirror.invalid/f"] {
        let error = through(&proxy).bytes(&Request::get(url, 10)).unwrap_err();
        assert_eq!(error.status(), Some(407), "{url}: {error}");
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(help.contains("the proxy wants a user name and password"), "{url}: {help}");
    }
    // One that cannot reach the server may do so the next time.
    let proxy = Server::start(|_, _| reply("502 Bad Gateway", "", b""));
    let error = through(&proxy).bytes(&Request::get("https://mirror.invalid/f", 10)).unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { attempts: 2.., .. }), "{error:?}");
}
