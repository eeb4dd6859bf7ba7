use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use http::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use super::cut::Cut;
use super::fake_node::FakeNode;
use super::support::{Cluster, PODS, Socket, pod, say};
use crate::streams::spdy::client::{Control, Got, Heard, Listener, Speaker, client};
use crate::streams::tunnel::Tunnel;

const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const PATH: &str = "web/portforward";

/// A server that says `hello` and then sends back what it gets; its number of open connections is that of tasks.
struct Echo {
    port: u16,
    _tasks: JoinSet<()>,
    ended: tokio::sync::mpsc::UnboundedReceiver<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, ended) = tokio::sync::mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let tell = tell.clone();
                connections.spawn(async move {
                    let (mut from, mut to) = stream.into_split();
                    if to.write_all(b"hello;").await.is_ok() {
                        drop(tokio::io::copy(&mut from, &mut to).await);
                    }
                    tell.send(()).unwrap_or_default();
                });
            }
        });
        Self { port, _tasks: tasks, ended }
    }
}

/// Opens a connection the way kubectl does; returns the ids of its error and data streams.
async fn open<C: AsyncRead + AsyncWrite>(speaker: &mut Speaker<C>, port: u16, request: &str) -> (u32, u32) {
    let port = port.to_string();
    let error = speaker.open(&[("streamtype", "error"), ("port", &port), ("requestid", request)]).await;
    speaker.data(error, true, b"").await;
    let data = speaker.open(&[("requestid", request), ("port", &port), ("streamtype", "data")]).await;
    (error, data)
}

async fn tunnel(cluster: &Cluster) -> Tunnel<hyper_util::rt::TokioIo<hyper::upgrade::Upgraded>> {
    Tunnel::new(cluster.websocket(PATH, TUNNEL).await)
}

/// Sends `data` over one connection and returns what the streams brought: error, data.
async fn exchange<C: AsyncRead + AsyncWrite>(
    (speaker, listener): (&mut Speaker<C>, &mut Listener<C>),
    port: u16,
    data: &[u8],
) -> (Got, Got) {
    let (error, stream) = open(speaker, port, "0").await;
    let speak = async {
        for piece in data.chunks(30_000) {
            speaker.data(stream, false, piece).await;
        }
        speaker.data(stream, true, b"").await;
    };
    let ids = [error, stream];
    let (_, mut got) = tokio::join!(speak, listener.collect(&ids));
    (got.remove(&error).unwrap(), got.remove(&stream).unwrap())
}

fn all(data: &[u8]) -> Got {
    Got { data: data.to_vec(), ended: true, reset: false }
}

#[tokio::test]
async fn a_tunnel_is_a_byte_stream_however_it_is_cut_into_messages() {
    let (cluster, echo) = (Cluster::open().await, Echo::start().await);
    let data = vec![b'x'; 10_000];
    for size in [1, 2, 3, 7, 8, 13, 100, 5000, 65_536] {
        let (mut speaker, mut listener) = client(Cut { inner: tunnel(&cluster).await, size });
        let (error, got) = exchange((&mut speaker, &mut listener), echo.port, &data).await;
        assert_eq!((error.data, got.data.len()), (Vec::new(), 10_006), "in pieces of {size}");
    }
}

#[tokio::test]
async fn a_forward_over_plain_spdy_carries_much_both_ways() {
    let (cluster, echo) = (Cluster::open().await, Echo::start().await);
    let connection = cluster.spdy(PATH, "portforward.k8s.io").await;
    let (mut speaker, mut listener) = client(connection);
    let data: Vec<u8> = (0..=250_u8).cycle().take(3_000_000).collect();
    let (error, got) = exchange((&mut speaker, &mut listener), echo.port, &data).await;
    assert_eq!(error, all(b""));
    assert!(got == all(&[b"hello;", data.as_slice()].concat()));
}

