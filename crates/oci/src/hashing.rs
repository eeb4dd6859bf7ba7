//! Hashing and counting what passes.

use std::io::{self, Read, Write};

use crate::{Digest, Hasher};

/// A reader or writer that hashes and counts the bytes that pass through it.
#[derive(Clone, Debug, Default)]
pub struct Hashing<T> {
    inner: T,
    hasher: Hasher,
    length: u64,
}

impl<T> Hashing<T> {
    /// Starts with nothing counted.
    pub fn new(inner: T) -> Self {
        Self { inner, hasher: Hasher::default(), length: 0 }
    }

    /// Returns what is inside, the digest of the bytes that passed, and how many they were.
    pub fn finish(self) -> (T, Digest, u64) {
        (self.inner, self.hasher.finish(), self.length)
    }

    /// Returns what is inside.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// Returns the digest of the bytes that have passed so far.
    pub fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Returns how many bytes have passed so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    fn passed(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.passed(&buffer[..length]);
        Ok(length)
    }
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.passed(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes at most three bytes at a time.
    struct Slow(Vec<u8>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(&bytes[..bytes.len().min(3)])
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_what_passed_counts() {
        let mut reader = Hashing::new(&b"some text"[..]);
        let mut start = [0; 4];
        reader.read_exact(&mut start).unwrap();
        let (rest, digest, length) = reader.finish();
        assert_eq!((rest, digest, length), (&b" text"[..], Digest::of(b"some"), 4));

        let mut writer = Hashing::new(Slow(Vec::new()));
        writer.write_all(b"some text").unwrap();
        let (written, digest, length) = writer.finish();
        assert_eq!((written.0.as_slice(), digest, length), (&b"some text"[..], Digest::of(b"some text"), 9));
    }
}
