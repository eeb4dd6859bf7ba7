//! Waiting for a descriptor to become readable.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use shipway_linux::Inotify;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Descriptors that stay the same as long as they live, which the reactor relies on.
pub(crate) trait Steady: std::os::fd::AsRawFd {}
impl Steady for OwnedFd {}
impl Steady for Inotify {}
impl Steady for File {}

/// Lets the reactor wait until a descriptor can be read.
pub(crate) fn readable<T: Steady>(descriptor: T) -> io::Result<AsyncFd<T>> {
    watched(descriptor, Interest::READABLE)
}

/// Lets the reactor wait for a descriptor.
pub(crate) fn watched<T: Steady>(descriptor: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    #[expect(
        deprecated,
        reason = "its successor is unsafe; what is asked of callers there is what `Steady` says"
    )]
    AsyncFd::with_interest(descriptor, interest)
}