#[tokio::test]
async fn many_connections_share_a_tunnel() {
    let (cluster, echo) = (Cluster::open().await, Echo::start().await);
    let (mut speaker, mut listener) = client(tunnel(&cluster).await);
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(open(&mut speaker, echo.port, &number.to_string()).await);
    }
    // Clients without request ids open the error stream right before the data stream.
    let port = echo.port.to_string();
    let error = speaker.open(&[("streamtype", "error"), ("port", &port)]).await;
    let data = speaker.open(&[("streamtype", "data"), ("port", &port)]).await;
    ids.push((error, data));
    for (_, data) in &ids {
        speaker.data(*data, false, data.to_string().as_bytes()).await;
    }
    for (_, data) in ids.iter().rev() {
        speaker.data(*data, true, b".").await;
    }
    let streams: Vec<u32> = ids.iter().flat_map(|(error, data)| [*error, *data]).collect();
    let got = listener.collect(&streams).await;
    for (error, data) in ids {
        assert_eq!((&got[&error], &got[&data]), (&all(b""), &all(format!("hello;{data}.").as_bytes())));
    }
}

#[tokio::test]
async fn a_port_that_refuses_is_named_on_the_error_stream() {
    let cluster = Cluster::open().await;
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let (mut speaker, mut listener) = client(tunnel(&cluster).await);
    let (error, data) = open(&mut speaker, port, "0").await;
    let got = listener.collect(&[error, data]).await;
    let text = format!(
        "error forwarding port {port} to pod web: could not connect to port {port}: Connection refused (os error 111)"
    );
    assert_eq!(got[&error], all(text.as_bytes()));
    assert!(got[&data].reset && got[&data].data.is_empty());
    // The tunnel goes on.
    let echo = Echo::start().await;
    let (_, data) = open(&mut speaker, echo.port, "1").await;
    speaker.data(data, true, b"next").await;
    assert_eq!(listener.collect(&[data]).await[&data], all(b"hello;next"));
}

#[tokio::test]
async fn streams_that_make_no_sense_are_reset_alone() {
    let (cluster, echo) = (Cluster::open().await, Echo::start().await);
    let (mut speaker, mut listener) = client(tunnel(&cluster).await);
    let odd = speaker.open(&[("streamtype", "gossip"), ("port", "80")]).await;
    assert!(listener.collect(&[odd]).await[&odd].reset);
    let error = speaker.open(&[("streamtype", "error"), ("port", "x"), ("requestid", "1")]).await;
    let data = speaker.open(&[("streamtype", "data"), ("port", "0"), ("requestid", "1")]).await;
    let got = listener.collect(&[error, data]).await;
    assert!(got[&error].reset && got[&data].reset);
    let (_, got) = exchange((&mut speaker, &mut listener), echo.port, b"fine").await;
    assert_eq!(got, all(b"hello;fine"));
}

#[tokio::test]
async fn connections_end_with_their_streams_and_with_the_client() {
    let cluster = Cluster::open().await;
    let mut echo = Echo::start().await;
    let (mut speaker, mut listener) = client(tunnel(&cluster).await);
    let (error, data) = open(&mut speaker, echo.port, "0").await;
    speaker.control(Control::Reset { stream: data, status: 5 }).await;
    echo.ended.recv().await.unwrap();
    assert_eq!(listener.collect(&[error]).await[&error].data, b"");
    for number in 1..4 {
        open(&mut speaker, echo.port, &number.to_string()).await;
        while !matches!(listener.heard().await.unwrap(), Heard::Data { .. }) {}
    }
    drop((speaker, listener));
    for _ in 1..4 {
        echo.ended.recv().await.unwrap();
    }
}

/// Reads until these channels have brought so much.
async fn until(socket: &mut Socket, want: &[(u8, usize)]) -> [Vec<u8>; 10] {
    let mut channels: [Vec<u8>; 10] = Default::default();
    while want.iter().any(|(channel, length)| channels[usize::from(*channel)].len() < *length) {
        if let Message::Binary(data) = socket.next().await.unwrap().unwrap() {
            channels[usize::from(data[0])].extend(&data[1..]);
        }
    }
    channels
}

