//! What a layer goes through from one thread to another: from the one that downloads it to the one that makes a tree of it, from the one
//! that compresses it to the one that sends it.

use std::io::{self, BufRead, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use crate::aside::Aside;

/// What goes from one thread to the other at a time, and how much may wait there.
const PIECE: usize = 256 << 10;
const WAITING: usize = 8;

/// Some bytes of a layer, at the beginning of their buffer.
#[derive(Debug)]
pub(crate) struct Piece {
    buffer: Vec<u8>,
    length: usize,
}

impl Piece {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

/// Buffers that are not in use. To get new memory from the kernel for each piece would cost more than to fill it.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pieces: Mutex<Vec<Vec<u8>>>,
    long: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    /// Returns an empty buffer for a whole layer; [`Buffers::take_back_long`] takes it again.
    pub(crate) fn long(&self) -> Vec<u8> {
        self.long.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Takes such a buffer back.
    pub(crate) fn take_back_long(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.long.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }

    fn piece(&self) -> Piece {
        let spare = self.pieces.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Piece { buffer: spare.unwrap_or_else(|| vec![0; PIECE]), length: 0 }
    }

    /// Reads until a piece is full or nothing comes any more.
    pub(crate) fn fill(&self, reader: &mut dyn Read) -> io::Result<Piece> {
        let mut piece = self.piece();
        while piece.length < PIECE {
            match reader.read(&mut piece.buffer[piece.length..])? {
                0 => break,
                read => piece.length += read,
            }
        }
        Ok(piece)
    }

    /// Takes the buffer of a piece back.
    pub(crate) fn take_back(&self, piece: Piece) {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner).push(piece.buffer);
    }
}

/// The reading end.
pub(crate) struct Pipe<'a> {
    receiver: Receiver<io::Result<Piece>>,
    buffers: &'a Buffers,
    /// Gets what was read.
    aside: Option<&'a Aside<'a>>,
    piece: Option<Piece>,
    at: usize,
}

impl<'a> Pipe<'a> {
    /// Returns both ends.
    pub(crate) fn new(buffers: &'a Buffers) -> (SyncSender<io::Result<Piece>>, Self) {
        let (sender, receiver) = sync_channel(WAITING);
        (sender, Self { receiver, buffers, aside: None, piece: None, at: 0 })
    }

    /// Lets what is read be hashed then.
    pub(crate) fn hashed_by(self, aside: &'a Aside<'a>) -> Self {
        Self { aside: Some(aside), ..self }
    }

    /// Waits for the next piece; `false` at the end.
    fn next(&mut self) -> io::Result<bool> {
        if let Some(piece) = self.piece.take() {
            match self.aside {
                Some(aside) => aside.push(piece),
                None => self.buffers.take_back(piece),
            }
        }
        self.at = 0;
        self.piece = match self.receiver.recv() {
            Ok(piece) => Some(piece?),
            Err(_closed) => None,
        };
        Ok(self.piece.is_some())
    }

    /// Appends what comes next, of any length; `false` at the end.
    pub(crate) fn append_to(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        let is_there = self.next()?;
        out.extend_from_slice(self.piece.as_ref().map_or(&[], Piece::bytes));
        self.at = self.piece.as_ref().map_or(0, |piece| piece.length);
        Ok(is_there)
    }

    /// Reads to the end, or to what ended it.
    pub(crate) fn drain(&mut self) {
        while let Ok(true) = self.next() {}
    }
}

impl BufRead for Pipe<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.piece.as_ref().is_none_or(|piece| piece.length == self.at) {
            if !self.next()? {
                return Ok(&[]);
            }
        }
        Ok(self.piece.as_ref().map_or(&[], |piece| &piece.bytes()[self.at..]))
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

/// The writing end for bytes that come in parts of any size. What it holds goes on with [`Write::flush`] only; what is left when it is
/// dropped is lost.
pub(crate) struct Inlet<'a> {
    sender: SyncSender<io::Result<Piece>>,
    buffers: &'a Buffers,
    piece: Piece,
    is_closed: &'a AtomicBool,
}

impl<'a> Inlet<'a> {
    /// Writes into a pipe. `is_closed` is set when nobody reads any more, which fails what is written then.
    pub(crate) fn new(
        sender: SyncSender<io::Result<Piece>>,
        buffers: &'a Buffers,
        is_closed: &'a AtomicBool,
    ) -> Self {
        Self { sender, buffers, piece: buffers.piece(), is_closed }
    }
}

impl Write for Inlet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.piece.length);
        self.piece.buffer[self.piece.length..][..taken].copy_from_slice(&bytes[..taken]);
        self.piece.length += taken;
        if self.piece.length == PIECE {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.length == 0 {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, self.buffers.piece());
        self.sender.send(Ok(piece)).map_err(|_closed| {
            self.is_closed.store(true, Ordering::Relaxed);
            io::ErrorKind::BrokenPipe.into()
        })
    }
}
