//! A cluster with one running pod, and clients that change the protocol.

use axum::body::Body;
use axum::response::Response;
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tower::ServiceExt as _;

use super::fake_node::FakeNode;
use crate::{ApiServer, Config, Identity};

pub(super) const PODS: &str = "/api/v1/namespaces/default/pods";

pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

pub(super) struct Cluster {
    pub(super) server: ApiServer,
    pub(super) node: FakeNode,
    _dir: tempfile::TempDir,
}

/// Returns a pod that runs.
pub(super) fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"nodeName": "here", "containers": [{"name": "main", "image": "x:1"}]}})
}

impl Cluster {
    /// Opens a cluster with the pod `web`.
    pub(super) async fn open() -> Self {
        Self::with(FakeNode::default()).await
    }

    pub(super) async fn with(node: FakeNode) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path().join("cluster"));
        config.node = std::sync::Arc::new(node.clone());
        let server = ApiServer::open(config).await.unwrap();
        let cluster = Self { server, node, _dir: dir };
        cluster.create(PODS, &pod("web")).await;
        cluster
    }

    pub(super) async fn ask(&self, request: http::request::Builder, body: String) -> Response {
        let request = request.body(Body::from(body)).unwrap();
        self.server.client_service(Identity::admin()).oneshot(request).await.unwrap()
    }

    /// Sends JSON; the method and media type are the builder's.
    pub(super) async fn json(&self, request: http::request::Builder, body: &Value) -> Value {
        let answer = self.ask(request, body.to_string()).await;
        assert!(answer.status().is_success(), "{}", text(answer).await);
        serde_json::from_str(&text(answer).await).unwrap()
    }

    pub(super) async fn create(&self, path: &str, object: &Value) -> Value {
        self.json(Request::post(path).header("content-type", "application/json"), object).await
    }

    pub(super) async fn merge(&self, path: &str, patch: &Value) -> Value {
        self.json(Request::patch(path).header("content-type", "application/merge-patch+json"), patch).await
    }

    /// Asks to change the protocol.
    pub(super) async fn upgrade(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = Request::get(format!("{PODS}/{path}")).header("connection", "Upgrade");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.ask(request, String::new()).await
    }

    pub(super) async fn connect(&self, path: &str, headers: &[(&str, &str)]) -> TokioIo<Upgraded> {
        let mut answer = self.upgrade(path, headers).await;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            panic!("{}", text(answer).await);
        }
        TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap())
    }

    pub(super) async fn websocket(&self, path: &str, protocol: &str) -> Socket {
        let headers = [
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", protocol),
        ];
        let connection = self.connect(path, &headers).await;
        WebSocketStream::from_raw_socket(connection, Role::Client, None).await
    }

    pub(super) async fn spdy(&self, path: &str, protocol: &str) -> TokioIo<Upgraded> {
        self.connect(path, &[("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", protocol)]).await
    }

    /// Waits until no program of the node runs.
    pub(super) async fn programs_ended(&self) {
        self.node.tasks.close();
        self.node.tasks.wait().await;
    }
}

pub(super) async fn text(answer: Response) -> String {
    let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(super) async fn say(socket: &mut Socket, message: &[u8]) {
    socket.send(Message::binary(message.to_vec())).await.unwrap();
}

/// Reads until the server hangs up; returns what came on each of the first ten channels, and whether it said good-bye.
pub(super) async fn listen(socket: &mut Socket) -> ([Vec<u8>; 10], bool) {
    let mut channels: [Vec<u8>; 10] = Default::default();
    let mut polite = false;
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Binary(data) => channels[usize::from(data[0])].extend(&data[1..]),
            Message::Close(_) => polite = true,
            _ => {}
        }
    }
    (channels, polite)
}
