//! Asking, asking again, and following where the answer leads.

use std::io::{self, Read as _, Write};

use ureq::http::{Request as HttpRequest, Response as HttpResponse, header};
use ureq::{AsSendBody, SendBody};

use crate::agents::Agents;
use crate::body::Sent;
use crate::error::FetchError;
use crate::message::{Payload, Request, Response};
use crate::pace::{SLOW_ATTEMPTS, is_too_slow};
use crate::proxy::Proxy;
use crate::retry::{
    failure_is_temporary, is_untrusted, refused_by_proxy, status_is_temporary, wants_certificate,
};
use crate::target::Target;
use crate::tunnel::of_proxy;
use crate::{Body, Config, InvalidProxyError, Resolver};

const REDIRECTS: usize = 10;

/// Fetches over HTTP. A clone shares connections, resolved names and the read certificates.
#[derive(Clone, Debug)]
pub struct Client {
    inner: std::sync::Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    resolver: Resolver,
    agents: Agents,
}

/// How one attempt ended when it did not succeed.
struct Failure {
    error: FetchError,
    /// `Some` if another attempt may go better: the pause that the server asks for, if it does.
    again: Option<Option<std::time::Duration>>,
}

impl Failure {
    fn last(error: FetchError) -> Self {
        Self { error, again: None }
    }
}

impl Client {
    /// Returns a client. Nothing is read or resolved before the first request.
    pub fn new(config: Config) -> Self {
        Self::with_resolver(config, Resolver::host())
    }

    /// Returns a client with the proxies of the environment and the host's certificates.
    pub fn from_environment() -> Result<Self, InvalidProxyError> {
        Ok(Self::new(Config::from_environment()?))
    }

    /// Returns a client that asks `resolver` for addresses.
    pub fn with_resolver(config: Config, resolver: Resolver) -> Self {
        let agents = Agents::new(config.clone(), resolver.clone());
        Self { inner: std::sync::Arc::new(Inner { config, resolver, agents }) }
    }

    /// Returns the configuration it was made with.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Asks, and returns the answer with its body unread. Repeats what may go better another time.
    pub fn open(&self, request: &Request<'_>) -> Result<Response, FetchError> {
        self.retry(request.url, |attempt| self.attempt(request, attempt))
    }

    /// Sends a request and returns the answer whatever its status is. Repeats what may go better another time, unless the payload is
    /// a stream; a status that stays the same over all attempts is returned. Only what is fetched may be redirected.
    pub fn exchange(&self, request: &Request<'_>, payload: Payload<'_>) -> Result<Response, FetchError> {
        let bytes = match payload {
            Payload::None => &[],
            Payload::Bytes(bytes) => bytes,
            Payload::Stream { reader, length } => {
                if self.inner.config.stop.is_stopped() {
                    return Err(FetchError::Stopped { url: crate::target::redact(request.url) });
                }
                let mut request = request.clone();
                request.headers.extend(length.map(|length| ("content-length", length.to_string())));
                let mut sent = Sent { reader, stop: &self.inner.config.stop };
                let answered = self.attempt_any(&request, SendBody::from_reader(&mut sent), 1);
                return answered.map(|(response, ..)| response).map_err(|failure| {
                    if self.inner.config.stop.is_stopped() {
                        return FetchError::Stopped { url: crate::target::redact(request.url) };
                    }
                    failure.error
                });
            }
        };
        self.retry(request.url, |attempt| {
            let (response, target, proxy) = if request.method.has_payload() {
                self.attempt_any(request, bytes, attempt)?
            } else {
                self.attempt_any(request, (), attempt)?
            };
            let retry = self.inner.config.retry;
            if status_is_temporary(response.status)
                && attempt < retry.attempts
                && retry.allows(response.retry_after())
            {
                return Err(self.refused(&target, proxy, &response, attempt));
            }
            Ok(response)
        })
    }

