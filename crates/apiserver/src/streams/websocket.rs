//! Channels in a WebSocket: the first byte of each message says which stream it belongs to.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

use super::pipe::{Feed, HungUp};

/// Longest message of a client.
const MESSAGE: usize = 4 * 1024 * 1024;
/// Messages on their way to the client.
const QUEUE: usize = 16;
/// Data of a channel that nobody has taken out yet.
pub(crate) const BUFFER: usize = 256 * 1024;
/// Longest message that we send.
const CHUNK: usize = 32 * 1024;
/// A connection that says nothing for so long is asked whether it is still there: a dead one fails then.
const PING: Duration = Duration::from_secs(30);
/// How long the last messages may take to leave.
const DRAIN: Duration = Duration::from_secs(5);
/// In version 5 of the protocol: nothing more comes on the channel named next.
const CLOSE: u8 = 255;

/// How channels are written in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// A byte for the channel, then the data.
    Binary,
    /// A digit for the channel, then the data as Base64.
    Base64,
}

/// Makes the server's end of a WebSocket on an upgraded connection.
pub(crate) async fn accept<C: AsyncRead + AsyncWrite + Unpin>(connection: C) -> WebSocketStream<C> {
    let config = WebSocketConfig::default()
        .read_buffer_size(32 * 1024)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE))
        .max_frame_size(Some(MESSAGE));
    WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await
}

/// Sends on one channel.
#[derive(Debug)]
pub(crate) struct Channel {
    number: u8,
    coding: Coding,
    messages: mpsc::Sender<Message>,
}

impl Channel {
    /// Sends data, waiting while the client is slow. Empty data is sent too.
    pub(crate) async fn send(&mut self, mut data: Bytes) -> Result<(), HungUp> {
        loop {
            let chunk = data.split_to(data.len().min(CHUNK));
            let message = match self.coding {
                Coding::Binary => {
                    let mut bytes = BytesMut::with_capacity(1 + chunk.len());
                    bytes.put_u8(self.number);
                    bytes.put_slice(&chunk);
                    Message::Binary(bytes.freeze())
                }
                Coding::Base64 => {
                    Message::text(format!("{}{}", char::from(b'0' + self.number), BASE64.encode(&chunk)))
                }
            };
            self.messages.send(message).await.map_err(|_closed| HungUp)?;
            if data.is_empty() {
                return Ok(());
            }
        }
    }
}

/// The channels of a connection.
#[derive(Debug)]
pub(crate) struct Channels {
    coding: Coding,
    messages: mpsc::Sender<Message>,
}

impl Channels {
    /// Returns the sending end of a channel; its number is a digit.
    pub(crate) fn channel(&self, number: u8) -> Channel {
        Channel { number, coding: self.coding, messages: self.messages.clone() }
    }
}

/// Serves the channels until the client hangs up or `handle` is done.
///
/// `feeds` take what arrives, by channel number.
pub(crate) async fn serve<C, H>(
    socket: WebSocketStream<C>,
    coding: Coding,
    feeds: Vec<Option<Feed>>,
    handle: impl FnOnce(Channels) -> H,
) -> Result<(), tungstenite::Error>
where
    C: AsyncRead + AsyncWrite + Unpin,
    H: Future<Output = ()>,
{
    let (mut sink, source) = socket.split();
    let (messages, mut queue) = mpsc::channel(QUEUE);
    let mut write = std::pin::pin!(async move {
        loop {
            let message = tokio::select! {
                message = queue.recv() => match message {
                    Some(message) => message,
                    None => break,
                },
                () = tokio::time::sleep(PING) => Message::Ping(Bytes::new()),
            };
            sink.send(message).await?;
        }
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        sink.send(Message::Close(Some(frame))).await
    });
    let mut read = std::pin::pin!(read(source, coding, feeds));
    tokio::select! {
        read = &mut read => return read,
        written = &mut write => return written,
        () = handle(Channels { coding, messages }) => {}
    }
    // The client answers the good-bye; what it still sends until then is read, so that nothing is lost to a reset.
    let leave = async {
        let written = write.await;
        drop(read.await);
        written
    };
    tokio::time::timeout(DRAIN, leave).await.unwrap_or(Ok(()))
}

async fn read<S>(
    mut source: S,
    coding: Coding,
    mut feeds: Vec<Option<Feed>>,
) -> Result<(), tungstenite::Error>
where
    S: futures::Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
{
    while let Some(message) = source.next().await {
        let (channel, data) = match message? {
            Message::Binary(mut data) if !data.is_empty() && coding == Coding::Binary => {
                (data.split_to(1)[0], data)
            }
            Message::Text(text) if coding == Coding::Base64 => match decode(text.as_bytes()) {
                Some(decoded) => decoded,
                None => continue,
            },
            Message::Close(_) => return Ok(()),
            _ => continue,
        };
        if channel == CLOSE {
            if let Some(feed) = data.first().and_then(|number| feeds.get_mut(usize::from(*number))) {
                *feed = None;
            }
        } else if let Some(Some(feed)) = feeds.get(usize::from(channel))
            && !data.is_empty()
        {
            feed.put(data).await;
        }
    }
    Ok(())
}

fn decode(text: &[u8]) -> Option<(u8, Bytes)> {
    let (channel, data) = text.split_first()?;
    let number = channel.checked_sub(b'0').filter(|number| *number < 10)?;
    Some((number, BASE64.decode(data).ok()?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::pipe::{self, Outlet};

    #[tokio::test]
    async fn channels_carry_both_ways_and_stdin_ends_by_its_own_message() {
        let (near, far) = tokio::io::duplex(4096);
        let client = async {
            let mut socket = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
            for message in [&b"\0hello"[..], b"\0", b"\x09nobody", b"", b"\0 world", b"\xff\0"] {
                socket.send(Message::binary(message.to_vec())).await.unwrap();
            }
            let mut heard = Vec::new();
            while let Some(Ok(message)) = socket.next().await {
                if message.is_binary() {
                    heard.push(message.into_data());
                }
            }
            heard
        };
        let server = async {
            let (feed, mut stdin) = pipe::inlet(BUFFER, None);
            let socket = accept(far).await;
            serve(socket, Coding::Binary, vec![Some(feed)], async |channels: Channels| {
                let mut all = Vec::new();
                while let Some(data) = stdin.next().await {
                    all.extend(data);
                }
                let mut outlet = Outlet::WebSocket(channels.channel(1));
                outlet.send(all.into()).await.unwrap();
            })
            .await
            .unwrap();
        };
        let (heard, ()) = tokio::join!(client, server);
        assert_eq!(heard, [&b"\x01hello world"[..]]);
    }

    #[test]
    fn base64_messages_start_with_a_digit() {
        assert_eq!(decode(b"0aGk="), Some((0, Bytes::from_static(b"hi"))));
        for wrong in [&b""[..], b"x", b"0%%", b"\xff"] {
            assert_eq!(decode(wrong), None);
        }
    }
}
