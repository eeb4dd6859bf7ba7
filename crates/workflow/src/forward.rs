//! A local port that leads to whichever pod is ready.

mod target;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Deployed;
use target::Target;

/// Connections at a time; others wait in the kernel's queue.
const CONNECTIONS: usize = 1024;
/// Time until a connection is accepted again after the kernel has refused one.
const PAUSE: Duration = Duration::from_millis(100);

/// Listening sockets on 127.0.0.1 and, where the machine has IPv6, on `::1`.
///
/// Made before the image is built, so that a port in use is known at once and not after minutes.
#[derive(Debug)]
pub struct Forward {
    port: u16,
    listeners: Vec<TcpListener>,
}

/// The local port could not be had.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ForwardError {
    /// Somebody else listens there.
    #[error("port {port} is in use on {address}")]
    #[diagnostic(
        code(forward::in_use),
        help("stop what listens there, or choose another: `shipway up --port <LOCAL>`")
    )]
    InUse {
        /// The port.
        port: u16,
        /// The address.
        address: IpAddr,
    },
    /// The kernel refused for another reason.
    #[error("could not listen on {address} port {port}")]
    #[diagnostic(code(forward::listen), help("choose another port: `shipway up --port <LOCAL>`"))]
    Listen {
        /// The port.
        port: u16,
        /// The address.
        address: IpAddr,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Forward {
    /// Listens on `port` of both loopback addresses.
    pub async fn listen(port: u16) -> Result<Self, ForwardError> {
        let mut listeners = vec![bind(IpAddr::V4(Ipv4Addr::LOCALHOST), port).await?];
        match bind(IpAddr::V6(Ipv6Addr::LOCALHOST), port).await {
            Ok(listener) => listeners.push(listener),
            // A machine without IPv6 has no such address.
            Err(ForwardError::Listen { source, .. })
                if matches!(source.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported) => {}
            Err(error) => return Err(error),
        }
        Ok(Self { port, listeners })
    }

    /// Returns the local addresses.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Returns the local port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Serves connections until `stop`: each one is connected to `port` of a pod of `deployed` that is ready then, or soon after.
    pub async fn serve(self, client: kube::Client, deployed: Deployed, port: u16, stop: CancellationToken) {
        let target = Arc::new(Target::new(&client, &deployed, port));
        let tracker = TaskTracker::new();
        for listener in self.listeners {
            tracker.spawn(accept(listener, Arc::clone(&target), tracker.clone(), stop.clone()));
        }
        tracker.close();
        tracker.wait().await;
    }
}

async fn bind(address: IpAddr, port: u16) -> Result<TcpListener, ForwardError> {
    TcpListener::bind((address, port)).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ForwardError::InUse { port, address },
        _ => ForwardError::Listen { port, address, source },
    })
}

async fn accept(listener: TcpListener, target: Arc<Target>, tracker: TaskTracker, stop: CancellationToken) {
    let limit = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accept = async {
            let permit = Arc::clone(&limit).acquire_owned().await.expect("nobody closes it");
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = stop.cancelled() => return,
            accepted = accept => accepted,
        };
        match accepted {
            Ok((connection, _peer)) => {
                let (target, stop) = (Arc::clone(&target), stop.clone());
                tracker.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        done = target.carry(connection) => if let Err(error) = done {
                            tracing::warn!(%error, "a forwarded connection failed");
                        },
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_said_before_anything_else() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(
            matches!(Forward::listen(port).await, Err(ForwardError::InUse { port: named, .. }) if named == port)
        );
    }
}
