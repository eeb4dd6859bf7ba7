//! Object storage over the HTTP that everything else here uses too: the machine's proxies, certificates and resolver.

use std::io::{self, Read as _};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderValue, Response as HttpAnswer};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use object_store::{ClientOptions, RetryConfig};
use shipway_fetch::{Client, FetchError, Method, Payload, Request};
use shipway_registry::Bucket;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::cli::ServeArgs;
use crate::failure::Failure;

/// Read from a connection at a time, and how many such pieces may wait.
const PIECE: usize = 256 << 10;
const WAITING: usize = 4;
/// What is asked again is asked again by our own client.
const NO_RETRY: RetryConfig = RetryConfig {
    backoff: object_store::BackoffConfig {
        init_backoff: Duration::ZERO,
        max_backoff: Duration::ZERO,
        base: 2.0,
    },
    max_retries: 0,
    retry_timeout: Duration::from_secs(180),
};

/// Reads `s3://NAME/PREFIX` and what the environment says of it: region, credentials, endpoint.
pub(super) fn open(args: &ServeArgs, url: &str) -> Result<Bucket, Failure> {
    let wrong =
        || Failure::new(format!("`{url}` is no bucket"), "write it as `s3://NAME` or `s3://NAME/PREFIX`");
    let rest = url.strip_prefix("s3://").ok_or_else(wrong)?;
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    // Spec: Amazon S3 User Guide, bucket naming rules, old ones too.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(is_plain) {
        return Err(wrong());
    }
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(name)
        .with_http_connector(Connector(Client::from_environment()?))
        .with_retry(NO_RETRY)
        .with_disable_bulk_delete(true);
    if let Some(endpoint) = &args.bucket_endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    check(&builder)?;
    // Whoever names an endpoint that is not encrypted means it.
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint).unwrap_or_default();
    builder = builder.with_allow_http(endpoint.starts_with("http://"));
    let objects = builder.build().map_err(|error| failed(url, &error))?;
    Ok(Bucket::new(Arc::new(objects), prefix))
}

/// Refuses what no request can be made of.
fn check(builder: &AmazonS3Builder) -> Result<(), Failure> {
    if let Some(endpoint) = builder.get_config_value(&AmazonS3ConfigKey::Endpoint) {
        let url: Option<http::Uri> = endpoint.parse().ok();
        let is_url = url.is_some_and(|url| {
            matches!(url.scheme_str(), Some("http" | "https"))
                && url.authority().is_some()
                && url.query().is_none()
        });
        if !is_url {
            return Err(Failure::new(
                format!("`{}` is no address of a service with buckets", endpoint.escape_debug()),
                "write it as `--bucket-endpoint https://HOST:PORT`",
            ));
        }
    }
    for (key, name) in [
        (AmazonS3ConfigKey::Region, "AWS_REGION"),
        (AmazonS3ConfigKey::AccessKeyId, "AWS_ACCESS_KEY_ID"),
        (AmazonS3ConfigKey::SecretAccessKey, "AWS_SECRET_ACCESS_KEY"),
        (AmazonS3ConfigKey::Token, "AWS_SESSION_TOKEN"),
    ] {
        let value = builder.get_config_value(&key).unwrap_or_default();
        if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::new(
                format!(
                    "{name} has a blank, the end of a line or another character in it that cannot be sent"
                ),
                format!("see what `printenv {name} | od -c` shows"),
            ));
        }
    }
    Ok(())
}

/// Asks the storage for something, before anybody is told that the registry is there: what its tokens are signed with.
pub(super) async fn secret(bucket: &Bucket, url: &str) -> Result<[u8; 32], Failure> {
    bucket.secret().await.map_err(|error| failed(url, &error))
}

fn failed(url: &str, error: &object_store::Error) -> Failure {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(found) = cause {
        let more = found.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = found.source();
    }
    let hint = match error {
        object_store::Error::NotSupported { .. } => {
            "registries that share a bucket need a service with conditional writes: Amazon's, a recent MinIO, or R2"
        }
        _ => {
            "it needs AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, and for another service than Amazon's --bucket-endpoint URL"
        }
    };
    Failure::new(format!("the bucket {url} cannot be used: {text}"), hint)
}

#[derive(Debug)]
struct Connector(Client);

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Service(self.0.clone())))
    }
}

#[derive(Debug)]
struct Service(Client);

impl HttpService for Service {
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let client = self.0.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let asked = spawn_blocking(move || ask(&client, &head, &body)).await;
            asked.map_err(|panic| HttpError::new(HttpErrorKind::Unknown, panic))?
        })
    }
}

fn ask(client: &Client, head: &http::request::Parts, body: &Bytes) -> Result<HttpResponse, HttpError> {
    let method = match head.method {
        http::Method::GET => Method::Get,
        http::Method::HEAD => Method::Head,
        http::Method::POST => Method::Post,
        http::Method::PUT => Method::Put,
        http::Method::DELETE => Method::Delete,
        _ => return Err(HttpError::new(HttpErrorKind::Unknown, io::Error::from(io::ErrorKind::Unsupported))),
    };
    let url = head.uri.to_string();
    let mut request = Request::new(method, &url, u64::MAX);
    for (name, value) in &head.headers {
        // These are made of the address and the body.
        if !matches!(name.as_str(), "host" | "content-length") {
            let value = value.to_str().map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
            request = request.header(name.as_str(), value);
        }
    }
    let payload = match method {
        Method::Post | Method::Put => Payload::Bytes(body),
        _ => Payload::None,
    };
    let answer = client.exchange(&request, payload).map_err(broken)?;
    let mut response = HttpAnswer::builder().status(answer.status());
    for (name, value) in answer.all_headers() {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            response = response.header(name, value);
        }
    }
    let (sender, mut receiver) = mpsc::channel(WAITING);
    let mut body = answer.into_body();
    // Ends with the body, or when nobody reads it any more.
    drop(spawn_blocking(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let (piece, is_over) = match body.read(&mut piece) {
                Ok(0) => return,
                Ok(read) => {
                    piece.truncate(read);
                    (Ok(Frame::data(Bytes::from(piece))), false)
                }
                Err(error) => (Err(HttpError::new(HttpErrorKind::Interrupted, error)), true),
            };
            if sender.blocking_send(piece).is_err() || is_over {
                return;
            }
        }
    }));
    let pieces = futures::stream::poll_fn(move |context| receiver.poll_recv(context)).fuse();
    let body = HttpResponseBody::new(StreamBody::new(pieces));
    response.body(body).map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))
}

fn broken(error: FetchError) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_request_can_be_made_of_is_refused() {
        let endpoint = |url: &str| check(&AmazonS3Builder::new().with_endpoint(url)).is_ok();
        for (url, want) in [
            ("https://storage.test", true),
            ("http://127.0.0.1:9000/path", true),
            ("127.0.0.1:9000", false),
            ("storage.test", false),
            ("ftp://storage.test", false),
            ("https://", false),
            ("https://a b", false),
            ("", false),
        ] {
            assert_eq!(endpoint(url), want, "case {url}");
        }
        let region = |text: &str| check(&AmazonS3Builder::new().with_region(text)).is_ok();
        let key = |text: &str| check(&AmazonS3Builder::new().with_access_key_id(text)).is_ok();
        assert!(region("eu-central-1") && key("AKIA/+="));
        for text in ["a b", "key\n", "\u{e4}"] {
            assert!(!region(text) && !key(text), "case {text:?}");
        }
    }
}
