//! Waits that double.

use std::time::Duration;

/// Waits between restarts of a container: none, then 1 s, doubling to a minute.
///
/// Compat: the values of KEP-4603's reduced maximum; upstream's default starts at 10 s and ends at 5 min.
const RESTART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Waits between looks for a missing image; a look costs one query of the store.
const IMAGE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// Waits between attempts to make a sandbox, mount volumes or read configuration.
const SETUP: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));
/// A container that ran so long starts over.
const FORGIVEN: Duration = Duration::from_secs(600);

/// Counts failures of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BackOff {
    failures: u32,
}

impl BackOff {
    /// Returns how long to wait before a container that ran for `ran` is started again.
    pub(crate) fn restart(&mut self, ran: Duration) -> Duration {
        if ran >= FORGIVEN {
            self.failures = 0;
        }
        self.failures += 1;
        match self.failures {
            1 => Duration::ZERO,
            failures => doubled(RESTART, failures - 2),
        }
    }

    /// Returns how long to wait before the store is asked again.
    pub(crate) fn image(&mut self) -> Duration {
        self.failures += 1;
        doubled(IMAGE, self.failures - 1)
    }

    /// Returns how long to wait before something is set up again.
    pub(crate) fn setup(&mut self) -> Duration {
        self.failures += 1;
        doubled(SETUP, self.failures - 1)
    }

    /// Forgets the failures.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

fn doubled((first, most): (Duration, Duration), times: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times.min(16))).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_wait_none_then_one_second_doubling_to_a_minute() {
        let mut back_off = BackOff::default();
        let waits: Vec<u64> = (0..9).map(|_| back_off.restart(Duration::from_secs(1)).as_secs()).collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(back_off.restart(FORGIVEN), Duration::ZERO, "a long run is forgiven");
    }

    #[test]
    fn a_missing_image_is_looked_for_often() {
        let mut back_off = BackOff::default();
        let waits: Vec<u128> = (0..5).map(|_| back_off.image().as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 2000]);
    }
}
