//! `pods/exec` and `pods/attach`: a process's streams and its exit status.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::pipe::{self, HungUp, Inlet, Outlet};
use super::spdy::{self, header};
use super::websocket::{self, Channels, Coding};
use super::{StreamCall, node_status, upgrade};
use crate::call::Query;
use crate::{ExecRequest, ExecSession, Status, TerminalSize};

const WEBSOCKET: &[&str] = &["v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"];
const SPDY: &[&str] = &["v4.channel.k8s.io", "v5.channel.k8s.io"];

const STDIN: usize = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: usize = 4;

/// How long a SPDY client may take to open its streams.
const OPENING: Duration = Duration::from_secs(30);
/// Output is read until it pauses for so long after the process has ended: its children may hold the pipe.
const QUIET: Duration = Duration::from_millis(500);
/// Output is sent in pieces of this size.
const PIECE: usize = 32 * 1024;
/// Longest size message of a terminal.
const SIZE: usize = 1024;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A new process.
    Exec,
    /// The container's own process.
    Attach,
}

/// Starts the process and answers 101.
pub(super) async fn start(call: StreamCall, request: Request<Body>, what: What) -> Result<Response, Status> {
    let wanted = parse(&call, &request, what)?;
    let agreed = upgrade::negotiate(&request, WEBSOCKET, SPDY)?;
    call.check_host()?;
    let streams = (wanted.stdin, wanted.stdout, wanted.stderr, wanted.tty);
    let session = match what {
        What::Exec => call.node.exec(wanted).await,
        What::Attach => call.node.attach(wanted).await,
    }
    .map_err(|error| node_status(&error))?;
    let coding = if agreed.protocol.contains("base64") { Coding::Base64 } else { Coding::Binary };
    call.after_upgrade(request, async move |connection| {
        let failure = if agreed.websocket {
            let socket = websocket::accept(connection).await;
            over_websocket(socket, coding, session, streams).await.err().map(|error| error.to_string())
        } else {
            let served = spdy::serve(connection, |incoming| over_spdy(incoming, session, streams)).await;
            served.err().map(|error| super::with_causes(&error))
        };
        if let Some(error) = failure {
            tracing::debug!(error, "a process's connection ended early");
        }
    });
    Ok(agreed.response)
}

fn parse(call: &StreamCall, request: &Request<Body>, what: What) -> Result<ExecRequest, Status> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let tty = query.is_true("tty");
    let wanted = ExecRequest {
        namespace: call.namespace.clone(),
        pod: call.name.clone(),
        uid: call.uid().to_owned(),
        container: call.container(query.get("container"))?,
        command: match what {
            What::Exec => query.all("command").map(str::to_owned).collect(),
            What::Attach => Vec::new(),
        },
        stdin: query.is_true("stdin"),
        stdout: query.is_true("stdout"),
        // A terminal has one output.
        stderr: query.is_true("stderr") && !tty,
        tty,
    };
    if what == What::Exec && wanted.command.is_empty() {
        return Err(Status::bad_request("you must specify at least 1 command for the container"));
    }
    if !wanted.stdin && !wanted.stdout && !wanted.stderr {
        return Err(Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    Ok(wanted)
}

/// stdin, stdout, stderr, tty.
pub(super) type Streams = (bool, bool, bool, bool);

pub(super) async fn over_websocket<C: AsyncRead + AsyncWrite + Unpin>(
    socket: tokio_tungstenite::WebSocketStream<C>,
    coding: Coding,
    session: ExecSession,
    (stdin, stdout, stderr, tty): Streams,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    let mut feeds: Vec<Option<pipe::Feed>> = (0..=RESIZE).map(|_| None).collect();
    let mut inlet = |number: usize, wanted: bool| {
        let (feed, inlet) = pipe::inlet(websocket::BUFFER, None);
        feeds[number] = wanted.then_some(feed);
        wanted.then_some(inlet)
    };
    let (stdin, resize) = (inlet(STDIN, stdin), inlet(RESIZE, tty));
    websocket::serve(socket, coding, feeds, async |channels: Channels| {
        let outlet = |number| Outlet::WebSocket(channels.channel(number));
        let mut ends = Ends {
            stdin,
            resize,
            stdout: stdout.then(|| outlet(STDOUT)),
            stderr: stderr.then(|| outlet(STDERR)),
            error: outlet(ERROR),
        };
        // Older clients wait for a first, empty message on the channels.
        for end in [&mut ends.stdout, &mut ends.stderr].into_iter().flatten() {
            if end.send(Bytes::new()).await.is_err() {
                return;
            }
        }
        drop(channels);
        drop(ends.drive(session).await);
    })
    .await
}

async fn over_spdy(
    mut incoming: mpsc::Receiver<spdy::Incoming>,
    session: ExecSession,
    (stdin, stdout, stderr, tty): Streams,
) {
    let wanted = 1 + [stdin, stdout, stderr, tty].into_iter().filter(|wanted| *wanted).count();
    let mut found: Vec<spdy::Incoming> = Vec::new();
    let opened = tokio::time::timeout(OPENING, async {
        while found.len() < wanted {
            match incoming.recv().await {
                Some(stream) => found.push(stream),
                None => return,
            }
        }
    });
    if opened.await.is_err() {
        tracing::debug!("a client did not open its streams in time");
        return;
    }
    let mut take = |kind: &str| {
        let at = found.iter().position(|stream| header(&stream.headers, "streamtype") == kind)?;
        let stream = found.swap_remove(at);
        Some((stream.inlet, Outlet::Spdy(stream.outlet)))
    };
    let Some((_, error)) = take("error") else { return };
    // The client's halves of these stay open until the end; nothing is sent on them.
    let (stdin, unused_stdin) = take("stdin").unzip();
    let (resize, unused_resize) = take("resize").unzip();
    let stdout = take("stdout").map(|(_, outlet)| outlet);
    let stderr = take("stderr").map(|(_, outlet)| outlet);
    let ends = Ends { stdin, resize, stdout, stderr, error };
    if ends.drive(session).await.is_ok() {
        for mut unused in [unused_stdin, unused_resize].into_iter().flatten() {
            drop(unused.finish().await);
        }
    }
}

/// The client's ends of a process's streams.
struct Ends {
    stdin: Option<Inlet>,
    resize: Option<Inlet>,
    stdout: Option<Outlet>,
    stderr: Option<Outlet>,
    error: Outlet,
}

impl Ends {
    /// Carries data until the process has ended, then reports how.
    async fn drive(mut self, session: ExecSession) -> Result<(), HungUp> {
        let ExecSession { stdin, stdout, stderr, resize, exit } = session;
        let ended = CancellationToken::new();
        let outputs = async {
            tokio::try_join!(
                copy_out(stdout, self.stdout.as_mut(), &ended),
                copy_out(stderr, self.stderr.as_mut(), &ended),
            )
        };
        let inputs = async {
            tokio::join!(copy_in(self.stdin, stdin), sizes(self.resize, resize));
            std::future::pending::<()>().await;
        };
        let exit = async {
            let code = exit.await;
            ended.cancel();
            code
        };
        let code = tokio::select! {
            // All output leaves before the status does.
            done = async { tokio::join!(outputs, exit) } => {
                let (sent, code) = done;
                sent?;
                code
            }
            () = inputs => return Ok(()),
        };
        let status = match code {
            Ok(0) => json!({"metadata": {}, "status": "Success"}),
            Ok(code) => failure(code),
            Err(_gone) => Status::internal("Internal error occurred: the process was lost").to_value(),
        };
        for outlet in [&mut self.stdout, &mut self.stderr].into_iter().flatten() {
            outlet.finish().await?;
        }
        self.error.send(status.to_string().into()).await?;
        self.error.finish().await
    }
}

fn failure(code: i32) -> Value {
    json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]}})
}

