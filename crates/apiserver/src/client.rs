//! Calling the server in-process.
//!
//! Plain requests go straight to the router. Requests that upgrade need a connection underneath: they get one made of
//! memory, with hyper on both ends.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderValue, Request, header};
use hyper_util::rt::TokioIo;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::{Identity, Status};

/// Bytes in flight each way on an in-process upgraded connection.
const BUFFER: usize = 64 * 1024;

/// A service that answers as the API server does to one identity.
#[derive(Debug, Clone)]
pub struct ClientService {
    router: Router,
    identity: Identity,
    tasks: TaskTracker,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl ClientService {
    pub(crate) fn new(router: Router, identity: Identity, tasks: TaskTracker) -> Self {
        Self { router, identity, tasks }
    }
}

impl<B> tower::Service<Request<B>> for ClientService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answer {
        let mut request = request.map(Body::new);
        let this = self.clone();
        if request.headers().contains_key(header::UPGRADE) {
            return Box::pin(async move {
                Ok(this.upgrade(request).await.unwrap_or_else(|error| {
                    tracing::error!(error = &error as &dyn std::error::Error, "an in-process upgrade failed");
                    Status::internal("the in-process connection failed").into_response()
                }))
            });
        }
        request.extensions_mut().insert(this.identity);
        Box::pin(this.router.oneshot(request))
    }
}

impl ClientService {
    async fn upgrade(self, mut request: Request<Body>) -> Result<Response, hyper::Error> {
        let (near, far) = tokio::io::duplex(BUFFER);
        let (router, identity) = (self.router, self.identity);
        let service = hyper::service::service_fn(move |mut request: Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(identity.clone());
            router.clone().oneshot(request.map(Body::new))
        });
        let server = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(far), service)
            .with_upgrades();
        self.tasks.spawn(async move { drop(server.await) });
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await?;
        self.tasks.spawn(async move { drop(connection.with_upgrades().await) });
        let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
        if let Ok(uri) = path.parse() {
            *request.uri_mut() = uri;
        }
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("localhost"));
        Ok(sender.send_request(request).await?.map(Body::new))
    }
}
