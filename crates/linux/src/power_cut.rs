//! Stopping a file system as a power cut would: for tests of what must outlast one.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// `_IOR('X', 125, __u32)`: ext4, XFS and F2FS stop at once.
const SHUTDOWN: libc::c_ulong = 0x8004_587d;

/// Nothing more is written, not even the journal.
static WITHOUT_LOG: u32 = 2;

/// Stops the file system that `path` is on: what was not on the disk is lost, and everything fails until it is mounted again.
///
/// Never the one that `/` or the working directory is on.
pub fn cut_power(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let device = file.metadata()?.dev();
    for kept in ["/", "."] {
        if std::fs::metadata(kept)?.dev() == device {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the system itself is on it"));
        }
    }
    // SAFETY: the descriptor is open and the argument points to the number that the call reads.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), SHUTDOWN, &raw const WITHOUT_LOG) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_itself_goes_on() {
        for path in ["/", "."] {
            assert_eq!(cut_power(Path::new(path)).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        }
    }
}
