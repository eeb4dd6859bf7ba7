//! The ends of one stream of a multiplexed connection, whatever the protocol underneath.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::spdy;
use super::websocket;

/// The connection is gone.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client has hung up")]
pub(crate) struct HungUp;

/// What the client sends on a stream.
#[derive(Debug)]
pub(crate) struct Inlet {
    queue: mpsc::UnboundedReceiver<Bytes>,
    credit: Credit,
}

/// Space in a stream's buffer.
#[derive(Debug, Clone)]
pub(crate) struct Credit(std::sync::Arc<Space>);

#[derive(Debug)]
struct Space {
    free: tokio::sync::Semaphore,
    size: usize,
    /// Told how much was taken out.
    taken: Option<spdy::Taken>,
}

impl Space {
    fn announce(&self, length: usize) {
        if let Some(taken) = &self.taken {
            taken.add(length);
        }
    }
}

/// Where arriving data is put.
#[derive(Debug)]
pub(crate) struct Feed {
    queue: mpsc::UnboundedSender<Bytes>,
    credit: Credit,
}

/// Makes a stream's buffer of `size` bytes.
pub(crate) fn inlet(size: usize, taken: Option<spdy::Taken>) -> (Feed, Inlet) {
    let (sender, queue) = mpsc::unbounded_channel();
    let credit = Credit(std::sync::Arc::new(Space { free: tokio::sync::Semaphore::new(size), size, taken }));
    (Feed { queue: sender, credit: credit.clone() }, Inlet { queue, credit })
}

impl Feed {
    /// Puts data in, waiting for space. Data for an end that is gone is dropped.
    pub(crate) async fn put(&self, data: Bytes) {
        let space = &self.credit.0;
        // More than fits at once may pass when the buffer is empty.
        let need = u32::try_from(data.len().min(space.size)).unwrap_or(u32::MAX);
        let length = data.len();
        match space.free.acquire_many(need).await {
            Ok(permit) => permit.forget(),
            Err(_closed) => return space.announce(length),
        }
        if self.queue.send(data).is_err() {
            space.announce(length);
        }
    }
}

impl Inlet {
    /// Returns the next data; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        let data = self.queue.recv().await?;
        let space = &self.credit.0;
        space.free.add_permits(data.len().min(space.size));
        space.announce(data.len());
        Some(data)
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        // Whoever waits for space learns that nobody will take anything out.
        self.credit.0.free.close();
        while let Ok(data) = self.queue.try_recv() {
            self.credit.0.announce(data.len());
        }
    }
}

/// What goes to the client on a stream.
#[derive(Debug)]
pub(crate) enum Outlet {
    /// A channel of a WebSocket.
    WebSocket(websocket::Channel),
    /// A SPDY stream.
    Spdy(spdy::StreamOut),
}

impl Outlet {
    /// Sends data, waiting while the client is slow.
    pub(crate) async fn send(&mut self, data: Bytes) -> Result<(), HungUp> {
        match self {
            Self::WebSocket(channel) => channel.send(data).await,
            Self::Spdy(stream) => stream.send(data).await,
        }
    }

    /// Waits until the client wants nothing more of this stream.
    pub(crate) fn gone(&self) -> impl Future<Output = ()> + use<> {
        let token = match self {
            Self::WebSocket(_) => None,
            Self::Spdy(stream) => Some(stream.closed()),
        };
        async move {
            match token {
                Some(token) => token.cancelled_owned().await,
                None => std::future::pending().await,
            }
        }
    }

    /// Says that nothing more comes.
    pub(crate) async fn finish(&mut self) -> Result<(), HungUp> {
        match self {
            Self::WebSocket(_) => Ok(()),
            Self::Spdy(stream) => stream.finish().await,
        }
    }
}
