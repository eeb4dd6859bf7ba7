//! Hashing and counting what passes.

use std::fmt::Debug;
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

/// A stream that is hashed while another one is: two take little longer than one.
pub trait Beside: Debug + Sync {
    /// Adds `bytes` to `hasher`, and what waits of the stream to its own.
    fn hash_with(&self, hasher: &mut Hasher, bytes: &[u8]);
}

/// A reader that hashes and counts what is read, beside another stream if there is one.
#[derive(Debug)]
pub struct HashingBeside<'a, R> {
    inner: R,
    beside: Option<&'a dyn Beside>,
    hasher: Hasher,
    length: u64,
}

impl<'a, R: Read> HashingBeside<'a, R> {
    /// Starts with nothing counted.
    pub fn new(inner: R, beside: Option<&'a dyn Beside>) -> Self {
        Self { inner, beside, hasher: Hasher::default(), length: 0 }
    }

    /// Returns the digest of the bytes that were read, and how many they were.
    pub fn finish(self) -> (Digest, u64) {
        (self.hasher.finish(), self.length)
    }
}

impl<R: Read> Read for HashingBeside<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        let read = &buffer[..length];
        match self.beside {
            Some(beside) => beside.hash_with(&mut self.hasher, read),
            None => self.hasher.update(read),
        }
        self.length += length as u64;
        Ok(length)
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
