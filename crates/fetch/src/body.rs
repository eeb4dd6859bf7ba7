//! Bodies as they arrive.

use std::io::{self, Read};

use crate::Stop;

/// A body being read. Reading past its budget, or the end coming too early, is an error.
pub struct Body {
    inner: ureq::BodyReader<'static>,
    left: u64,
    expected: Option<u64>,
    received: u64,
    stop: Stop,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body")
            .field("left", &self.left)
            .field("expected", &self.expected)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

/// What is met where a client was stopped in the middle of a body.
#[derive(Debug, thiserror::Error)]
#[error("it was stopped")]
struct Stopped;

/// Something that is sent until the client is stopped.
pub(crate) struct Sent<'a> {
    pub(crate) reader: &'a mut dyn Read,
    pub(crate) stop: &'a Stop,
}

impl Read for Sent<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_stopped() { Err(io::Error::other(Stopped)) } else { self.reader.read(buffer) }
    }
}

/// What a reader of a body meets when there is more than its budget.
#[derive(Debug, thiserror::Error)]
#[error("the body is larger than was allowed")]
pub(crate) struct OverBudget;

impl Body {
    pub(crate) fn new(
        inner: ureq::BodyReader<'static>,
        expected: Option<u64>,
        budget: u64,
        stop: Stop,
    ) -> Self {
        Self { inner, left: budget, expected, received: 0, stop }
    }

    /// Returns the length that the server announced.
    pub fn expected(&self) -> Option<u64> {
        self.expected
    }

    /// Returns the bytes read so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Whether the announced length alone is over the budget.
    pub(crate) fn is_announced_too_large(&self) -> bool {
        self.expected.is_some_and(|expected| expected > self.left.saturating_add(self.received))
    }

    pub(crate) fn is_over_budget(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<OverBudget>())
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_stopped() {
            return Err(io::Error::other(Stopped));
        }
        let read = self.inner.read(buffer).map_err(|error| {
            // The connection was closed here.
            if self.stop.is_stopped() { io::Error::other(Stopped) } else { error }
        })?;
        let amount = u64::try_from(read).unwrap_or(u64::MAX);
        self.received += amount;
        self.left = self
            .left
            .checked_sub(amount)
            .ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, OverBudget))?;
        if read == 0 && !buffer.is_empty() && self.stop.is_stopped() {
            // The connection was closed here, which looks like the end where no length was announced.
            return Err(io::Error::other(Stopped));
        }
        if read == 0 && !buffer.is_empty() && self.expected.is_some_and(|expected| self.received < expected) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed early"));
        }
        Ok(read)
    }
}
