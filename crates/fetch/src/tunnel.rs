//! Connections through a proxy, and whose fault it is that there is none.

use std::error::Error;
use std::fmt;

use ureq::unversioned::transport::{ConnectProxyConnector, ConnectionDetails, Connector, Transport};

/// Connects to the proxy that is configured, if there is one, and asks it for the server. What is said to the server itself comes after it.
#[derive(Debug, Default)]
pub(crate) struct Tunnel(ConnectProxyConnector);

/// What went wrong between us and the proxy.
#[derive(Debug)]
pub(crate) struct OfProxy(pub(crate) ureq::Error);

impl fmt::Display for OfProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for OfProxy {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl<In: Transport> Connector<In> for Tunnel {
    type Out = <ConnectProxyConnector as Connector<In>>::Out;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        self.0.connect(details, chained).map_err(|error| ureq::Error::Other(Box::new(OfProxy(error))))
    }
}

/// Returns an error, and whether it is one of the way to the proxy.
pub(crate) fn of_proxy(error: ureq::Error) -> (ureq::Error, bool) {
    match error {
        ureq::Error::Other(other) => match other.downcast() {
            Ok(of_proxy) => {
                let OfProxy(inner) = *of_proxy;
                (inner, true)
            }
            Err(other) => (ureq::Error::Other(other), false),
        },
        other => (other, false),
    }
}
