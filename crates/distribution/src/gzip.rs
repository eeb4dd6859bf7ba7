//! Gzip on all cores.
//!
//! The input is cut into blocks that are compressed independently of each other, so the same input gives the same bytes whatever
//! the number of cores is. The result is one ordinary gzip member. Spec: RFC 1951, RFC 1952.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use flate2::{Compress, Compression, Crc, FlushCompress};

/// Names how layers are compressed here; changes whenever the same layer would give other bytes.
pub const PACKER: &str = "gzip-3";

const LEVEL: u32 = 5;
const BLOCK: usize = 512 << 10;
/// More than a block can become.
const ROOM: usize = BLOCK + BLOCK / 8 + 1024;
/// Level of a block that does not get smaller: its bytes as they are. Trying it in vain costs more than all else of a push.
const STORED: u32 = 0;
/// So much of a block is tried, at its beginning and in its middle.
const SAMPLE: usize = 16 << 10;
const SAMPLE_LEVEL: u32 = 1;

/// Magic, deflate, no flags, no time, no hint, unknown system: nothing of this machine.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// A last block with nothing in it.
const END: [u8; 2] = [3, 0];

/// A block, and memory for what it becomes. Both are used again: new memory for each would cost as much as to hash it.
#[derive(Debug, Default)]
struct Block {
    content: Vec<u8>,
    packed: Vec<u8>,
}

type Packed = io::Result<Block>;

struct Job {
    block: Block,
    done: SyncSender<Packed>,
}

/// What compresses blocks, one after the other.
struct Packer {
    usual: Deflater,
    stored: Deflater,
    sample: Deflater,
}

/// One level, whose state is made when it is needed.
struct Deflater {
    level: u32,
    state: Option<Compress>,
}

/// Compresses what is written to it.
#[derive(Debug)]
pub struct GzipWriter<W: Write> {
    out: W,
    block: Block,
    /// Blocks that are done with.
    spare: Vec<Block>,
    checksum: Crc,
    jobs: Option<Sender<Job>>,
    waiting: VecDeque<Receiver<Packed>>,
    workers: Vec<JoinHandle<()>>,
}

/// Returns a writer that writes gzip to `out`. [`GzipWriter::finish`] ends it.
pub fn compress<W: Write>(out: W) -> io::Result<GzipWriter<W>> {
    compress_at(LEVEL, out)
}

/// Like [`compress`], with a level from 0 to 9.
pub(crate) fn compress_at<W: Write>(level: u32, mut out: W) -> io::Result<GzipWriter<W>> {
    out.write_all(&HEADER)?;
    let (jobs, queue) = channel::<Job>();
    let queue = Arc::new(Mutex::new(queue));
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(16);
    let worker = |_| {
        let queue = Arc::clone(&queue);
        std::thread::spawn(move || work(level, &queue))
    };
    Ok(GzipWriter {
        out,
        block: Block::default(),
        spare: Vec::new(),
        checksum: Crc::new(),
        jobs: Some(jobs),
        waiting: VecDeque::new(),
        workers: (0..cores).map(worker).collect(),
    })
}

fn work(level: u32, queue: &Mutex<Receiver<Job>>) {
    let mut packer = Packer::new(level);
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { mut block, done }) = job else { return };
        let packed = packer.deflate(&block.content, &mut block.packed).map(|()| block);
        // One who gave up does not want it.
        drop(done.send(packed));
    }
}

impl Packer {
    fn new(level: u32) -> Self {
        let [usual, stored, sample] =
            [level, STORED, SAMPLE_LEVEL].map(|level| Deflater { level, state: None });
        Self { usual, stored, sample }
    }

    /// Compresses one block up to a byte boundary, without an end mark.
    fn deflate(&mut self, block: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if self.gets_smaller(block, out)? {
            self.usual.deflate(block, out)
        } else {
            self.stored.deflate(block, out)
        }
    }

