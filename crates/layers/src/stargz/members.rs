//! Gzip members, on all cores. Spec: RFC 1951, RFC 1952.

use std::fs::File;
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use flate2::{Compression, GzBuilder};

/// So many bytes are compressed before what came of them is written.
const BATCH: u64 = 32 << 20;
/// And so many members.
const MEMBERS: usize = 4096;

/// Compresses bytes.
pub(super) fn compress(bytes: &[u8], level: u32) -> io::Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::new(level));
    gzip.write_all(bytes)?;
    gzip.finish()
}

/// Compresses what is between each two of `bounds`, the last part with `tail` behind it, and passes the members on in their order.
pub(super) fn compress_each(
    file: &File,
    bounds: &[u64],
    tail: &[u8],
    level: u32,
    out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let ranges: Vec<Range<u64>> = bounds.windows(2).map(|pair| pair[0]..pair[1]).collect();
    let mut left = ranges.as_slice();
    while !left.is_empty() {
        let mut bytes = 0;
        let within = |range: &&Range<u64>| {
            bytes += range.end - range.start;
            bytes <= BATCH
        };
        let count = left.iter().take(MEMBERS).take_while(within).count().max(1);
        let (batch, rest) = left.split_at(count);
        let last = rest.is_empty().then_some(tail);
        for member in compress_batch(file, batch, last, level) {
            out(&member?)?;
        }
        left = rest;
    }
    Ok(())
}

/// Compresses parts of a file side by side, the last one with `tail`.
fn compress_batch(
    file: &File,
    batch: &[Range<u64>],
    tail: Option<&[u8]>,
    level: u32,
) -> Vec<io::Result<Vec<u8>>> {
    let done: Vec<Mutex<io::Result<Vec<u8>>>> = batch.iter().map(|_| Mutex::new(Ok(Vec::new()))).collect();
    let next = AtomicUsize::new(0);
    let cores = thread::available_parallelism().map_or(1, usize::from).min(batch.len());
    thread::scope(|scope| {
        for _core in 0..cores {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let (Some(range), Some(place)) = (batch.get(at), done.get(at)) else { break };
                    let tail = tail.filter(|_| at + 1 == batch.len()).unwrap_or_default();
                    let member = compress_part(file, range, tail, level);
                    *place.lock().unwrap_or_else(PoisonError::into_inner) = member;
                }
            });
        }
    });
    done.into_iter().map(|place| place.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

fn compress_part(file: &File, range: &Range<u64>, tail: &[u8], level: u32) -> io::Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::new(level));
    let mut buffer = vec![0; 1 << 18];
    let mut at = range.start;
    while at < range.end {
        let wanted = usize::try_from(range.end - at).unwrap_or(buffer.len()).min(buffer.len());
        file.read_exact_at(&mut buffer[..wanted], at)?;
        gzip.write_all(&buffer[..wanted])?;
        at += wanted as u64;
    }
    gzip.write_all(tail)?;
    gzip.finish()
}
