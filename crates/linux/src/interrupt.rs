//! Signals taken when it suits: being asked to stop, by Ctrl-C or a service manager, and others.

use std::io;
use std::ptr;

/// Signals held back, so that they can be waited for.
///
/// Programs started by `std::process::Command` inherit that; those of ours take them again with [`take_signals`].
#[derive(Debug)]
pub struct Signals {
    set: libc::sigset_t,
}

impl Signals {
    /// Holds signals back from this thread and those that it starts; to be called before there are others.
    pub fn hold(signals: &[i32]) -> io::Result<Self> {
        // SAFETY: a set is plain data, and the next call gives it its value.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a live set.
        unsafe { libc::sigemptyset(&raw mut set) };
        for signal in signals {
            // SAFETY: the set is initialised; a number that is no signal's is refused.
            unsafe { libc::sigaddset(&raw mut set, *signal) };
        }
        // SAFETY: the set lives through the call; the old mask is not asked for.
        let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) };
        if error == 0 { Ok(Self { set }) } else { Err(io::Error::from_raw_os_error(error)) }
    }

    /// Waits for the next of them and returns its number.
    pub fn wait(&self) -> io::Result<i32> {
        let mut signal = 0;
        // SAFETY: both pointers are to live values.
        let error = unsafe { libc::sigwait(&raw const self.set, &raw mut signal) };
        if error == 0 { Ok(signal) } else { Err(io::Error::from_raw_os_error(error)) }
    }
}

/// Takes all signals again that whoever started this program has held back; to be called before there are other threads.
pub fn take_signals() {
    // SAFETY: a set is plain data, and the next call gives it its value.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live set.
    unsafe { libc::sigemptyset(&raw mut set) };
    // SAFETY: the set lives through the call; the old mask is not asked for. It cannot fail with these arguments.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut()) };
}

/// Returns whether whoever started this program has it ignore a signal.
fn is_ignored(signal: i32) -> bool {
    // SAFETY: an action is plain data, and the next call gives it its value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live value; nothing is changed.
    let known = unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) };
    known == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// `SIGINT` and `SIGTERM` held back, and `SIGHUP` and `SIGQUIT` unless they are ignored (nohup(1)), so that work in hand can be ended in
/// order.
#[derive(Debug)]
pub struct Interrupts(Signals);

impl Interrupts {
    /// Holds the signals back from this thread and those that it starts; to be called before there are others.
    pub fn hold() -> io::Result<Self> {
        let mut signals = vec![libc::SIGINT, libc::SIGTERM];
        // One that is held back comes although it is ignored.
        signals.extend([libc::SIGHUP, libc::SIGQUIT].into_iter().filter(|signal| !is_ignored(*signal)));
        Ok(Self(Signals::hold(&signals)?))
    }

    /// Waits for the next of them and returns its number.
    pub fn wait(&self) -> io::Result<i32> {
        self.0.wait()
    }
}
