//! Being asked to stop, by Ctrl-C or a service manager.

use std::io;
use std::ptr;

/// `SIGINT` and `SIGTERM` held back, so that work in hand can be ended in order.
///
/// Programs started by `std::process::Command` do not inherit that.
#[derive(Debug)]
pub struct Interrupts {
    signals: libc::sigset_t,
}

impl Interrupts {
    /// Holds the signals back from this thread and those that it starts; to be called before there are others.
    pub fn hold() -> io::Result<Self> {
        // SAFETY: a set is plain data, and the next call gives it its value.
        let mut signals: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a live set.
        unsafe { libc::sigemptyset(&raw mut signals) };
        for signal in [libc::SIGINT, libc::SIGTERM] {
            // SAFETY: the set is initialised and the number is a signal's.
            unsafe { libc::sigaddset(&raw mut signals, signal) };
        }
        // SAFETY: the set lives through the call; the old mask is not asked for.
        let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, ptr::null_mut()) };
        if error == 0 { Ok(Self { signals }) } else { Err(io::Error::from_raw_os_error(error)) }
    }

    /// Waits for the next of them and returns its number.
    pub fn wait(&self) -> io::Result<i32> {
        let mut signal = 0;
        // SAFETY: both pointers are to live values.
        let error = unsafe { libc::sigwait(&raw const self.signals, &raw mut signal) };
        if error == 0 { Ok(signal) } else { Err(io::Error::from_raw_os_error(error)) }
    }
}
