//! Reading without waiting.

use std::fs::File;
use std::io::{self, IoSliceMut};

use rustix::io::{Errno, ReadWriteFlags, preadv2};

/// Reads from a place in a file what the kernel has in memory; `None` if it would have to wait for the disk, or cannot tell.
pub fn read_cached_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<Option<usize>> {
    match preadv2(file, &mut [IoSliceMut::new(buffer)], at, ReadWriteFlags::NOWAIT) {
        Ok(read) => Ok(Some(read)),
        Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn what_was_written_just_now_is_read_without_waiting() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"some text").unwrap();
        let mut buffer = [0; 16];
        // A file system that cannot tell is read as usual.
        let read = match read_cached_at(&file, &mut buffer, 5).unwrap() {
            Some(read) => read,
            None => file.read_at(&mut buffer, 5).unwrap(),
        };
        assert_eq!(&buffer[..read], b"text");
        assert_eq!(read_cached_at(&file, &mut buffer, 9).unwrap().unwrap_or(0), 0);
    }
}