async fn copy_out(
    from: Option<Box<dyn AsyncRead + Send + Unpin>>,
    to: Option<&mut Outlet>,
    ended: &CancellationToken,
) -> Result<(), HungUp> {
    let (Some(mut from), Some(to)) = (from, to) else { return Ok(()) };
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE);
        let quiet = async {
            ended.cancelled().await;
            tokio::time::sleep(QUIET).await;
        };
        let read = tokio::select! {
            biased;
            read = from.read_buf(&mut buffer) => read,
            () = quiet => return Ok(()),
        };
        match read {
            Ok(0) => return Ok(()),
            Ok(_) => to.send(buffer.split().freeze()).await?,
            // A terminal whose last process is gone fails instead of ending.
            Err(error) => {
                tracing::trace!(error = &error as &dyn std::error::Error, "the output of a process ended");
                return Ok(());
            }
        }
    }
}

async fn copy_in(from: Option<Inlet>, to: Option<Box<dyn AsyncWrite + Send + Unpin>>) {
    let (Some(mut from), Some(mut to)) = (from, to) else { return };
    while let Some(data) = from.next().await {
        if to.write_all(&data).await.is_err() || to.flush().await.is_err() {
            // The process does not read any more; that is its right.
            return;
        }
    }
    drop(to.shutdown().await);
}

/// Passes the terminal's sizes on: a JSON object per change.
async fn sizes(from: Option<Inlet>, to: Option<mpsc::Sender<TerminalSize>>) {
    let (Some(mut from), Some(to)) = (from, to) else { return };
    let mut unread = Vec::new();
    while let Some(data) = from.next().await {
        unread.extend(data);
        let (found, used) = parse_sizes(&unread);
        unread.drain(..used);
        if unread.len() > SIZE {
            return;
        }
        for size in found {
            if to.send(size).await.is_err() {
                return;
            }
        }
    }
}

/// Returns the sizes in the text and how much of it they take.
fn parse_sizes(text: &[u8]) -> (Vec<TerminalSize>, usize) {
    let mut objects = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
    let mut found = Vec::new();
    let mut used = 0;
    while let Some(Ok(object)) = objects.next() {
        used = objects.byte_offset();
        let side = |name: &str| object[name].as_u64().and_then(|side| u16::try_from(side).ok());
        if let (Some(width), Some(height)) = (side("Width"), side("Height")) {
            found.push(TerminalSize { width, height });
        }
    }
    (found, used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_may_come_in_pieces_or_together() {
        let text = br#"{"Width":80,"Height":24}
{"Width":100,"Height":"x"}{"Width":1,"Hei"#;
        let (found, used) = parse_sizes(text);
        assert_eq!(found, [TerminalSize { width: 80, height: 24 }]);
        assert_eq!(&text[used..], br#"{"Width":1,"Hei"#);
    }
}
