//! New files with whose content the disk begins while more comes.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::num::NonZeroU64;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, LazyLock, Weak};
use std::thread;

use rustix::fs::{Advice, OFlags, fadvise, fstatfs};
use rustix::io::Errno;

/// As soon as so many bytes are there, the disk begins with them.
const PIECE: u64 = 1 << 20;

/// So many pieces may wait for the disk; what is more goes with a later one, or with whoever syncs.
const WAITING: usize = 256;

/// So many are copied between two looks at that.
const AT_ONCE: u64 = 8 << 20;

/// A new file, written from its start, with whose content the disk begins while more comes: less is left to do for whoever waits for all
/// of it. Whoever writes does not wait for the disk meanwhile. Where the file system cannot, it is a file like any other.
#[derive(Debug)]
pub struct EarlyFile {
    file: File,
    written: u64,
    begun: u64,
    /// The same file, opened once it is long enough: nobody else waits because it is open for writing still.
    asked: OnceCell<Option<Arc<File>>>,
}

/// Bytes of a file, from one to before another.
struct Part {
    /// Of a file that is closed, whoever syncs writes the rest: neither it nor what it is mounted on is held open.
    file: Weak<File>,
    from: u64,
    to: u64,
}

impl EarlyFile {
    /// Takes a file that is empty.
    pub fn new(file: File) -> Self {
        Self { file, written: 0, begun: 0, asked: OnceCell::new() }
    }

    /// Returns the file.
    pub fn get_ref(&self) -> &File {
        &self.file
    }

    /// Returns how many bytes were written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Appends what is left of another file; the kernel copies where it can. Returns how many bytes that were.
    pub fn copy_from(&mut self, source: &File) -> io::Result<u64> {
        let before = self.written;
        loop {
            let copied = io::copy(&mut source.take(AT_ONCE), &mut self.file)?;
            self.add(copied);
            if copied < AT_ONCE {
                return Ok(self.written - before);
            }
        }
    }

    fn add(&mut self, bytes: u64) {
        self.written += bytes;
        if self.written - self.begun < PIECE {
            return;
        }
        let open = || open_again(&self.file).ok().map(Arc::new);
        if let Some(file) = self.asked.get_or_init(open)
            && begin(Part { file: Arc::downgrade(file), from: self.begun, to: self.written })
        {
            self.begun = self.written;
        }
    }
}

impl Write for EarlyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Has the disk begin with a part of a file; `false` where it has enough to do. Asking can take as long as the disk has other work, so a
/// thread of its own does it, which ends with the process.
fn begin(part: Part) -> bool {
    static ASKING: LazyLock<Option<SyncSender<Part>>> = LazyLock::new(|| {
        let (sender, parts) = sync_channel(WAITING);
        let started = thread::Builder::new().name("early".to_owned()).spawn(move || ask(&parts));
        started.ok().map(|_detached| sender)
    });
    // Without the thread everything is written by whoever syncs.
    ASKING.as_ref().is_some_and(|asking| asking.try_send(part).is_ok())
}

fn ask(parts: &Receiver<Part>) {
    while let Ok(Part { file, from, to }) = parts.recv() {
        let Some(file) = file.upgrade() else { continue };
        // An overlay does not pass `sync_file_range` on to the file that has the bytes, and the other one it does; where they are on
        // their way to the disk already they stay in the cache.
        let _only_earlier = match NonZeroU64::new(to - from) {
            Some(length) if is_in_overlay(&file) => fadvise(&file, from, Some(length), Advice::DontNeed),
            _ => sync_file_range(&file, from, to),
        };
    }
}

/// Opens a file for reading once more; whatever it is, that waits for nobody.
fn open_again(file: &File) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::options().read(true).custom_flags(flags).open(path)
}

/// Spec: sync_file_range(2).
fn sync_file_range(file: &File, from: u64, to: u64) -> rustix::io::Result<()> {
    let (Ok(from), Ok(length)) = (i64::try_from(from), i64::try_from(to - from)) else {
        return Err(Errno::FBIG);
    };
    // SAFETY: the descriptor is open, and the call takes numbers alone.
    let begun = unsafe { libc::sync_file_range(file.as_raw_fd(), from, length, libc::SYNC_FILE_RANGE_WRITE) };
    if begun == 0 { Ok(()) } else { Err(Errno::INVAL) }
}

fn is_in_overlay(file: &File) -> bool {
    const OVERLAY_MAGIC: i64 = 0x794c_7630;
    fstatfs(file).is_ok_and(|found| found.f_type == OVERLAY_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_early_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut file = EarlyFile::new(File::create(&path).unwrap());
        let content: Vec<u8> = (0..2_500_000_u32).flat_map(u32::to_le_bytes).collect();
        content.chunks(70_000).for_each(|piece| file.write_all(piece).unwrap());
        assert_eq!(file.get_ref().metadata().unwrap().len(), content.len() as u64);
        assert!(fs_err::read(&path).unwrap() == content);
        let mut copy = EarlyFile::new(File::create(dir.path().join("copy")).unwrap());
        let length = content.len() as u64;
        assert_eq!(copy.copy_from(&File::open(&path).unwrap()).unwrap(), length);
        assert_eq!(copy.copy_from(&File::open(&path).unwrap()).unwrap(), length);
        assert!(fs_err::read(dir.path().join("copy")).unwrap() == content.repeat(2));
    }
}
