//! Streams: the state that reader, writer and users of a connection share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::frame::Control;
use super::headers::Headers;
use crate::streams::pipe::{Feed, HungUp};

/// What may be in flight on a stream before it is announced otherwise.
pub(super) const WINDOW: usize = 64 * 1024;
/// Taken bytes are announced in portions of this size.
const ANNOUNCE: usize = WINDOW / 2;
/// Longest data frame that we send.
const CHUNK: usize = 16 * 1024;
/// A window never grows beyond this.
const LARGEST_WINDOW: usize = 0x7fff_ffff;

/// `RST_STREAM` status: the stream is not wanted any more.
pub(super) const CANCEL: u32 = 5;

/// A frame on its way out; the writer compresses headers.
#[derive(Debug)]
pub(super) enum Out {
    Control(Control),
    Reply {
        stream: u32,
        headers: Headers,
    },
    Data {
        stream: u32,
        fin: bool,
        data: Bytes,
    },
    /// Nothing follows.
    End,
}

/// What the client lets us send.
#[derive(Debug)]
pub(super) struct SendWindow(Semaphore, CancellationToken);

impl SendWindow {
    fn new(size: usize) -> Self {
        Self(Semaphore::new(size), CancellationToken::new())
    }

    pub(super) fn grow(&self, by: usize) {
        if self.0.available_permits() <= LARGEST_WINDOW {
            self.0.add_permits(by);
        }
    }

    fn shrink(&self, by: usize) {
        self.0.forget_permits(by);
    }

    pub(super) fn close(&self) {
        self.0.close();
        self.1.cancel();
    }

    /// Takes up to `want` bytes, at least one.
    async fn take(&self, want: usize) -> Result<usize, HungUp> {
        self.0.acquire().await.map_err(|_closed| HungUp)?.forget();
        let more = self.0.available_permits().min(want.saturating_sub(1));
        let Ok(count) = u32::try_from(more) else { return Ok(1) };
        match self.0.try_acquire_many(count) {
            Ok(permits) => {
                permits.forget();
                Ok(1 + more)
            }
            Err(_fewer) => Ok(1),
        }
    }

    /// Takes `want` bytes whether they are there or not.
    fn overdraw(&self, want: usize) -> Result<(), HungUp> {
        if self.0.is_closed() {
            return Err(HungUp);
        }
        self.0.forget_permits(want);
        Ok(())
    }
}

#[derive(Debug)]
struct Entry {
    /// Gone when the client has said that nothing more comes.
    feed: Option<Arc<Feed>>,
    window: Arc<SendWindow>,
    /// Whether we have said so.
    finished: bool,
}

/// What reader, writer and users of a connection share.
#[derive(Debug)]
pub(super) struct Shared {
    streams: Mutex<HashMap<u32, Entry>>,
    frames: mpsc::WeakSender<Out>,
    urgent: mpsc::UnboundedSender<Out>,
    /// Whether the client knows windows.
    enforced: AtomicBool,
    initial_window: AtomicUsize,
    window: SendWindow,
    taken: AtomicUsize,
    last: AtomicU32,
}

impl Shared {
    pub(super) fn new(frames: mpsc::WeakSender<Out>, urgent: mpsc::UnboundedSender<Out>) -> Arc<Self> {
        Arc::new(Self {
            streams: Mutex::default(),
            frames,
            urgent,
            enforced: AtomicBool::new(false),
            initial_window: AtomicUsize::new(WINDOW),
            window: SendWindow::new(WINDOW),
            taken: AtomicUsize::new(0),
            last: AtomicU32::new(0),
        })
    }

    /// Returns the id of the newest stream.
    pub(super) fn last(&self) -> u32 {
        self.last.load(Ordering::Relaxed)
    }

