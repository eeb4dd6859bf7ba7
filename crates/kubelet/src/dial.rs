//! Connections to ports of pods.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::error::DialError;
use crate::machine::Machine;

/// How long the program may take to accept.
const CONNECT: Duration = Duration::from_secs(5);

/// Connects to `address`, and if nobody listens there to the loopback device inside the container `inside`.
pub(crate) async fn dial(
    machine: &Arc<dyn Machine>,
    pod: &str,
    (address, port): (Ipv4Addr, u16),
    inside: Option<String>,
) -> Result<TcpStream, DialError> {
    let refused = match connect(address, port).await {
        Ok(stream) => return Ok(stream),
        Err(error) => error,
    };
    if let Some(id) = inside {
        let machine = Arc::clone(machine);
        let joined = tokio::task::spawn_blocking(move || machine.connect_inside(&id, port)).await;
        if let Ok(Ok(stream)) = joined
            && stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            return Ok(stream);
        }
    }
    Err(DialError::Refused {
        pod: pod.to_owned(),
        address: format!("{address}:{port}"),
        port,
        source: refused,
    })
}

async fn connect(address: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    let connect = TcpStream::connect(SocketAddr::from((address, port)));
    let stream = match tokio::time::timeout(CONNECT, connect).await {
        Ok(outcome) => outcome?,
        Err(_late) => return Err(std::io::ErrorKind::TimedOut.into()),
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}
