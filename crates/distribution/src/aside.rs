//! The digest of a blob that is hashed while what is in it is.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use shipway_oci::{Beside, Digest, Hasher};

use crate::pipe::{Buffers, Piece};

/// So many pieces may wait for what is in them.
const WAITING: usize = 8;

/// Pieces of a blob that nobody needs any more but to hash them.
#[derive(Debug)]
pub(crate) struct Aside<'a> {
    buffers: &'a Buffers,
    waiting: Mutex<VecDeque<Piece>>,
    begun: Mutex<Begun>,
}

/// What was hashed up to now.
#[derive(Debug, Default)]
struct Begun {
    hasher: Hasher,
    /// The piece that comes next, and how many bytes of it were hashed.
    piece: Option<(Piece, usize)>,
}

impl<'a> Aside<'a> {
    pub(crate) fn new(buffers: &'a Buffers) -> Self {
        Self { buffers, waiting: Mutex::default(), begun: Mutex::default() }
    }

    /// Takes a piece, which is hashed at once only if too many wait.
    pub(crate) fn push(&self, piece: Piece) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_back(piece);
        let is_behind = waiting.len() > WAITING;
        drop(waiting);
        if is_behind {
            self.catch_up(&mut self.begun.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Returns the digest of all pieces.
    pub(crate) fn finish(self) -> Digest {
        self.catch_up(&mut self.begun.lock().unwrap_or_else(PoisonError::into_inner));
        self.begun.into_inner().unwrap_or_else(PoisonError::into_inner).hasher.finish()
    }

    fn catch_up(&self, begun: &mut Begun) {
        while let Some((piece, at)) = self.next(begun) {
            begun.hasher.update(&piece.bytes()[at..]);
            self.buffers.take_back(piece);
        }
    }

    fn next(&self, begun: &mut Begun) -> Option<(Piece, usize)> {
        let waiting = || self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        begun.piece.take().or_else(|| waiting().map(|piece| (piece, 0)))
    }
}

impl Beside for Aside<'_> {
    fn hash_with(&self, hasher: &mut Hasher, mut bytes: &[u8]) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        while !bytes.is_empty() {
            let Some((piece, at)) = self.next(&mut begun) else { return hasher.update(bytes) };
            let (taken, beside) =
                Hasher::update_two((hasher, bytes), (&mut begun.hasher, &piece.bytes()[at..]));
            bytes = &bytes[taken..];
            let at = at + beside;
            if at < piece.bytes().len() {
                begun.piece = Some((piece, at));
            } else {
                self.buffers.take_back(piece);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_digests_are_right_however_fast_either_stream_is() {
        let buffers = Buffers::default();
        let text: Vec<u8> = (0..3_000_000_u32).map(|at| u8::try_from(at % 253).unwrap()).collect();
        // How many pieces come for each part that is hashed, and how long that is.
        for (pieces, part) in [(1, 1 << 17), (0, 1 << 17), (100, 1000), (1, 100), (2, 3_000_000)] {
            let aside = Aside::new(&buffers);
            let mut blob = &text[1..];
            let mut hasher = Hasher::default();
            for part in text.chunks(part) {
                for _piece in 0..pieces {
                    let piece = buffers.fill(&mut blob).unwrap();
                    if !piece.bytes().is_empty() {
                        aside.push(piece);
                    }
                }
                aside.hash_with(&mut hasher, part);
            }
            loop {
                let piece = buffers.fill(&mut blob).unwrap();
                if piece.bytes().is_empty() {
                    break;
                }
                aside.push(piece);
                assert!(aside.waiting.lock().unwrap().len() <= WAITING, "case {pieces} to {part}");
            }
            assert_eq!(hasher.finish(), Digest::of(&text), "case {pieces} to {part}");
            assert_eq!(aside.finish(), Digest::of(&text[1..]), "case {pieces} to {part}");
        }
    }
}
