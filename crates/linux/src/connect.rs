//! Connecting to a server, for no longer than somebody wants to.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

/// How often is asked whether it is still wanted.
const LOOK: Duration = Duration::from_millis(50);

/// Connects to an address. It fails with `TimedOut` after `limit`, and with `ConnectionAborted` soon after `is_wanted` has returned false; the
/// handshake is not begun anew meanwhile.
pub fn connect_tcp(
    address: SocketAddr,
    limit: Option<Duration>,
    is_wanted: &dyn Fn() -> bool,
) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let stream = TcpStream::from(socket_with(family, SocketType::STREAM, flags, None)?);
    match connect(&stream, &address) {
        Ok(()) => {}
        // A signal does not end what has begun.
        Err(Errno::INPROGRESS | Errno::INTR) => await_connection(&stream, limit, is_wanted)?,
        Err(error) => return Err(error.into()),
    }
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn await_connection(
    stream: &TcpStream,
    limit: Option<Duration>,
    is_wanted: &dyn Fn() -> bool,
) -> io::Result<()> {
    let began = Instant::now();
    loop {
        if !is_wanted() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let left = limit.map_or(LOOK, |limit| limit.saturating_sub(began.elapsed()));
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let pause = left.min(LOOK);
        let pause = Timespec {
            tv_sec: i64::try_from(pause.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: pause.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(stream, PollFlags::OUT)], Some(&pause)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_ready) => return Ok(sockopt::socket_error(stream)??),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Returns a server that answers nobody any more, and what it has to hold for that.
    fn full() -> (SocketAddr, (TcpListener, Vec<TcpStream>)) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let address = listener.local_addr().unwrap();
        let short = Some(Duration::from_millis(100));
        let waiting = std::iter::from_fn(|| connect_tcp(address, short, &|| true).ok()).collect();
        (address, (listener, waiting))
    }

    #[test]
    fn a_connection_works_as_any_other() {
        use std::io::{Read as _, Write as _};
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let mut stream = connect_tcp(listener.local_addr().unwrap(), None, &|| true).unwrap();
            let (mut other, _) = listener.accept().unwrap();
            other.write_all(b"x").unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            assert_eq!(&byte, b"x");
        }
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let refused = connect_tcp(gone, None, &|| true).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn waiting_ends_with_the_limit_or_the_wish() {
        let (address, _open) = full();
        let limit = Duration::from_millis(120);
        let began = Instant::now();
        let error = connect_tcp(address, Some(limit), &|| true).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= limit);
        let asked = std::cell::Cell::new(0);
        let wanted = || asked.replace(asked.get() + 1) < 3;
        let error = connect_tcp(address, Some(Duration::from_secs(600)), &wanted).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(asked.get(), 4);
    }
}
