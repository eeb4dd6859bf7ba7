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
pub const PACKER: &str = "gzip-2";

const LEVEL: u32 = 5;
const BLOCK: usize = 512 << 10;
/// Level of a block that does not get smaller: its bytes as they are. Trying it in vain costs more than all else of a push.
const STORED: u32 = 0;
/// So much of a block is tried, at its beginning and in its middle.
const SAMPLE: usize = 16 << 10;
const SAMPLE_LEVEL: u32 = 1;

/// Magic, deflate, no flags, no time, no hint, unknown system: nothing of this machine.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// A last block with nothing in it.
const END: [u8; 2] = [3, 0];

type Packed = io::Result<Vec<u8>>;

struct Job {
    block: Vec<u8>,
    level: u32,
    done: SyncSender<Packed>,
}

/// Compresses what is written to it.
#[derive(Debug)]
pub struct GzipWriter<W: Write> {
    out: W,
    level: u32,
    block: Vec<u8>,
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
        std::thread::spawn(move || work(&queue))
    };
    Ok(GzipWriter {
        out,
        level,
        block: Vec::with_capacity(BLOCK),
        checksum: Crc::new(),
        jobs: Some(jobs),
        waiting: VecDeque::new(),
        workers: (0..cores).map(worker).collect(),
    })
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // One who gave up does not want it.
        drop(job.done.send(deflate(job.level, &job.block)));
    }
}

/// Compresses one block up to a byte boundary, without an end mark.
fn deflate(level: u32, block: &[u8]) -> Packed {
    let level = if gets_smaller(block)? { level } else { STORED };
    deflate_at(level, block)
}

/// Returns whether at least one part of a block loses a thirtieth of its length, judged by its bytes alone.
fn gets_smaller(block: &[u8]) -> io::Result<bool> {
    if block.len() < 4 * SAMPLE {
        return Ok(true);
    }
    for start in [0, block.len() / 2] {
        let sample = &block[start..start + SAMPLE];
        if deflate_at(SAMPLE_LEVEL, sample)?.len() < SAMPLE - SAMPLE / 30 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn deflate_at(level: u32, block: &[u8]) -> Packed {
    let mut deflater = Compress::new(Compression::new(level), false);
    let mut out = Vec::with_capacity(if level == STORED { block.len() } else { block.len() / 2 } + 1024);
    loop {
        let taken = usize::try_from(deflater.total_in()).unwrap_or(block.len());
        deflater.compress_vec(&block[taken..], &mut out, FlushCompress::Sync).map_err(io::Error::other)?;
        if deflater.total_in() == block.len() as u64 && out.len() < out.capacity() {
            return Ok(out);
        }
        out.reserve(block.len() / 4 + 1024);
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
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        if let Some(jobs) = self.jobs.as_ref().filter(|_| !block.is_empty()) {
            let (done, packed) = sync_channel(1);
            self.checksum.update(&block);
            // A worker that is gone is noticed when its result is taken.
            drop(jobs.send(Job { block, level: self.level, done }));
            self.waiting.push_back(packed);
        }
    }

    /// Writes the oldest block that was sent; `false` if there is none.
    fn take_packed(&mut self) -> io::Result<bool> {
        let Some(packed) = self.waiting.pop_front() else { return Ok(false) };
        let packed =
            packed.recv().map_err(|_gone| io::Error::other("a compressing thread ended unexpectedly"))?;
        self.out.write_all(&packed?)?;
        Ok(true)
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == BLOCK {
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
        let packed = deflate(LEVEL, &noise).unwrap();
        assert!(packed.len() > BLOCK && packed.len() < BLOCK + BLOCK / 100, "{}", packed.len());
        let half = [&noise[..BLOCK / 2], &vec![7; BLOCK / 2]].concat();
        assert!(deflate(LEVEL, &half).unwrap().len() < BLOCK * 6 / 10);
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
