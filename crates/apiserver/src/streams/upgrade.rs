//! Which protocol a client wants to change to, and the answer.

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use ring::digest;

use crate::Status;

/// Header with the protocols above SPDY.
const STREAM_PROTOCOL: &str = "x-stream-protocol-version";

/// A protocol that both ends speak, and the answer that says so.
#[derive(Debug)]
pub(crate) struct Agreed {
    /// Over WebSocket, else over SPDY.
    pub(crate) websocket: bool,
    /// The one chosen of the server's.
    pub(crate) protocol: &'static str,
    /// 101.
    pub(crate) response: Response,
}

/// Chooses the first of the server's protocols that the client offers; 400 if there is none.
pub(crate) fn negotiate(
    request: &Request<Body>,
    websocket: &[&'static str],
    spdy: &[&'static str],
) -> Result<Agreed, Status> {
    let headers = request.headers();
    let upgrade = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let connection = tokens(headers, header::CONNECTION.as_str());
    if !connection.iter().any(|token| token.eq_ignore_ascii_case("upgrade")) {
        return Err(Status::bad_request("Upgrade request required"));
    }
    if upgrade.eq_ignore_ascii_case("websocket") {
        return over_websocket(headers, websocket);
    }
    if !upgrade.eq_ignore_ascii_case("SPDY/3.1") {
        return Err(Status::bad_request("Upgrade request required"));
    }
    let protocol = choose(&tokens(headers, STREAM_PROTOCOL), spdy)?;
    let response = switching("SPDY/3.1", STREAM_PROTOCOL, protocol);
    Ok(Agreed { websocket: false, protocol, response })
}

fn over_websocket(headers: &HeaderMap, ours: &[&'static str]) -> Result<Agreed, Status> {
    let version = headers.get(header::SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let (Some(b"13"), Some(key)) = (version, key) else {
        return Err(Status::bad_request("unable to upgrade: not a WebSocket request of version 13"));
    };
    let name = header::SEC_WEBSOCKET_PROTOCOL;
    let protocol = choose(&tokens(headers, name.as_str()), ours)?;
    let mut response = switching("websocket", name.as_str(), protocol);
    if let Ok(accept) = HeaderValue::from_str(&accept_key(key)) {
        response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    Ok(Agreed { websocket: true, protocol, response })
}

/// Returns the answer to a client's key: it shows that the server knows what it agrees to.
// Spec: RFC 6455, section 4.2.2
fn accept_key(key: &[u8]) -> String {
    let mut sum = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    sum.update(key);
    sum.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64.encode(sum.finish())
}

fn choose(offered: &[&str], ours: &[&'static str]) -> Result<&'static str, Status> {
    ours.iter().copied().find(|protocol| offered.contains(protocol)).ok_or_else(|| {
        Status::bad_request(format!(
            "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server accepts {ours:?}"
        ))
    })
}

/// Returns the elements of a list header, over all its lines.
fn tokens<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|token| !token.is_empty()).collect()
}

fn switching(upgrade: &'static str, header: &str, protocol: &'static str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(upgrade));
    if let Ok(name) = http::HeaderName::from_bytes(header.as_bytes()) {
        headers.insert(name, HeaderValue::from_static(protocol));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEBSOCKET: &[&str] = &["v5.channel.k8s.io", "v4.channel.k8s.io"];
    const SPDY: &[&str] = &["v4.channel.k8s.io"];

    fn ask(headers: &[(&str, &str)]) -> Result<Agreed, Status> {
        let mut request = Request::get("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        negotiate(&request.body(Body::empty()).unwrap(), WEBSOCKET, SPDY)
    }

    #[test]
    fn the_best_common_protocol_wins() {
        let websocket = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "v4.channel.k8s.io, v5.channel.k8s.io"),
        ];
        let agreed = ask(&websocket).unwrap();
        assert_eq!((agreed.websocket, agreed.protocol), (true, "v5.channel.k8s.io"));
        let headers = agreed.response.headers();
        assert_eq!(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(headers["sec-websocket-protocol"], "v5.channel.k8s.io");
        let spdy = [
            ("connection", "Upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v5.channel.k8s.io"),
            ("x-stream-protocol-version", "v4.channel.k8s.io"),
        ];
        let agreed = ask(&spdy).unwrap();
        assert_eq!((agreed.websocket, agreed.protocol), (false, "v4.channel.k8s.io"));
    }

    #[test]
    fn what_is_no_upgrade_is_refused() {
        for headers in [
            &[][..],
            &[("connection", "Upgrade")],
            &[("connection", "Upgrade"), ("upgrade", "h2c")],
            &[("connection", "Upgrade"), ("upgrade", "websocket")],
            &[("connection", "Upgrade"), ("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "v9")],
            &[("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "v4.channel.k8s.io")],
        ] {
            assert_eq!(ask(headers).unwrap_err().code, StatusCode::BAD_REQUEST, "{headers:?}");
        }
    }
}
