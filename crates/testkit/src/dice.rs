//! Chance that can be repeated, and how often to try it.

/// Returns how often a test is to try something: `usual` times, or `SOAK` times that many.
pub fn rounds(usual: usize) -> usize {
    let factor = std::env::var("SOAK").map_or(1, |text| text.parse().expect("SOAK is a number"));
    usual.saturating_mul(factor)
}

/// Numbers that look random and are the same every time.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Begins with `seed`, or with what `SEED` says.
    pub fn new(seed: u64) -> Self {
        let seed = std::env::var("SEED").map_or(seed, |text| text.parse().expect("SEED is a number"));
        // Nothing comes of zero.
        Self(seed.max(1))
    }

    /// Returns a number below `limit`.
    pub fn roll(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("it is below a usize")
    }

    /// Returns one of several things.
    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.roll(from.len())]
    }

    /// Returns some bytes that are much like these: a few were changed, left out, doubled, or taken from `words`.
    pub fn mutate(&mut self, bytes: &[u8], words: &[&[u8]]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..1 + self.roll(4) {
            let at = self.roll(bytes.len() + 1);
            let end = at + self.roll((bytes.len() - at).min(16) + 1);
            match self.roll(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.roll(8),
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                3 => bytes.truncate(at.max(1)),
                4 if !words.is_empty() => {
                    let word = self.pick(words);
                    bytes.splice(at..end, word.iter().copied());
                }
                _ => bytes.insert(at, u8::try_from(self.roll(256)).expect("it is a byte")),
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_the_same_every_time_and_changes_things() {
        let changed = || {
            let mut dice = Dice::new(7);
            (0..100).map(|_| dice.mutate(b"some text", &[b"word"])).collect::<Vec<_>>()
        };
        assert_eq!(changed(), changed());
        assert!(changed().iter().filter(|bytes| bytes.as_slice() != b"some text").count() > 80);
    }
}
