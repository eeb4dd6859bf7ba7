//! Decompressing on a thread of its own: of a large layer that takes as long as all the rest, to hash it and to write it.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, Scope};

use crate::LayerError;
use crate::decompress::{Plain, open_bounded};

/// A layer of up to so many bytes is done before a thread would be of use: others are taken in at the same time.
const SHORT: u64 = 16 << 20;
/// What goes from one thread to the other at a time, and how much may wait there.
const PIECE: usize = 256 << 10;
const WAITING: usize = 4;

/// Gives what is in an archive that may be compressed to `take`; of a long one it is decompressed while `take` does something with what came
/// before. Errors of the archive are those of reading. `input` is not read to its end; where `take` ends early, what is being read of it is
/// still waited for.
pub fn decompress_ahead<T>(
    input: &mut (dyn BufRead + Send),
    take: impl FnOnce(&mut dyn Read) -> T,
) -> Result<T, LayerError> {
    let Plain { reader, is_compressed } = open_bounded(Box::new(input))?;
    thread::scope(|scope| {
        let source = Source::Here(reader);
        let mut ahead = Ahead { scope, source, given: 0, is_compressed };
        Ok(take(&mut ahead))
    })
}

/// The reading end.
struct Ahead<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    source: Source<'env>,
    given: u64,
    is_compressed: bool,
}

/// Where bytes come from.
enum Source<'env> {
    Here(Box<dyn Read + Send + 'env>),
    There(Pieces),
}

/// What another thread sends.
struct Pieces {
    receiver: Receiver<io::Result<Vec<u8>>>,
    /// Takes buffers that are not in use.
    spare: Sender<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    /// The last piece has come: it is shorter than the others.
    is_over: bool,
}

impl Read for Ahead<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_compressed && self.given >= SHORT {
            self.move_on();
        }
        let read = match &mut self.source {
            Source::Here(reader) => reader.read(buffer)?,
            Source::There(pieces) => pieces.read(buffer)?,
        };
        self.given += read as u64;
        Ok(read)
    }
}

impl Ahead<'_, '_> {
    /// Lets another thread go on, unless one does already.
    fn move_on(&mut self) {
        if let Source::There(_) = self.source {
            return;
        }
        let (sender, receiver) = sync_channel(WAITING);
        let (spare, spares) = channel();
        let pieces = Pieces { receiver, spare, piece: Vec::new(), at: 0, is_over: false };
        if let Source::Here(reader) = std::mem::replace(&mut self.source, Source::There(pieces)) {
            self.scope.spawn(move || send(reader, &sender, &spares));
        }
    }
}

fn send(
    mut reader: Box<dyn Read + Send + '_>,
    sender: &SyncSender<io::Result<Vec<u8>>>,
    spares: &Receiver<Vec<u8>>,
) {
    loop {
        let mut piece = spares.try_recv().unwrap_or_else(|_none| vec![0; PIECE]);
        piece.resize(PIECE, 0);
        let filled = fill(&mut *reader, &mut piece);
        let is_last = !matches!(filled, Ok(PIECE));
        let filled = filled.map(|length| {
            piece.truncate(length);
            piece
        });
        // One who has what he wanted, or has failed, takes no more.
        if sender.send(filled).is_err() || is_last {
            return;
        }
    }
}

/// Reads until the buffer is full or nothing comes any more.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match reader.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() && !self.is_over {
            // Where it does not wait for buffers any more it is at the end.
            drop(self.spare.send(std::mem::take(&mut self.piece)));
            self.at = 0;
            // After an error there is nothing more; that is no end.
            self.piece = self.receiver.recv().map_err(|_ended| io::ErrorKind::UnexpectedEof)??;
            self.is_over = self.piece.len() < PIECE;
        }
        let rest = &self.piece[self.at..];
        let read = buffer.len().min(rest.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        self.at += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decompress::tests::gzip;

    fn text(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at / 5 % 251).unwrap()).collect()
    }

    fn read(mut packed: &[u8], limit: u64) -> io::Result<Vec<u8>> {
        let take = |reader: &mut dyn Read| {
            let mut out = Vec::new();
            reader.take(limit).read_to_end(&mut out).map(|_| out)
        };
        decompress_ahead(&mut packed, take).unwrap()
    }

    #[test]
    fn what_is_decompressed_ahead_is_the_same() {
        let short = usize::try_from(SHORT).unwrap();
        for length in [0, 1, short - 1, short, short + 1, short + PIECE, 3 * short + 17] {
            let text = text(length);
            assert!(read(&gzip(&text), u64::MAX).unwrap() == text, "case {length}");
            assert!(read(&text, u64::MAX).unwrap() == text, "case {length}, plain");
        }
    }

    #[test]
    fn one_who_wants_no_more_is_not_held_up() {
        let text = text(usize::try_from(4 * SHORT).unwrap());
        let some = read(&gzip(&text), SHORT + 5).unwrap();
        assert!(some == text[..some.len()]);
        assert_eq!(some.len() as u64, SHORT + 5);
    }

    #[test]
    fn what_breaks_off_far_in_is_an_error() {
        let packed = gzip(&text(usize::try_from(4 * SHORT).unwrap()));
        for cut in [packed.len() / 100, packed.len() / 2, packed.len() - 1] {
            assert_eq!(read(&packed[..cut], u64::MAX).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
        let mut damaged = packed;
        let at = damaged.len() * 3 / 4;
        damaged[at..at + 50].fill(0x55);
        let again = |reader: &mut dyn Read| {
            let first = io::copy(reader, &mut io::sink());
            (first.is_err(), reader.read(&mut [0]).is_err())
        };
        let failed = decompress_ahead(&mut damaged.as_slice(), again).unwrap();
        assert_eq!(failed, (true, true), "what follows an error is no end");
    }
}
