//! Bodies as they arrive.

use std::io::{self, Read};

/// A body being read. Reading past its budget, or the end coming too early, is an error.
pub struct Body {
    inner: ureq::BodyReader<'static>,
    left: u64,
    expected: Option<u64>,
    received: u64,
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

/// What a reader of a body meets when there is more than its budget.
#[derive(Debug, thiserror::Error)]
#[error("the body is larger than was allowed")]
pub(crate) struct OverBudget;

impl Body {
    pub(crate) fn new(inner: ureq::BodyReader<'static>, expected: Option<u64>, budget: u64) -> Self {
        Self { inner, left: budget, expected, received: 0 }
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
        let read = self.inner.read(buffer)?;
        let amount = u64::try_from(read).unwrap_or(u64::MAX);
        self.received += amount;
        self.left = self
            .left
            .checked_sub(amount)
            .ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, OverBudget))?;
        if read == 0 && !buffer.is_empty() && self.expected.is_some_and(|expected| self.received < expected) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed early"));
        }
        Ok(read)
    }
}
