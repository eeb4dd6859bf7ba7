//! `pods/portforward`: TCP connections to a pod, many on one connection of the client.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::pipe::{self, HungUp, Inlet, Outlet};
use super::redial::Target;
use super::spdy::{self, header};
use super::tunnel::Tunnel;
use super::websocket::{self, Channels, Coding};
use super::{StreamCall, upgrade, with_causes};
use crate::call::Query;
use crate::{Dialled, Status};

const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const WEBSOCKET: &[&str] = &[TUNNEL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io"];
const SPDY: &[&str] = &["portforward.k8s.io"];

/// Ports of one call with channels: each takes two of the ten digits.
const PORTS: usize = 5;
/// Data is sent in pieces of this size.
const PIECE: usize = 32 * 1024;

/// Answers 101 and forwards.
pub(super) fn start(call: StreamCall, request: Request<Body>) -> Result<Response, Status> {
    let agreed = upgrade::negotiate(&request, WEBSOCKET, SPDY)?;
    call.check_host()?;
    let channels = agreed.websocket && agreed.protocol != TUNNEL;
    let ports = if channels { ports(&request)? } else { Vec::new() };
    let coding = if agreed.protocol.contains("base64") { Coding::Base64 } else { Coding::Binary };
    let target = Arc::new(Target::new(call.clone()));
    call.after_upgrade(request, async move |connection| {
        let failure = if !agreed.websocket {
            let served = spdy::serve(connection, |incoming| over_spdy(incoming, target)).await;
            served.err().map(|error| with_causes(&error))
        } else if channels {
            let socket = websocket::accept(connection).await;
            over_channels(socket, coding, &ports, target).await.err().map(|error| error.to_string())
        } else {
            let tunnel = Tunnel::new(websocket::accept(connection).await);
            let served = spdy::serve(tunnel, |incoming| over_spdy(incoming, target)).await;
            served.err().map(|error| with_causes(&error))
        };
        if let Some(error) = failure {
            tracing::debug!(error, "a forward ended early");
        }
    });
    Ok(agreed.response)
}

/// Returns the ports of the query.
fn ports(request: &Request<Body>) -> Result<Vec<u16>, Status> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let mut ports = Vec::new();
    for text in query.all("ports").flat_map(|list| list.split(',')) {
        match text.parse() {
            Ok(port @ 1..) => ports.push(port),
            _ => return Err(Status::bad_request(format!("unable to parse {text:?} as a port"))),
        }
    }
    match ports.len() {
        1..=PORTS => Ok(ports),
        0 => Err(Status::bad_request("query parameter \"ports\" is required")),
        _ => Err(Status::bad_request(format!("at most {PORTS} ports can be forwarded at once"))),
    }
}

/// Two streams make a connection: one for data, one for what goes wrong.
#[derive(Default)]
struct Pair {
    data: Option<spdy::Incoming>,
    error: Option<spdy::Incoming>,
}

async fn over_spdy(mut incoming: mpsc::Receiver<spdy::Incoming>, target: Arc<Target>) {
    let mut waiting: HashMap<String, Pair> = HashMap::new();
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            stream = incoming.recv() => stream,
            Some(_ended) = connections.join_next() => continue,
        };
        let Some(stream) = stream else { return };
        let id = request_id(&stream);
        let pair = waiting.entry(id.clone()).or_default();
        match header(&stream.headers, "streamtype") {
            "data" => pair.data = Some(stream),
            "error" => pair.error = Some(stream),
            // Dropping it resets it.
            _ => continue,
        }
        if pair.data.is_none() || pair.error.is_none() {
            continue;
        }
        let Some(Pair { data: Some(data), error: Some(error) }) = waiting.remove(&id) else { continue };
        let Ok(port @ 1..) = header(&data.headers, "port").parse::<u16>() else { continue };
        let target = Arc::clone(&target);
        connections.spawn(async move {
            let mut error_outlet = Outlet::Spdy(error.outlet);
            let mut outlet = Outlet::Spdy(data.outlet);
            let outcome = carry(data.inlet, &mut outlet, &target, port).await;
            let told = async {
                if let Err(CarryError::Node(text)) = outcome {
                    error_outlet.send(text.into()).await?;
                }
                error_outlet.finish().await
            };
            drop(told.await);
        });
    }
}

