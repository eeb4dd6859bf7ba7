//! Listening for connections.

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

/// Connections that wait to be taken; the kernel lowers it to what the machine allows.
const BACKLOG: i32 = 4096;

/// Listens on an address. `[::]` means IPv6 alone: `0.0.0.0` can be listened on beside it.
pub fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Connections that have just ended do not keep the port.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn both_families_listen_on_one_port_and_nobody_twice() {
        let first = listen_tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).unwrap();
        let port = first.local_addr().unwrap().port();
        let again = listen_tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let other = listen_tcp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
        // A machine without IPv6 has no such address.
        assert!(other.is_ok() || other.unwrap_err().kind() != io::ErrorKind::AddrInUse);
    }
}
