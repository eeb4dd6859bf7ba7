//! exec, attach, port-forward and logs.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::Request;
use serde_json::Value;

use crate::{NodeApi, Status};

/// A call on a pod's stream, authorised already.
#[derive(Debug, Clone)]
pub struct StreamCall {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// The pod as stored.
    pub pod: Arc<Value>,
    /// Who does it.
    pub node: Arc<dyn NodeApi>,
}

/// `pods/exec`.
pub async fn exec(_call: StreamCall, _request: Request<Body>) -> Result<Response, Status> {
    Err(Status::not_supported("exec is not supported yet"))
}

/// `pods/attach`.
pub async fn attach(_call: StreamCall, _request: Request<Body>) -> Result<Response, Status> {
    Err(Status::not_supported("attach is not supported yet"))
}

/// `pods/portforward`.
pub async fn port_forward(_call: StreamCall, _request: Request<Body>) -> Result<Response, Status> {
    Err(Status::not_supported("port-forward is not supported yet"))
}

/// `pods/log`.
pub async fn log(_call: StreamCall, _request: Request<Body>) -> Result<Response, Status> {
    Err(Status::not_supported("logs are not supported yet"))
}
