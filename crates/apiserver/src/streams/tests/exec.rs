use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::{SinkExt as _, StreamExt as _};
use http::StatusCode;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::support::{Cluster, Socket, listen, say, text};
use crate::streams::spdy::client::client;

const V5: &str = "v5.channel.k8s.io";

/// The status of channel 3.
fn status(channels: &[Vec<u8>; 10]) -> Value {
    serde_json::from_slice(&channels[3]).unwrap()
}

#[tokio::test]
async fn output_comes_on_its_channels_and_the_status_last() {
    let cluster = Cluster::open().await;
    let mut socket = cluster.websocket("web/exec?command=both&stdout=true&stderr=true", V5).await;
    let (channels, polite) = listen(&mut socket).await;
    assert_eq!((&channels[1][..], &channels[2][..]), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(status(&channels), json!({"metadata": {}, "status": "Success"}));
    assert!(polite, "the server says good-bye");
}

#[tokio::test]
async fn an_exit_status_is_the_cause_of_a_failure() {
    let cluster = Cluster::open().await;
    let mut socket = cluster.websocket("web/exec?command=exit&command=3&stdout=1", V5).await;
    let status = status(&listen(&mut socket).await.0);
    assert_eq!((&status["status"], &status["reason"]), (&json!("Failure"), &json!("NonZeroExitCode")));
    assert_eq!(status["details"]["causes"], json!([{"reason": "ExitCode", "message": "3"}]));
    assert_eq!(status["message"], "command terminated with non-zero exit code: exit status 3");
}

#[tokio::test]
async fn the_close_signal_is_the_end_of_standard_input() {
    let cluster = Cluster::open().await;
    let mut socket = cluster.websocket("web/exec?command=cat&stdin=true&stdout=true", V5).await;
    for message in [&b"\0hello "[..], b"\0", b"\0world", b"\xff\x00", b"\0too late"] {
        say(&mut socket, message).await;
    }
    let (channels, _) = listen(&mut socket).await;
    assert_eq!(channels[1], b"hello world");
    assert_eq!(status(&channels)["status"], "Success");
}

#[tokio::test]
async fn a_program_that_does_not_read_ends_all_the_same() {
    let cluster = Cluster::open().await;
    let mut socket = cluster.websocket("web/exec?command=exit&command=0&stdin=true&stdout=true", V5).await;
    say(&mut socket, &[&[0][..], &[b'x'; 100_000]].concat()).await;
    assert_eq!(status(&listen(&mut socket).await.0)["status"], "Success");
}

#[tokio::test]
async fn much_output_arrives_whole() {
    let cluster = Cluster::open().await;
    let mut socket = cluster.websocket("web/exec?command=yes&command=20000&stdout=true", V5).await;
    assert_eq!(listen(&mut socket).await.0[1].len(), 20_000 * 64);
}

#[tokio::test]
async fn a_terminal_gets_its_size() {
    let cluster = Cluster::open().await;
    let path = "web/exec?command=size&stdin=true&stdout=true&stderr=true&tty=true";
    let mut socket = cluster.websocket(path, V5).await;
    say(&mut socket, b"\x04{\"Width\":132,\"Height\":43}\n").await;
    let (channels, _) = listen(&mut socket).await;
    assert_eq!(channels[1], b"132x43\r\n");
    assert_eq!(channels[2], b"", "a terminal has one output");
}

#[tokio::test]
async fn older_clients_may_speak_base64() {
    let cluster = Cluster::open().await;
    let path = "web/exec?command=echo&command=hi&stdout=true";
    let mut socket = cluster.websocket(path, "v4.base64.channel.k8s.io").await;
    let mut heard = String::new();
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Text(message) = message
            && let Some(data) = message.strip_prefix('1')
        {
            heard.push_str(&String::from_utf8(BASE64.decode(data).unwrap()).unwrap());
        }
    }
    assert_eq!(heard, "hi\n");
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_the_program() {
    let cluster = Cluster::open().await;
    for leave in ["drops the connection", "says good-bye", "is slow"] {
        let mut socket = cluster.websocket("web/exec?command=sleep&stdin=true&stdout=true", V5).await;
        assert_eq!(cluster.node.tasks.len(), 1);
        match leave {
            "says good-bye" => socket.close(None).await.unwrap(),
            "is slow" => say(&mut socket, b"\0some input").await,
            _ => {}
        }
        drop(socket);
        cluster.programs_ended().await;
        cluster.node.tasks.reopen();
    }
}

#[tokio::test]
async fn the_end_of_the_server_ends_programs() {
    let cluster = Cluster::open().await;
    let mut socket = cluster.websocket("web/exec?command=sleep&stdin=true&stdout=true", V5).await;
    cluster.server.api.stop.cancel();
    cluster.programs_ended().await;
    assert!(listen(&mut socket).await.0[3].is_empty(), "nobody knows how it would have ended");
}

#[tokio::test]
async fn attaching_leads_to_the_container_itself() {
    let cluster = Cluster::open().await;
    let mut socket: Socket = cluster.websocket("web/attach?stdin=true&stdout=true", V5).await;
    socket.send(Message::binary(&b"\0ping"[..])).await.unwrap();
    say(&mut socket, b"\xff\x00").await;
    assert_eq!(listen(&mut socket).await.0[1], b"ping");
}

#[tokio::test]
async fn programs_also_run_over_spdy() {
    let cluster = Cluster::open().await;
    let path = "web/exec?command=cat&stdin=true&stdout=true&stderr=true";
    let (mut speaker, mut listener) = client(cluster.spdy(path, "v4.channel.k8s.io").await);
    let mut ids = Vec::new();
    for kind in ["error", "stdin", "stdout", "stderr"] {
        ids.push(speaker.open(&[("streamtype", kind)]).await);
    }
    speaker.data(ids[1], false, b"over ").await;
    speaker.data(ids[1], true, b"SPDY").await;
    let got = listener.collect(&ids).await;
    assert_eq!(got[&ids[2]].data, b"over SPDY");
    assert_eq!(got[&ids[3]].data, b"");
    let status: Value = serde_json::from_slice(&got[&ids[0]].data).unwrap();
    assert_eq!(status["status"], "Success");
    assert!(got.values().all(|got| !got.reset), "{got:?}");
}

#[tokio::test]
async fn before_the_upgrade_errors_are_ordinary_answers() {
    let cluster = Cluster::open().await;
    let body = serde_json::json!({"metadata": {"name": "two"}, "spec": {"nodeName": "here", "containers": [
        {"name": "a", "image": "x:1"}, {"name": "b", "image": "x:1"}]}});
    cluster.create(super::support::PODS, &body).await;
    cluster
        .create(
            super::support::PODS,
            &json!({"metadata": {"name": "new"}, "spec": {"containers": [{"name": "c", "image": "x:1"}]}}),
        )
        .await;
    let websocket = [
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", V5),
    ];
    let spdy = [("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "v9")];
    for (path, headers, code, message) in [
        ("none/exec?command=x&stdout=1", &websocket[..], 404, "pods \"none\" not found"),
        ("web/exec?stdout=1", &websocket, 400, "you must specify at least 1 command for the container"),
        ("web/exec?command=x", &websocket, 400, "you must specify at least 1 of stdin, stdout, stderr"),
        ("web/exec?command=x&stdout=1&container=z", &websocket, 400, "container z is not valid for pod web"),
        (
            "two/exec?command=x&stdout=1",
            &websocket,
            400,
            "a container name must be specified for pod two, choose one of: [a b]",
        ),
        ("new/exec?command=x&stdout=1", &websocket, 400, "pod new does not have a host assigned"),
        ("web/exec?command=x&stdout=1", &[], 400, "Upgrade request required"),
        (
            "web/exec?command=x&stdout=1",
            &spdy,
            400,
            "unable to upgrade: unable to negotiate protocol: client supports [\"v9\"], server accepts \
             [\"v4.channel.k8s.io\", \"v5.channel.k8s.io\"]",
        ),
        (
            "web/exec?command=missing&stdout=1",
            &websocket,
            500,
            "Internal error occurred: could not start `missing`: entity not found",
        ),
    ] {
        let answer = cluster.upgrade(path, headers).await;
        assert_eq!(answer.status(), StatusCode::from_u16(code).unwrap(), "{path}");
        assert_eq!(answer.headers()["content-type"], "application/json", "{path}");
        let status: Value = serde_json::from_str(&text(answer).await).unwrap();
        assert_eq!((&status["kind"], &status["message"]), (&json!("Status"), &json!(message)), "{path}");
    }
}
