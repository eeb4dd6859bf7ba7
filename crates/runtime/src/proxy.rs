//! Published ports: the shim owns the listening sockets, so they live as long as the container.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::error::{Stage, StartFailure};
use crate::{ContainerSpec, PortMapping};

/// Listens on every published port; a port in use is the failure.
pub(crate) fn listen(spec: &ContainerSpec) -> Result<Vec<(TcpListener, PortMapping)>, StartFailure> {
    let bind = |mapping: &PortMapping| {
        let address = SocketAddr::new(mapping.host_ip, mapping.host_port);
        let listener = TcpListener::bind(address);
        listener
            .map(|listener| (listener, *mapping))
            .map_err(|error| StartFailure::new(Stage::Publish, address.to_string(), &error))
    };
    spec.publish.iter().map(bind).collect()
}

/// Connects everybody who comes to the container. The threads end with the shim.
pub(crate) fn serve(listeners: Vec<(TcpListener, PortMapping)>, address: Ipv4Addr) {
    for (listener, mapping) in listeners {
        let target = SocketAddr::from((address, mapping.container_port));
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                thread::spawn(move || {
                    // The peer sees a closed connection, which is all there is to say.
                    drop(carry(&connection, target));
                });
            }
        });
    }
}

fn carry(client: &TcpStream, target: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(target)?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    let upward = thread::spawn(move || {
        let copied = io::copy(&mut from_client, &mut to_server);
        to_server.shutdown(Shutdown::Write).and(copied)
    });
    let (mut from_server, mut to_client) = (&server, client);
    let copied = io::copy(&mut from_server, &mut to_client);
    client.shutdown(Shutdown::Write)?;
    drop(upward.join());
    copied.map(|_bytes| ())
}
