//! Answers that have begun and hardly go on: each byte comes in time, and the last one never.

use std::io;
use std::time::Duration;

/// Bytes a second that an answer brings at least, on average over the time for which a server may be silent. Six layers at once over
/// 9600 bit/s, which is slower than any line that images are pulled over, bring more each.
const SLOWEST: u64 = 128;

/// Why a connection was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("only {bytes} bytes came in {} seconds", .window.as_secs_f32())]
pub(crate) struct TooSlow {
    bytes: u64,
    window: Duration,
}

/// So often one is asked that answers so: another connection may be a better one.
pub(crate) const SLOW_ATTEMPTS: u32 = 2;

/// How an answer goes on. Only the time counts for which it was waited: whoever reads slowly himself is no fault of the server's.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Something has come of the answer: until then a server thinks.
    has_begun: bool,
    /// Since the last look at how much has come, and how much that was.
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Begins anew: something was sent that is to be answered.
    pub(crate) fn restart(&mut self) {
        *self = Self::default();
    }

    /// Returns for how long it may be waited for the next bytes, where the server may be silent for `window`.
    pub(crate) fn patience(&self, window: Duration) -> Duration {
        let is_late = self.has_begun && self.bytes < least(window);
        if is_late { window.saturating_sub(self.waited) } else { window }
    }

    /// Notes that so many bytes have come, or none, after such a wait; fails if these were too few.
    pub(crate) fn note(&mut self, bytes: usize, waited: Duration, window: Duration) -> Result<(), TooSlow> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if !self.has_begun {
            self.has_begun = bytes > 0;
            return Ok(());
        }
        self.bytes += bytes;
        self.waited += waited;
        if self.waited < window {
            return Ok(());
        }
        let brought = std::mem::take(&mut self.bytes);
        self.waited = Duration::ZERO;
        if brought < least(window) { Err(TooSlow { bytes: brought, window }) } else { Ok(()) }
    }
}

fn least(window: Duration) -> u64 {
    u64::try_from(window.as_millis()).unwrap_or(u64::MAX).saturating_mul(SLOWEST) / 1000
}

/// Returns whether a read failed because an answer had begun and hardly went on: so it would the next time.
pub(crate) fn is_too_slow(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<TooSlow>() || inner.downcast_ref().is_some_and(is_too_slow))
}

/// Returns whether a read failed because the server said nothing, or hardly anything, for as long as it may.
pub fn is_overdue(error: &io::Error) -> bool {
    is_too_slow(error)
        || error.get_ref().is_some_and(|inner| matches!(inner.downcast_ref(), Some(ureq::Error::Timeout(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(30);

    /// Says after how many seconds an answer is given up that brings so many bytes after each pause.
    fn given_up(bytes: usize, pause: u64) -> Option<u64> {
        let mut pace = Pace::default();
        (1..=10_000 / pause).find_map(|number| {
            let came_after = Duration::from_secs(pause);
            let allowed = pace.patience(WINDOW);
            let noted = if allowed < came_after {
                pace.note(0, allowed, WINDOW)
            } else {
                pace.note(bytes, came_after, WINDOW)
            };
            noted.err().map(|_| number * pause)
        })
    }

    #[test]
    fn a_slow_line_is_waited_for_and_one_that_drips_is_not() {
        for (name, bytes, pause, want) in [
            ("a modem", 129, 1, None),
            ("a satellite, in bursts", 30_000, 25, None),
            ("a byte now and then", 1, 5, Some(35)),
            ("a byte before each silence would end", 1, 29, Some(87)),
            ("almost enough", 127, 1, Some(31)),
        ] {
            assert_eq!(given_up(bytes, pause), want, "case {name}");
        }
    }

    #[test]
    fn a_server_may_think_before_it_answers_and_each_answer_is_one() {
        let mut pace = Pace::default();
        pace.note(100, Duration::from_secs(29), WINDOW).unwrap();
        assert_eq!(pace.patience(WINDOW), WINDOW);
        pace.note(100, Duration::from_secs(29), WINDOW).unwrap();
        assert_eq!(pace.patience(WINDOW), Duration::from_secs(1));
        pace.restart();
        assert_eq!(pace.patience(WINDOW), WINDOW);
        pace.note(100, Duration::from_secs(29), WINDOW).unwrap();
        // What came in time is not held against what follows.
        pace.note(1 << 20, Duration::from_secs(1), WINDOW).unwrap();
        assert_eq!(pace.patience(WINDOW), WINDOW);
    }

    #[test]
    fn what_is_overdue_is_known_however_it_was_wrapped() {
        let slow = io::Error::new(io::ErrorKind::TimedOut, TooSlow { bytes: 3, window: WINDOW });
        assert_eq!(slow.to_string(), "only 3 bytes came in 30 seconds");
        assert!(is_overdue(&slow));
        assert!(is_overdue(&io::Error::other(slow)));
        assert!(is_overdue(&ureq::Error::Timeout(ureq::Timeout::PerRead).into_io()));
        assert!(!is_overdue(&io::ErrorKind::ConnectionReset.into()));
        assert!(!is_overdue(&io::ErrorKind::TimedOut.into()));
    }
}