    pub(super) fn set_last(&self, id: u32) {
        self.last.store(id, Ordering::Relaxed);
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<u32, Entry>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a small frame without waiting.
    pub(super) fn notify(&self, control: Control) {
        drop(self.urgent.send(Out::Control(control)));
    }

    pub(super) fn count(&self) -> usize {
        self.streams().len()
    }

    /// Adds a stream; `feed` is gone if the client sends nothing on it.
    pub(super) fn open(self: &Arc<Self>, id: u32, feed: Option<Feed>, silent: bool) -> Option<StreamOut> {
        let frames = self.frames.upgrade()?;
        let window = Arc::new(SendWindow::new(self.initial_window.load(Ordering::Relaxed)));
        let entry = Entry { feed: feed.map(Arc::new), window: Arc::clone(&window), finished: silent };
        self.streams().insert(id, entry);
        Some(StreamOut { id, frames, window, shared: Arc::clone(self), finished: silent })
    }

    /// Returns where data of a stream goes; `None` if it is closed.
    pub(super) fn feed(&self, id: u32) -> Option<Arc<Feed>> {
        self.streams().get(&id)?.feed.clone()
    }

    /// The client sends nothing more on a stream.
    pub(super) fn client_finished(&self, id: u32) {
        let mut streams = self.streams();
        if let Some(entry) = streams.get_mut(&id) {
            entry.feed = None;
            if entry.finished {
                streams.remove(&id);
            }
        }
    }

    /// The client wants nothing more of a stream.
    pub(super) fn client_reset(&self, id: u32) {
        if let Some(entry) = self.streams().remove(&id) {
            entry.window.close();
        }
    }

    fn we_finished(&self, id: u32) {
        let mut streams = self.streams();
        if let Some(entry) = streams.get_mut(&id) {
            entry.finished = true;
            if entry.feed.is_none() {
                streams.remove(&id);
            }
        }
    }

    /// The client allows more on a stream, or (id 0) on the connection.
    pub(super) fn window_update(&self, id: u32, delta: u32) {
        self.enforced.store(true, Ordering::Relaxed);
        let delta = usize::try_from(delta).unwrap_or(LARGEST_WINDOW);
        if id == 0 {
            self.window.grow(delta);
        } else if let Some(entry) = self.streams().get(&id) {
            entry.window.grow(delta);
        }
    }

    /// The client says what streams start with.
    pub(super) fn initial_window(&self, size: u32) {
        self.enforced.store(true, Ordering::Relaxed);
        let size = usize::try_from(size).unwrap_or(LARGEST_WINDOW);
        let before = self.initial_window.swap(size, Ordering::Relaxed);
        for entry in self.streams().values() {
            if size >= before {
                entry.window.grow(size - before);
            } else {
                entry.window.shrink(before - size);
            }
        }
    }

    /// Data was taken out of a buffer or dropped: the connection's window opens again.
    pub(super) fn taken(&self, count: usize) {
        announce(&self.taken, count, |delta| self.notify(Control::WindowUpdate { stream: 0, delta }));
    }
}

fn announce(pending: &AtomicUsize, count: usize, send: impl FnOnce(u32)) {
    let total = pending.fetch_add(count, Ordering::Relaxed) + count;
    if total >= ANNOUNCE {
        let portion = pending.swap(0, Ordering::Relaxed);
        if let Ok(delta @ 1..) = u32::try_from(portion) {
            send(delta);
        }
    }
}

/// Counts what is taken out of a stream's buffer.
#[derive(Debug)]
pub(crate) struct Taken {
    id: u32,
    pending: AtomicUsize,
    shared: Arc<Shared>,
}

impl Taken {
    pub(super) fn new(id: u32, shared: &Arc<Shared>) -> Self {
        Self { id, pending: AtomicUsize::new(0), shared: Arc::clone(shared) }
    }

    /// Announces the bytes to the client, in portions.
    pub(crate) fn add(&self, count: usize) {
        self.shared.taken(count);
        let stream = self.id;
        announce(&self.pending, count, |delta| self.shared.notify(Control::WindowUpdate { stream, delta }));
    }
}

/// The sending half of a stream. Dropped before [`Self::finish`], it resets the stream.
#[derive(Debug)]
pub(crate) struct StreamOut {
    id: u32,
    frames: mpsc::Sender<Out>,
    window: Arc<SendWindow>,
    shared: Arc<Shared>,
    finished: bool,
}

impl StreamOut {
    /// Sends data, waiting while the client is slow.
    pub(crate) async fn send(&mut self, mut data: Bytes) -> Result<(), HungUp> {
        while !data.is_empty() {
            let want = data.len().min(CHUNK);
            let size = if self.shared.enforced.load(Ordering::Relaxed) {
                let own = self.window.take(want).await?;
                let both = self.shared.window.take(own).await?;
                self.window.grow(own - both);
                both
            } else {
                self.window.overdraw(want)?;
                self.shared.window.overdraw(want)?;
                want
            };
            let frame = Out::Data { stream: self.id, fin: false, data: data.split_to(size) };
            self.frames.send(frame).await.map_err(|_closed| HungUp)?;
        }
        Ok(())
    }

    /// Returns a token that is cancelled when the client resets the stream.
    pub(crate) fn closed(&self) -> CancellationToken {
        self.window.1.clone()
    }

    /// Says that nothing more comes.
    pub(crate) async fn finish(&mut self) -> Result<(), HungUp> {
        if std::mem::replace(&mut self.finished, true) {
            return Ok(());
        }
        self.shared.we_finished(self.id);
        let frame = Out::Data { stream: self.id, fin: true, data: Bytes::new() };
        self.frames.send(frame).await.map_err(|_closed| HungUp)
    }
}

impl Drop for StreamOut {
    fn drop(&mut self) {
        // A stream that the client has reset is closed already.
        if !self.finished && !self.window.0.is_closed() {
            self.shared.client_reset(self.id);
            let reset = Control::Reset { stream: self.id, status: CANCEL };
            // Behind what the stream has sent, unless that would mean to wait.
            if self.frames.try_send(Out::Control(reset.clone())).is_err() {
                self.shared.notify(reset);
            }
        }
    }
}
