//! exec, attach, port-forward and logs.
//!
//! A call is checked, and what it asks for is started, before the connection changes its protocol: until then errors
//! are ordinary answers. Afterwards one task owns the connection and everything on it; when the client hangs up or
//! the server stops, dropping that task ends it all. Buffers are bounded.

mod forward;
mod log;
mod pipe;
mod process;
mod redial;
mod spdy;
mod tunnel;
mod upgrade;
mod websocket;

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{Request, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::storage::Storage;
use crate::{Identity, NodeApi, NodeError, Status};

pub(crate) use log::log;

/// A call on a pod's stream, authorised already.
#[derive(Debug, Clone)]
pub(crate) struct StreamCall {
    /// Namespace of the pod.
    pub(crate) namespace: String,
    /// Name of the pod.
    pub(crate) name: String,
    /// The pod as stored.
    pub(crate) pod: Arc<Value>,
    /// Who does it.
    pub(crate) node: Arc<dyn NodeApi>,
    /// Where pods that take over a forward are found.
    pub(crate) store: Storage,
    /// Who asks.
    pub(crate) identity: Identity,
    /// Ends the stream.
    pub(crate) stop: CancellationToken,
    /// Runs the stream.
    pub(crate) tasks: TaskTracker,
}

/// `pods/exec`.
pub(crate) async fn exec(call: StreamCall, request: Request<Body>) -> Result<Response, Status> {
    process::start(call, request, process::What::Exec).await
}

/// `pods/attach`.
pub(crate) async fn attach(call: StreamCall, request: Request<Body>) -> Result<Response, Status> {
    process::start(call, request, process::What::Attach).await
}

/// `pods/portforward`.
pub(crate) fn port_forward(call: StreamCall, request: Request<Body>) -> Result<Response, Status> {
    forward::start(call, request)
}

impl StreamCall {
    /// Runs `serve` on the connection once it has changed its protocol.
    fn after_upgrade<F>(
        &self,
        request: Request<Body>,
        serve: impl FnOnce(TokioIo<Upgraded>) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send,
    {
        let stop = self.stop.clone();
        let upgrade = hyper::upgrade::on(request);
        self.tasks.spawn(async move {
            let work = async {
                match upgrade.await {
                    Ok(connection) => serve(TokioIo::new(connection)).await,
                    Err(error) => {
                        tracing::debug!(error = &error as &dyn std::error::Error, "an upgrade failed");
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Returns the container that a call means.
    fn container(&self, asked: &str) -> Result<String, Status> {
        const ANNOTATION: &str = "kubectl.kubernetes.io/default-container";
        let names = |list: &str| -> Vec<&str> {
            let containers = self.pod["spec"][list].as_array().map(Vec::as_slice).unwrap_or_default();
            containers.iter().filter_map(|container| container["name"].as_str()).collect()
        };
        let (main, init) = (names("containers"), names("initContainers"));
        if asked.is_empty() {
            let default = self.pod["metadata"]["annotations"][ANNOTATION].as_str().unwrap_or_default();
            if main.contains(&default) {
                return Ok(default.to_owned());
            }
            return match (main.as_slice(), init.is_empty()) {
                ([only], _) => Ok((*only).to_owned()),
                (_, no_init) => {
                    let mut text = format!(
                        "a container name must be specified for pod {}, choose one of: [{}]",
                        self.name,
                        main.join(" ")
                    );
                    if !no_init {
                        text.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
                    }
                    Err(Status::bad_request(text))
                }
            };
        }
        if main.contains(&asked) || init.contains(&asked) || names("ephemeralContainers").contains(&asked) {
            return Ok(asked.to_owned());
        }
        Err(Status::bad_request(format!("container {asked} is not valid for pod {}", self.name)))
    }

    /// 400 unless some node has the pod.
    fn check_host(&self) -> Result<(), Status> {
        match self.pod["spec"]["nodeName"].as_str() {
            Some(node) if !node.is_empty() => Ok(()),
            _ => Err(Status::bad_request(format!("pod {} does not have a host assigned", self.name))),
        }
    }

    fn uid(&self) -> &str {
        self.pod["metadata"]["uid"].as_str().unwrap_or_default()
    }
}

/// Returns what a client learns about an error of the node.
fn node_status(error: &NodeError) -> Status {
    match error {
        NodeError::NotRunning { .. } | NodeError::Invalid { .. } => Status::bad_request(error.to_string()),
        NodeError::Failed { .. } => {
            tracing::warn!(error = error as &dyn std::error::Error, "the node refused a stream");
            Status::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalError",
                format!("Internal error occurred: {}", with_causes(error)),
            )
        }
    }
}

/// Writes an error and what caused it.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