    /// Returns the whole body.
    pub fn bytes(&self, request: &Request<'_>) -> Result<Vec<u8>, FetchError> {
        let mut out = Vec::new();
        self.download(request, &mut out)?;
        Ok(out)
    }

    /// Writes the whole body to `sink` and returns its length.
    ///
    /// A body that breaks off is continued where it stopped, from the same version of it where the server gives
    /// versions: the sink sees each byte once. The caller verifies the content.
    pub fn download(&self, request: &Request<'_>, sink: &mut dyn Write) -> Result<u64, FetchError> {
        let mut progress = Progress { received: 0, version: None, sink };
        self.retry(request.url, |attempt| self.attempt_download(request, &mut progress, attempt))
    }

    fn retry<T>(
        &self,
        url: &str,
        mut attempt: impl FnMut(u32) -> Result<T, Failure>,
    ) -> Result<T, FetchError> {
        let config = &self.inner.config;
        let mut number = 1;
        loop {
            let stopped = || FetchError::Stopped { url: crate::target::redact(url) };
            if config.stop.is_stopped() {
                return Err(stopped());
            }
            let failure = match attempt(number) {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            if config.stop.is_stopped() {
                return Err(stopped());
            }
            let asked = match failure.again {
                Some(asked) if number < config.retry.attempts && config.retry.allows(asked) => asked,
                _ => return Err(failure.error),
            };
            let pause = config.retry.pause(number, asked);
            tracing::debug!(error = %failure.error, attempt = number, ?pause, "asking again");
            config.waits.tell(|| failure.error.to_string(), pause);
            if config.stop.wait(pause) {
                return Err(stopped());
            }
            number += 1;
        }
    }

    /// One request with its redirects, which is to succeed.
    fn attempt(&self, request: &Request<'_>, attempt: u32) -> Result<Response, Failure> {
        let (response, target, proxy) = self.attempt_any(request, (), attempt)?;
        if (200..300).contains(&response.status) {
            return Ok(response);
        }
        Err(self.refused(&target, proxy, &response, attempt))
    }

    /// One request with its redirects, whatever the answer is.
    fn attempt_any(
        &self,
        request: &Request<'_>,
        body: impl AsSendBody,
        attempt: u32,
    ) -> Result<(Response, Target, Option<&Proxy>), Failure> {
        let origin = Target::parse(request.url).map_err(Failure::last)?;
        let mut target = origin.clone();
        let is_redirect = |status| matches!(status, 301 | 302 | 303 | 307 | 308);
        if request.method.has_payload() {
            let (response, proxy) = self.send(request, body, (&target, &origin), attempt)?;
            if is_redirect(response.status().as_u16()) {
                let next = follow(&target, &response).map_err(Failure::last)?.to_string();
                let reason = "only what is fetched may be redirected";
                return Err(Failure::last(FetchError::Redirect {
                    url: origin.to_string(),
                    target: next,
                    reason,
                }));
            }
            return Ok((self.accept(request, &target, response), target, proxy));
        }
        for _hop in 0..=REDIRECTS {
            let (response, proxy) = self.send(request, (), (&target, &origin), attempt)?;
            if !is_redirect(response.status().as_u16()) {
                return Ok((self.accept(request, &target, response), target, proxy));
            }
            target = follow(&target, &response).map_err(Failure::last)?;
        }
        let reason = "that is one redirect too many";
        Err(Failure::last(FetchError::Redirect {
            url: origin.to_string(),
            target: target.to_string(),
            reason,
        }))
    }

    fn send(
        &self,
        request: &Request<'_>,
        body: impl AsSendBody,
        (target, origin): (&Target, &Target),
        attempt: u32,
    ) -> Result<(HttpResponse<ureq::Body>, Option<&Proxy>), Failure> {
        let trust = |source| Failure::last(FetchError::Trust { url: target.to_string(), source });
        let (agent, proxy) = self.inner.agents.for_target(target).map_err(trust)?;
        let mut call = HttpRequest::builder().method(request.method.of_http()).uri(target.uri().clone());
        // Credentials are for whom the caller named. A server that redirects cannot give or move any.
        let with_credentials = target.same_origin(origin);
        for (name, value) in &request.headers {
            let secret = ["authorization", "cookie"].iter().any(|secret| name.eq_ignore_ascii_case(secret));
            if with_credentials || !secret {
                call = call.header(*name, value);
            }
        }
        for (name, value) in request.private.iter().filter(|_| with_credentials) {
            call = call.header(*name, value);
        }
        if let Some(authorization) = origin.authorization().filter(|_| with_credentials) {
            call = call.header(header::AUTHORIZATION, authorization);
        }
        if request.from > 0 {
            call = call.header(header::RANGE, format!("bytes={}-", request.from));
        }
        if let Some(authorization) =
            proxy.filter(|proxy| Agents::sends_proxy_header(target, proxy)).and_then(Proxy::authorization)
        {
            call = call.header(header::PROXY_AUTHORIZATION, authorization);
        }
        let refuse = |error: ureq::http::Error| {
            let (url, reason) = (target.to_string(), error.to_string());
            Failure::last(FetchError::Url { url, reason })
        };
        let call = call.body(body).map_err(refuse)?;
        let response = agent.run(call).map_err(|error| self.failed(target, proxy, error, attempt))?;
        Ok((response, proxy))
    }

    fn accept(&self, request: &Request<'_>, target: &Target, response: HttpResponse<ureq::Body>) -> Response {
        let (parts, body) = response.into_parts();
        let expected = body.content_length();
        let reader = body.into_with_config().limit(u64::MAX).reader();
        let partial = parts.status.as_u16() == 206;
        let budget = request.budget.saturating_sub(if partial { request.from } else { 0 });
        Response {
            status: parts.status.as_u16(),
            url: target.to_string(),
            headers: parts.headers,
            body: Body::new(reader, expected, budget, self.inner.config.stop.clone()),
        }
    }

    fn failed(&self, target: &Target, proxy: Option<&Proxy>, error: ureq::Error, attempts: u32) -> Failure {
        let (url, route) = (target.to_string(), self.route(target, proxy));
        let (error, is_of_proxy) = of_proxy(error);
        if let (true, true, Some(proxy)) = (is_of_proxy, is_untrusted(&error), proxy) {
            let proxy = proxy.to_string();
            return Failure::last(FetchError::UntrustedProxy { proxy, source: error.into_io() });
        }
        if is_untrusted(&error) {
            return Failure::last(FetchError::Untrusted { url, route, source: error.into_io() });
        }
        if !is_of_proxy && wants_certificate(&error) {
            return Failure::last(FetchError::WantsCertificate { url, route, source: error.into_io() });
        }
        if let Some(status) = refused_by_proxy(&error) {
            return Failure::last(FetchError::Status { url, status, route, attempts });
        }
        let is_temporary = failure_is_temporary(&error);
        let source = match error {
            ureq::Error::Other(inner) => io::Error::other(inner),
            other => other.into_io(),
        };
        let again = (is_temporary && may_be_faster(&source, attempts)).then_some(None);
        Failure { error: FetchError::Unreachable { url, route, attempts, source }, again }
    }

    fn refused(&self, target: &Target, proxy: Option<&Proxy>, response: &Response, attempts: u32) -> Failure {
        let status = response.status;
        let asked = response.retry_after();
        Failure {
            error: FetchError::Status {
                url: target.to_string(),
                status,
                route: self.route(target, proxy),
                attempts,
            },
            again: status_is_temporary(status).then_some(asked),
        }
    }

    /// Says by which way a target is reached.
    fn route(&self, target: &Target, proxy: Option<&Proxy>) -> String {
        let (via, host) = match proxy {
            Some(proxy) => (format!("through the proxy {proxy}"), proxy.host.as_str()),
            None => ("directly".to_owned(), target.host()),
        };
        let known = self.inner.resolver.known(host);
        if known.is_empty() || host.parse::<std::net::IpAddr>().is_ok() {
            return via;
        }
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        format!("{via}, at {}", known.join(", "))
    }

    fn attempt_download(
        &self,
        request: &Request<'_>,
        progress: &mut Progress<'_>,
        attempt: u32,
    ) -> Result<u64, Failure> {
        let mut request = request.clone();
        if let Some(version) = progress.version.clone().filter(|_| progress.received > 0) {
            request.from = progress.received;
            request.headers.push(("if-range", version));
        }
        let response = match self.attempt(&request, attempt) {
            Err(Failure { error: FetchError::Status { status: 416, .. }, .. }) if request.from > 0 => {
                request.from = 0;
                request.headers.retain(|(name, _value)| *name != "if-range");
                self.attempt(&request, attempt)?
            }
            other => other?,
        };
        let too_large = || {
            Failure::last(FetchError::TooLarge {
                url: crate::target::redact(request.url),
                budget: request.budget,
            })
        };
        let resumed = response.status == 206 && starts_at(&response, progress.received);
        let skip = if resumed { 0 } else { progress.received };
        progress.version = version_of(&response);
        let target = Target::parse(request.url).map_err(Failure::last)?;
        let mut body = response.into_body();
        if body.is_announced_too_large() {
            return Err(too_large());
        }
        progress.copy(&mut body, skip).map_err(|failed| match failed {
            CopyError::Write(source) => Failure::last(FetchError::Write { url: target.to_string(), source }),
            CopyError::Read(error) if Body::is_over_budget(&error) => too_large(),
            CopyError::Read(source) => Failure {
                again: may_be_faster(&source, attempt).then_some(None),
                error: FetchError::Truncated {
                    url: target.to_string(),
                    received: progress.received,
                    route: self.route(&target, self.inner.config.proxies.for_target(&target)),
                    attempts: attempt,
                    source,
                },
            },
        })?;
        Ok(progress.received)
    }
}

/// Whether one more attempt is worth it after such a failure, as far as that is about time.
fn may_be_faster(error: &io::Error, attempts: u32) -> bool {
    !is_too_slow(error) || attempts < SLOW_ATTEMPTS
}

/// Where a redirect leads. Spec: RFC 9110 section 15.4.
fn follow(target: &Target, response: &HttpResponse<ureq::Body>) -> Result<Target, FetchError> {
    let refuse =
        |to: &str, reason| FetchError::Redirect { url: target.to_string(), target: to.to_owned(), reason };
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| refuse("nowhere", "the answer has no Location header"))?;
    let next = target.join(location)?;
    if target.is_https() && !next.is_https() {
        return Err(refuse(&next.to_string(), "it leads from https to http"));
    }
    Ok(next)
}

