//! SHA-256 of what comes in parts, and of two streams side by side.

use sha2::block_api::compress256;
use shipway_linux::{Sha256Lane, sha256_two};

use crate::Digest;

/// Bytes that SHA-256 takes at a time.
const BLOCK: usize = 64;

/// What it begins with (FIPS 180-4, section 5.3.3).
const START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// A running SHA-256 that ends in a [`Digest`]; also a writer, so that streams can pass through it.
#[derive(Clone, Debug)]
pub struct Hasher {
    state: [u32; 8],
    /// Whole blocks that were added.
    blocks: u64,
    /// What is no whole block yet, and how many bytes that is.
    rest: [u8; BLOCK],
    waiting: usize,
}

impl Default for Hasher {
    fn default() -> Self {
        Self { state: START, blocks: 0, rest: [0; BLOCK], waiting: 0 }
    }
}

impl Hasher {
    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        let (blocks, rest) = bytes[self.complete(bytes)..].as_chunks();
        self.add(blocks);
        self.keep(rest);
    }

    /// Adds bytes to two streams: of one of them all that are given, of the other as many as keeps pace. Returns how many of each. That takes
    /// little longer than to add as many to one, see [`sha256_two`].
    pub fn update_two(one: (&mut Self, &[u8]), other: (&mut Self, &[u8])) -> (usize, usize) {
        let ((one, first), (other, second)) = (one, other);
        let begun = (one.complete(first), other.complete(second));
        let ((blocks, rest), (others, others_rest)) =
            (first[begun.0..].as_chunks(), second[begun.1..].as_chunks());
        let pace = blocks.len().min(others.len());
        one.add_beside(&blocks[..pace], other, &others[..pace]);
        let mut taken = (begun.0 + pace * BLOCK, begun.1 + pace * BLOCK);
        // What is no whole block waits for the next bytes.
        if blocks.len() == pace {
            one.keep(rest);
            taken.0 += rest.len();
        }
        if others.len() == pace {
            other.keep(others_rest);
            taken.1 += others_rest.len();
        }
        taken
    }

    /// Returns the digest of everything added.
    pub fn finish(mut self) -> Digest {
        let bits = (self.blocks * BLOCK as u64 + self.waiting as u64).wrapping_mul(8);
        // A bit that is set, zeros, and the length at the end of a block.
        self.update(&[0x80]);
        let zeros = (2 * BLOCK - 8 - self.waiting) % BLOCK;
        self.update(&[0; BLOCK][..zeros]);
        self.update(&bits.to_be_bytes());
        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        Digest::from(digest)
    }

    /// Completes the block that was begun, if any was, and returns how many bytes that took.
    fn complete(&mut self, bytes: &[u8]) -> usize {
        if self.waiting == 0 {
            return 0;
        }
        let taken = bytes.len().min(BLOCK - self.waiting);
        self.keep(&bytes[..taken]);
        if self.waiting == BLOCK {
            let block = self.rest;
            self.waiting = 0;
            self.add(&[block]);
        }
        taken
    }

    /// Keeps bytes that are no whole block.
    fn keep(&mut self, bytes: &[u8]) {
        self.rest[self.waiting..][..bytes.len()].copy_from_slice(bytes);
        self.waiting += bytes.len();
    }

    fn add(&mut self, blocks: &[[u8; BLOCK]]) {
        compress256(&mut self.state, blocks);
        self.blocks += blocks.len() as u64;
    }

    /// Adds as many blocks to this one as to another one.
    fn add_beside(&mut self, blocks: &[[u8; BLOCK]], other: &mut Self, others: &[[u8; BLOCK]]) {
        let one = Sha256Lane { state: &mut self.state, blocks };
        let beside = Sha256Lane { state: &mut other.state, blocks: others };
        if sha256_two(one, beside) {
            self.blocks += blocks.len() as u64;
            other.blocks += others.len() as u64;
        } else {
            self.add(blocks);
            other.add(others);
        }
    }
}

impl std::io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sha2::Digest as _;

    use super::*;

    fn text(length: usize, seed: u8) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at % 251).unwrap() ^ seed).collect()
    }

    fn want(bytes: &[u8]) -> Digest {
        Digest::from(<[u8; 32]>::from(sha2::Sha256::digest(bytes)))
    }

    #[test]
    fn digests_are_those_of_the_standard() {
        let known = [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ];
        for (text, hex) in known {
            assert_eq!(Digest::of(text.as_bytes()).hex(), hex, "case {text:?}");
        }
        // Around each place where padding needs another block, in parts of each length.
        for length in 0..200 {
            let bytes = text(length, 7);
            for part in 1..=length.max(1) {
                let mut hasher = Hasher::default();
                bytes.chunks(part).for_each(|part| hasher.update(part));
                assert_eq!(hasher.finish(), want(&bytes), "case {length} in parts of {part}");
            }
        }
    }

    #[test]
    fn two_at_once_are_each_what_they_are_alone() {
        let lengths = [0, 1, 55, 63, 64, 65, 127, 128, 1000, 4096];
        let parts = [1, 13, 64, 100, 5000];
        for (first, second) in lengths.iter().flat_map(|one| lengths.map(|other| (*one, other))) {
            let (first, second) = (text(first, 1), text(second, 2));
            for (part, other_part) in parts.iter().flat_map(|one| parts.map(|other| (*one, other))) {
                let (mut one, mut other) = (Hasher::default(), Hasher::default());
                let (mut at, mut other_at) = (0, 0);
                while at < first.len() && other_at < second.len() {
                    let some = &first[at..first.len().min(at + part)];
                    let others = &second[other_at..second.len().min(other_at + other_part)];
                    let taken = Hasher::update_two((&mut one, some), (&mut other, others));
                    assert!(taken.0 == some.len() || taken.1 == others.len(), "neither is over");
                    (at, other_at) = (at + taken.0, other_at + taken.1);
                }
                one.update(&first[at..]);
                other.update(&second[other_at..]);
                assert_eq!((one.finish(), other.finish()), (want(&first), want(&second)));
            }
        }
    }
}