/// Clients without request ids open the error stream first and the data stream right after it.
fn request_id(stream: &spdy::Incoming) -> String {
    match (header(&stream.headers, "requestid"), header(&stream.headers, "streamtype")) {
        ("", "data") => format!("#{}", stream.id.saturating_sub(2)),
        ("", _) => format!("#{}", stream.id),
        (id, _) => id.to_owned(),
    }
}

async fn over_channels<C: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    socket: tokio_tungstenite::WebSocketStream<C>,
    coding: Coding,
    ports: &[u16],
    target: Arc<Target>,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    let mut feeds = Vec::new();
    let mut inlets = Vec::new();
    for _ in ports {
        let (feed, inlet) = pipe::inlet(websocket::BUFFER, None);
        feeds.extend([Some(feed), None]);
        inlets.push(inlet);
    }
    websocket::serve(socket, coding, feeds, async |channels: Channels| {
        let mut connections = JoinSet::new();
        for (number, (port, inlet)) in (0_u8..).step_by(2).zip(ports.iter().copied().zip(inlets)) {
            let mut data = Outlet::WebSocket(channels.channel(number));
            let mut error = Outlet::WebSocket(channels.channel(number + 1));
            let target = Arc::clone(&target);
            connections.spawn(async move {
                // Both channels begin with the port they belong to.
                for channel in [&mut data, &mut error] {
                    channel.send(Bytes::copy_from_slice(&port.to_le_bytes())).await?;
                }
                match carry(inlet, &mut data, &target, port).await {
                    Err(CarryError::Node(text)) => error.send(text.into()).await,
                    Ok(()) | Err(CarryError::HungUp) => Ok(()),
                }
            });
        }
        drop(channels);
        while connections.join_next().await.is_some() {}
    })
    .await
}

/// Why a connection ended early.
enum CarryError {
    /// What the client should know.
    Node(String),
    HungUp,
}

impl From<HungUp> for CarryError {
    fn from(_gone: HungUp) -> Self {
        Self::HungUp
    }
}

/// Carries one connection; each direction ends on its own.
async fn carry(mut inlet: Inlet, outlet: &mut Outlet, target: &Target, port: u16) -> Result<(), CarryError> {
    let stream: Box<dyn Dialled> = target.dial(port).await.map_err(CarryError::Node)?;
    let gone = outlet.gone();
    let (mut from, mut to) = tokio::io::split(stream);
    let up = async {
        while let Some(data) = inlet.next().await {
            to.write_all(&data).await?;
        }
        to.shutdown().await
    };
    // A channel cannot say that it has ended: there the connection does.
    let half_closes = matches!(outlet, Outlet::Spdy(_));
    let down = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(PIECE);
            match from.read_buf(&mut buffer).await {
                Ok(0) => return Ok(outlet.finish().await?),
                Ok(_) => outlet.send(buffer.split().freeze()).await?,
                Err(error) => {
                    return Err(CarryError::Node(format!("the connection to port {port} failed: {error}")));
                }
            }
        }
    };
    let both = async {
        tokio::pin!(up, down);
        let mut sending = true;
        loop {
            tokio::select! {
                sent = &mut up, if sending => {
                    sending = false;
                    if let Err(error) = sent {
                        // It may still answer: what it does not read is its own affair.
                        tracing::trace!(error = &error as &dyn std::error::Error, "a pod stopped reading");
                    }
                }
                received = &mut down => {
                    received?;
                    break;
                }
            }
        }
        if sending && half_closes {
            drop(up.await);
        }
        Ok(())
    };
    tokio::select! {
        outcome = both => outcome,
        () = gone => Err(CarryError::HungUp),
    }
}