#[tokio::test]
async fn channels_carry_one_connection_for_each_port() {
    let (cluster, first, second) = (Cluster::open().await, Echo::start().await, Echo::start().await);
    let path = format!("{PATH}?ports={}&ports={}", first.port, second.port);
    let mut socket = cluster.websocket(&path, "v4.channel.k8s.io").await;
    say(&mut socket, b"\x00one").await;
    say(&mut socket, b"\x02two").await;
    let channels = until(&mut socket, &[(0, 11), (1, 2), (2, 11), (3, 2)]).await;
    let with_port = |port: u16, data: &[u8]| [&port.to_le_bytes(), data].concat();
    assert_eq!(channels[0], with_port(first.port, b"hello;one"));
    assert_eq!(channels[2], with_port(second.port, b"hello;two"));
    assert_eq!(channels[1], with_port(first.port, b""));
    assert_eq!(channels[3], with_port(second.port, b""));
}

/// Makes a deployment with these pods, all ready; returns the deployment's replica set.
async fn deployment(cluster: &Cluster, pods: &[&str]) -> Value {
    let apps = "/apis/apps/v1/namespaces/default";
    let spec = json!({"selector": {"matchLabels": {"app": "d"}}, "template": {"metadata": {"labels": {"app": "d"}},
        "spec": {"containers": [{"name": "main", "image": "x:1"}]}}});
    let owned = |owner: &Value, kind: &str| {
        json!([{"apiVersion": "apps/v1", "kind": kind, "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"], "controller": true}])
    };
    let body = json!({"metadata": {"name": "d"}, "spec": spec});
    let deployment = cluster.create(&format!("{apps}/deployments"), &body).await;
    let body = json!({"metadata": {"name": "d-1", "ownerReferences": owned(&deployment, "Deployment")}, "spec": spec});
    let set = cluster.create(&format!("{apps}/replicasets"), &body).await;
    for name in pods {
        let mut body = pod(name);
        body["metadata"]["ownerReferences"] = owned(&set, "ReplicaSet");
        cluster.create(PODS, &body).await;
        let ready =
            json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        cluster.merge(&format!("{PODS}/{name}/status"), &ready).await;
    }
    set
}

#[tokio::test]
async fn a_forward_to_a_deployments_pod_goes_on_with_its_successor() {
    let alive = Arc::new(Mutex::new(vec!["a".to_owned()]));
    let cluster = Cluster::with(FakeNode { alive: Some(Arc::clone(&alive)), ..FakeNode::default() }).await;
    let echo = Echo::start().await;
    deployment(&cluster, &["a", "b"]).await;
    let socket = cluster.websocket("a/portforward", TUNNEL).await;
    let (mut speaker, mut listener) = client(Tunnel::new(socket));
    let (_, got) = exchange((&mut speaker, &mut listener), echo.port, b"1").await;
    assert_eq!(got, all(b"hello;1"));
    *alive.lock().unwrap() = vec!["b".to_owned()];
    cluster.ask(Request::delete(format!("{PODS}/a")), String::new()).await;
    let (_, got) = exchange((&mut speaker, &mut listener), echo.port, b"2").await;
    assert_eq!(got, all(b"hello;2"));
    let events = cluster.ask(Request::get("/api/v1/namespaces/default/events"), String::new()).await;
    let events: Value = serde_json::from_str(&super::support::text(events).await).unwrap();
    assert_eq!(events["items"][0]["reason"], "ForwardRedialled");
    assert_eq!(events["items"][0]["involvedObject"]["name"], "b");
}

#[tokio::test]
async fn a_forward_to_a_bare_pod_ends_with_it() {
    let (cluster, echo) = (Cluster::open().await, Echo::start().await);
    deployment(&cluster, &["a"]).await;
    let (mut speaker, mut listener) = client(tunnel(&cluster).await);
    cluster.ask(Request::delete(format!("{PODS}/web")), String::new()).await;
    let (error, got) = exchange((&mut speaker, &mut listener), echo.port, b"1").await;
    assert_eq!(error, all(b"pod web is gone"));
    assert!(got.reset);
}
