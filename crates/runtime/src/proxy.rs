//! Published ports: the shim owns the listening sockets, so they live as long as the container.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use shipway_linux::listen_tcp;

use crate::error::{Stage, StartFailure};
use crate::{ContainerSpec, PortMapping};

/// How often a free port is looked for that is free in both families.
const ATTEMPTS: usize = 16;

type Listening = Vec<(TcpListener, PortMapping)>;

/// How long a container may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Time until a connection is accepted again after the kernel has refused one.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens on every published port; a port in use is the failure. The mappings returned have the real numbers.
pub(crate) fn listen(spec: &ContainerSpec) -> Result<Listening, StartFailure> {
    let mut wanted = spec.publish.as_slice();
    let mut listening = Listening::new();
    while let Some((first, rest)) = wanted.split_first() {
        let twin = rest.first().filter(|second| is_twin(first, second));
        wanted = &rest[usize::from(twin.is_some())..];
        listening.extend(listen_both(first, twin)?);
    }
    Ok(listening)
}

/// Whether the second mapping is the same as the first in the other family.
fn is_twin(first: &PortMapping, second: &PortMapping) -> bool {
    first.host_ip == Ipv4Addr::UNSPECIFIED
        && second.host_ip == Ipv6Addr::UNSPECIFIED
        && (first.host_port, first.container_port) == (second.host_port, second.container_port)
}

fn listen_both(first: &PortMapping, twin: Option<&PortMapping>) -> Result<Listening, StartFailure> {
    let mut attempt = 1;
    loop {
        let one = bind(first)?;
        let Some(twin) = twin else { return Ok(vec![one]) };
        match bind(&PortMapping { host_port: one.1.host_port, ..*twin }) {
            Ok(other) => return Ok(vec![one, other]),
            Err(failure) if is_without_ipv6(&failure) => return Ok(vec![one]),
            Err(failure) if first.host_port != 0 || attempt == ATTEMPTS => return Err(failure),
            Err(_taken) => attempt += 1,
        }
    }
}

fn bind(mapping: &PortMapping) -> Result<(TcpListener, PortMapping), StartFailure> {
    let address = SocketAddr::new(mapping.host_ip, mapping.host_port);
    let bound = listen_tcp(address).and_then(|listener| {
        let host_port = listener.local_addr()?.port();
        Ok((listener, PortMapping { host_port, ..*mapping }))
    });
    bound.map_err(|error| StartFailure::new(Stage::Publish, address.to_string(), &error))
}

/// Whether the machine has IPv6 switched off.
fn is_without_ipv6(failure: &StartFailure) -> bool {
    const NO_FAMILY: i32 = 97;
    const NO_ADDRESS: i32 = 99;
    [NO_FAMILY, NO_ADDRESS].contains(&failure.errno)
}

/// Connects everybody who comes to the container. The threads end with the shim.
pub(crate) fn serve(listeners: Listening, address: Ipv4Addr) {
    for (listener, mapping) in listeners {
        let target = SocketAddr::from((address, mapping.container_port));
        thread::spawn(move || accept(&listener, target));
    }
}

fn accept(listener: &TcpListener, target: SocketAddr) {
    loop {
        let carried = listener.accept().and_then(|(connection, _peer)| {
            // The peer sees a closed connection, which is all there is to say.
            thread::Builder::new().spawn(move || drop(carry(&connection, target)))
        });
        if carried.is_err() {
            pause();
        }
    }
}

/// Until there may be descriptors and threads again.
#[expect(clippy::disallowed_methods, reason = "nothing tells when there are")]
fn pause() {
    thread::sleep(PAUSE);
}

fn carry(client: &TcpStream, target: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect_timeout(&target, CONNECT)?;
    let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
    let upward = thread::Builder::new().spawn(move || pass_on(&from_client, &to_server))?;
    pass_on(&server, client);
    drop(upward.join());
    Ok(())
}

/// Carries bytes one way until their end, which it passes on. After an error neither side waits for the other any longer.
fn pass_on(mut from: &TcpStream, mut to: &TcpStream) {
    let passed = io::copy(&mut from, &mut to).and_then(|_bytes| to.shutdown(Shutdown::Write));
    if passed.is_err() {
        for side in [from, to] {
            // One that is closed already is what is wanted.
            drop(side.shutdown(Shutdown::Both));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::IpAddr;

    use super::*;

    fn mapping(host_ip: IpAddr, host_port: u16) -> PortMapping {
        PortMapping { host_ip, host_port, container_port: 80 }
    }

    #[test]
    fn a_free_port_is_the_same_in_both_families() {
        let (four, six) = (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into());
        let spec = ContainerSpec { publish: vec![mapping(four, 0), mapping(six, 0)], ..Default::default() };
        let found: Vec<PortMapping> = listen(&spec).unwrap().into_iter().map(|(_, found)| found).collect();
        let port = found[0].host_port;
        assert_ne!(port, 0);
        assert_eq!(found, [mapping(four, port), mapping(six, port)][..found.len()]);
    }

    #[test]
    fn a_side_that_breaks_off_ends_the_other() {
        let (front, back) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let mut client = TcpStream::connect(front.local_addr().unwrap()).unwrap();
        let (accepted, target) = (front.accept().unwrap().0, back.local_addr().unwrap());
        let carrying = thread::spawn(move || carry(&accepted, target));
        let mut server = back.accept().unwrap().0;
        client.write_all(b"hello").unwrap();
        let mut hello = [0; 5];
        server.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"hello");
        // What is not read when a connection is closed makes it break off. The client has not said that it is done.
        client.write_all(b"more").unwrap();
        server.peek(&mut hello).unwrap();
        drop(server);
        let mut rest = Vec::new();
        // Whether as an end or as an error, it is told.
        drop(client.read_to_end(&mut rest));
        assert_eq!(rest, b"");
        carrying.join().unwrap().unwrap();
    }

    #[test]
    fn a_port_in_use_in_either_family_is_named() {
        let six = Ipv6Addr::UNSPECIFIED.into();
        let (taken, held) = bind(&mapping(six, 0)).unwrap();
        let both = vec![mapping(Ipv4Addr::UNSPECIFIED.into(), held.host_port), mapping(six, held.host_port)];
        let failure = listen(&ContainerSpec { publish: both, ..Default::default() }).unwrap_err();
        assert_eq!((failure.stage, failure.subject), (Stage::Publish, format!("[::]:{}", held.host_port)));
        drop(taken);
    }
}
