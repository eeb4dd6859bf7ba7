//! Netlink sockets: requests to the kernel's network, answered before the call returns.
//!
//! A socket belongs to the network namespace of the thread that opened it, whoever uses it later. The kernel handles a
//! request inside `send(2)`, so an answer that is not there then never comes: nothing here waits.

mod message;
mod route;

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

pub(crate) use message::{Message, attributes};
pub use route::{InterfaceAddress, Link, Route, RouteSocket, Veth};

/// A request that the kernel refused, or an answer that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("could not {operation}{detail}")]
pub struct NetlinkError {
    operation: String,
    detail: String,
    #[source]
    source: io::Error,
}

impl NetlinkError {
    /// Returns whether the thing exists already.
    pub fn exists_already(&self) -> bool {
        self.source.raw_os_error() == Some(libc::EEXIST)
    }

    /// Returns whether the thing, or what it would belong to, does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self.source.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::ESRCH))
    }
}

// Spec: include/uapi/linux/netlink.h.
pub(crate) const REQUEST: u16 = 0x1;
pub(crate) const ACKNOWLEDGE: u16 = 0x4;
pub(crate) const DUMP: u16 = 0x300;
pub(crate) const EXCLUSIVE: u16 = 0x200;
pub(crate) const CREATE: u16 = 0x400;
pub(crate) const APPEND: u16 = 0x800;
const INTERRUPTED: u16 = 0x10;
const CAPPED: u16 = 0x100;
const EXTENDED: u16 = 0x200;
const KIND_NOOP: u16 = 1;
const KIND_ERROR: u16 = 2;
const KIND_DONE: u16 = 3;
const SOL_NETLINK: libc::c_int = 270;
const OPTION_CAP_ACK: libc::c_int = 10;
const OPTION_EXTENDED_ACK: libc::c_int = 11;
const OPTION_STRICT: libc::c_int = 12;
const ATTEMPTS: u32 = 8;

/// One netlink message that the kernel sent.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) kind: u16,
    pub(crate) payload: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Socket {
    handle: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

enum Failure {
    /// The table changed while it was read.
    Changed,
    Refused(io::Error, String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Refused(error, String::new())
    }
}

impl Socket {
    /// Opens a socket of a protocol; none is rtnetlink, whose number is zero.
    pub(crate) fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let handle = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        for option in [OPTION_CAP_ACK, OPTION_EXTENDED_ACK, OPTION_STRICT] {
            let on: libc::c_int = 1;
            let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("four");
            // SAFETY: pointer and length describe a live integer. A kernel without the option only tells us less.
            unsafe {
                libc::setsockopt(handle.as_raw_fd(), SOL_NETLINK, option, (&raw const on).cast(), length)
            };
        }
        Ok(Self { handle, sequence: 1, buffer: vec![0; 64 << 10] })
    }

    /// Sends messages at once and returns what the kernel sent back, without acknowledgements.
    ///
    /// `operation` completes "could not …".
    pub(crate) fn exchange(
        &mut self,
        operation: &str,
        messages: &[Message],
    ) -> Result<Vec<Reply>, NetlinkError> {
        let mut attempt = 1;
        let (source, detail) = loop {
            match self.exchange_once(messages) {
                Ok(replies) => return Ok(replies),
                Err(Failure::Changed) if attempt < ATTEMPTS => attempt += 1,
                Err(Failure::Changed) => break (io::ErrorKind::Interrupted.into(), String::new()),
                Err(Failure::Refused(source, detail)) => break (source, detail),
            }
        };
        let detail = if detail.is_empty() { detail } else { format!(" ({detail})") };
        Err(NetlinkError { operation: operation.to_owned(), detail, source })
    }

    fn exchange_once(&mut self, messages: &[Message]) -> Result<Vec<Reply>, Failure> {
        let first = self.sequence;
        let mut request = Vec::new();
        let mut expected = 0_usize;
        for message in messages {
            message.write(self.sequence, &mut request);
            self.sequence = self.sequence.wrapping_add(1);
            expected += usize::from(message.flags() & (ACKNOWLEDGE | DUMP) != 0);
        }
        rustix::net::send(&self.handle, &request, SendFlags::empty()).map_err(io::Error::from)?;
        let (mut replies, mut refused, mut changed) = (Vec::new(), None, false);
        while expected > 0 {
            let length = match self.receive() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // A batch that failed as a whole answers for the messages that were wrong only.
                    let silent = || (io::Error::other("the kernel did not answer"), String::new());
                    let (error, detail) = refused.unwrap_or_else(silent);
                    return Err(Failure::Refused(error, detail));
                }
                other => other?,
            };
            for (header, payload) in message::split(&self.buffer[..length]) {
                if header.sequence.wrapping_sub(first) >= self.sequence.wrapping_sub(first) {
                    continue; // left over from an exchange that failed
                }
                changed |= header.flags & INTERRUPTED != 0;
                match header.kind {
                    KIND_NOOP => {}
                    KIND_DONE => {
                        expected -= 1;
                        if let Some(error) = error_in(payload) {
                            refused.get_or_insert((error, String::new()));
                        }
                    }
                    KIND_ERROR => {
                        expected = expected.saturating_sub(1);
                        if let Some(error) = error_in(payload) {
                            refused.get_or_insert((error, text_of(header.flags, payload)));
                        }
                    }
                    kind => replies.push(Reply { kind, payload: payload.to_vec() }),
                }
            }
        }
        match refused {
            Some((error, detail)) => Err(Failure::Refused(error, detail)),
            None if changed => Err(Failure::Changed),
            None => Ok(replies),
        }
    }

    /// Returns the length of the next datagram; the buffer grows to what is needed.
    fn receive(&mut self) -> io::Result<usize> {
        let peek = RecvFlags::PEEK | RecvFlags::TRUNC | RecvFlags::DONTWAIT;
        let (_, whole) = rustix::net::recv(&self.handle, &mut [0_u8; 0][..], peek)?;
        if whole > self.buffer.len() {
            self.buffer.resize(whole, 0);
        }
        Ok(rustix::net::recv(&self.handle, &mut self.buffer[..], RecvFlags::DONTWAIT)?.0)
    }
}

/// Returns the error that an acknowledgement carries; zero means success.
fn error_in(payload: &[u8]) -> Option<io::Error> {
    let code = i32::from_ne_bytes(payload.get(..4)?.try_into().ok()?);
    (code != 0).then(|| io::Error::from_raw_os_error(code.wrapping_neg()))
}

/// Returns the kernel's own words behind an error (`NLMSGERR_ATTR_MSG`).
fn text_of(flags: u16, payload: &[u8]) -> String {
    const HEADER: usize = 4 + 16;
    const TEXT: u16 = 1;
    if flags & EXTENDED == 0 || flags & CAPPED == 0 {
        return String::new();
    }
    let text = payload.get(HEADER..).and_then(|rest| attributes(rest).find(|(kind, _)| *kind == TEXT));
    text.map_or_else(String::new, |(_, bytes)| {
        String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
    })
}