    /// Returns whether at least one part of a block loses a thirtieth of its length, judged by its bytes alone.
    fn gets_smaller(&mut self, block: &[u8], out: &mut Vec<u8>) -> io::Result<bool> {
        if block.len() < 4 * SAMPLE {
            return Ok(true);
        }
        for start in [0, block.len() / 2] {
            self.sample.deflate(&block[start..start + SAMPLE], out)?;
            if out.len() < SAMPLE - SAMPLE / 30 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Deflater {
    /// Compresses a block. There is always room for all that can come of it, so that how much there is has no part in what comes.
    fn deflate(&mut self, block: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let state = self.state.get_or_insert_with(|| Compress::new(Compression::new(self.level), false));
        state.reset();
        out.clear();
        out.reserve(ROOM);
        loop {
            let taken = usize::try_from(state.total_in()).unwrap_or(block.len());
            state.compress_vec(&block[taken..], out, FlushCompress::Sync).map_err(io::Error::other)?;
            if state.total_in() == block.len() as u64 && out.len() < out.capacity() {
                return Ok(());
            }
            out.reserve(ROOM);
        }
    }
}

impl<W: Write> GzipWriter<W> {
    /// Writes what is left and returns where it all went.
    pub fn finish(mut self) -> io::Result<W> {
        self.send_block();
        while self.take_packed()? {}
        self.out.write_all(&END)?;
        self.out.write_all(&self.checksum.sum().to_le_bytes())?;
        self.out.write_all(&self.checksum.amount().to_le_bytes())?;
        self.out.flush()?;
        self.jobs = None;
        for worker in self.workers.drain(..) {
            worker.join().map_err(|_panic| io::Error::other("a compressing thread ended unexpectedly"))?;
        }
        Ok(self.out)
    }

    fn send_block(&mut self) {
        let block = std::mem::replace(&mut self.block, self.spare.pop().unwrap_or_default());
        if let Some(jobs) = self.jobs.as_ref().filter(|_| !block.content.is_empty()) {
            let (done, packed) = sync_channel(1);
            self.checksum.update(&block.content);
            // A worker that is gone is noticed when its result is taken.
            drop(jobs.send(Job { block, done }));
            self.waiting.push_back(packed);
        }
    }

    /// Writes the oldest block that was sent; `false` if there is none.
    fn take_packed(&mut self) -> io::Result<bool> {
        let Some(packed) = self.waiting.pop_front() else { return Ok(false) };
        let packed =
            packed.recv().map_err(|_gone| io::Error::other("a compressing thread ended unexpectedly"))?;
        let mut block = packed?;
        self.out.write_all(&block.packed)?;
        block.content.clear();
        self.spare.push(block);
        Ok(true)
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let block = &mut self.block.content;
        let taken = bytes.len().min(BLOCK - block.len());
        // Short input never needs all of it.
        block.extend_from_slice(&bytes[..taken]);
        if block.len() == BLOCK {
            self.send_block();
            if self.waiting.len() > 2 * self.workers.len() {
                self.take_packed()?;
            }
        }
        Ok(taken)
    }

    /// Blocks are written when they are full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_block_is_stored_only_where_nothing_is_to_be_gained() {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_le_bytes()[3]
        };
        let noise: Vec<u8> = (0..BLOCK).map(|_| next()).collect();
        let deflate = |block: &[u8]| {
            let mut out = Vec::new();
            Packer::new(LEVEL).deflate(block, &mut out).map(|()| out).unwrap()
        };
        let packed = deflate(&noise);
        assert!(packed.len() > BLOCK && packed.len() < BLOCK + BLOCK / 100, "{}", packed.len());
        let half = [&noise[..BLOCK / 2], &vec![7; BLOCK / 2]].concat();
        assert!(deflate(&half).len() < BLOCK * 6 / 10);
        // What was compressed before has no part in it.
        let text: Vec<u8> = (0..BLOCK).map(|at| u8::try_from(at / 7 % 251).unwrap()).collect();
        let (mut packer, mut out) = (Packer::new(LEVEL), Vec::new());
        for block in [&text, &noise, &half, &noise[..99].to_vec(), &text, &half, &noise] {
            packer.deflate(block, &mut out).unwrap();
            assert_eq!((out == deflate(block), out.len() < ROOM), (true, true));
        }
    }

    #[test]
    fn what_was_compressed_comes_out_again() {
        let text: Vec<u8> = (0..3 * BLOCK + 17).map(|at| u8::try_from(at / 7 % 251).unwrap()).collect();
        let mut noise = text.clone();
        let mut state = 1_u32;
        noise.iter_mut().for_each(|byte| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = state.to_le_bytes()[3];
        });
        for (name, input) in [
            ("nothing", &[][..]),
            ("a byte", b"x"),
            ("text", &text),
            ("noise", &noise),
            ("block", &text[..BLOCK]),
            ("noise, then text", &[&noise[..BLOCK / 4], &text[..BLOCK]].concat()),
        ] {
            let mut writer = compress(Vec::new()).unwrap();
            writer.write_all(input).unwrap();
            let packed = writer.finish().unwrap();
            let mut out = Vec::new();
            flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut out).unwrap();
            assert!(out == input, "case {name}");
            let mut again = compress(Vec::new()).unwrap();
            input.chunks(1000).for_each(|chunk| again.write_all(chunk).unwrap());
            assert!(again.finish().unwrap() == packed, "case {name}: other pieces, other bytes");
        }
    }
}
