//! The store's own time, by which it takes away what has rested for long.
//!
//! Somebody may set the machine's clock right, by a day or by fifty years, between an upload and the manifest that names it: that makes
//! nothing older. Until the machine starts again all processes have the same time, which is what its clock said first.

use shipway_linux::since_boot;

use crate::layer_rows::boot;
use crate::{Store, atomic_write};

/// What the clock said when the machine started, behind the ID of that boot.
const NAME: &str = "clock";

impl Store {
    /// Returns the store's own time in seconds since the epoch, `clock` being what the machine's clock says.
    pub fn steady(&self, clock: i64) -> i64 {
        let up = i64::try_from(since_boot().as_secs()).unwrap_or_default();
        self.begun.get_or_init(|| self.known_begin().unwrap_or_else(|| self.note_begin(clock - up))) + up
    }

    fn known_begin(&self) -> Option<i64> {
        let text = fs_err::read_to_string(self.root().join(NAME)).ok()?;
        let (of, begun) = text.trim().split_once(' ')?;
        if of == boot() { begun.parse().ok() } else { None }
    }

    fn note_begin(&self, begun: i64) -> i64 {
        // Without it others have a time of their own, which is the same as long as nobody sets the clock.
        if let Err(error) =
            atomic_write(&self.root().join(NAME), format!("{} {begun}\n", boot()).as_bytes(), 0o600)
        {
            tracing::debug!(%error, "could not write down the store's time");
        }
        begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_makes_nothing_older_until_the_machine_starts_again() {
        const DAY: i64 = 24 * 60 * 60;
        let dir = tempfile::tempdir().unwrap();
        let first = Store::open(dir.path()).unwrap();
        let begun = first.steady(100 * DAY);
        assert!((0..2).contains(&(begun - 100 * DAY)), "{begun}");
        for clock in [101 * DAY, 99 * DAY, 0, 20_000 * DAY] {
            for store in [&first, &Store::open(dir.path()).unwrap()] {
                let now = store.steady(clock);
                assert!((0..60).contains(&(now - begun)), "{now} at {clock}");
            }
        }
        let path = dir.path().join(NAME);
        let text = fs_err::read_to_string(&path).unwrap();
        for text in [text.replace(boot(), "the-one-before"), "x".to_owned()] {
            fs_err::write(&path, text).unwrap();
            let now = Store::open(dir.path()).unwrap().steady(200 * DAY);
            assert!((0..60).contains(&(now - 200 * DAY)), "{now}");
        }
    }
}