/// What identifies the bytes, so that a rest can be asked for: a strong entity tag, else the date.
fn version_of(response: &Response) -> Option<String> {
    let tag = response.header("etag").filter(|tag| tag.starts_with('"'));
    tag.or_else(|| response.header("last-modified")).map(str::to_owned)
}

fn starts_at(response: &Response, offset: u64) -> bool {
    let range = response.header("content-range").and_then(|range| range.strip_prefix("bytes "));
    let start = range.and_then(|range| range.split_once('-')).and_then(|(start, _)| start.parse().ok());
    start == Some(offset)
}

/// How far a download has come, over all attempts.
struct Progress<'a> {
    received: u64,
    version: Option<String>,
    sink: &'a mut dyn Write,
}

enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

impl Progress<'_> {
    /// Copies a body, without its first `skip` bytes, which an earlier attempt has brought.
    fn copy(&mut self, body: &mut Body, mut skip: u64) -> Result<(), CopyError> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(CopyError::Read(error)),
            };
            let known = usize::try_from(skip).unwrap_or(usize::MAX).min(read);
            skip -= u64::try_from(known).unwrap_or(skip);
            let new = &buffer[known..read];
            self.sink.write_all(new).map_err(CopyError::Write)?;
            self.received += u64::try_from(new.len()).unwrap_or(0);
        }
    }
}
