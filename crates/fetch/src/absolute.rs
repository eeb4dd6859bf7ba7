//! Plain `http` through a proxy: the request line carries the whole address.
//!
//! ureq opens a tunnel with CONNECT for every request, which many proxies and every package cache refuse
//! for port 80. Spec: RFC 9112 section 3.2.2.

use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

/// Wraps connections for `http` addresses so that their request lines have the absolute form.
///
/// The addresses that the agent's resolver returns must be the proxy's.
#[derive(Debug)]
pub(crate) struct AbsoluteForm;

impl<In: Transport> Connector<In> for AbsoluteForm {
    type Out = Either<In, AbsoluteTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        let authority = details.uri.authority().map_or("", |authority| authority.as_str());
        Ok(Some(Either::B(AbsoluteTransport {
            prefix: format!("http://{authority}").into_bytes(),
            buffers: LazyBuffers::new(
                details.config.input_buffer_size(),
                details.config.output_buffer_size(),
            ),
            inner: TransportAdapter::new(transport.boxed(), details.current_time.clone()),
            at_request_line: true,
        })))
    }
}

pub(crate) struct AbsoluteTransport {
    prefix: Vec<u8>,
    buffers: LazyBuffers,
    inner: TransportAdapter,
    at_request_line: bool,
}

impl std::fmt::Debug for AbsoluteTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AbsoluteTransport").field("inner", &self.inner.inner()).finish_non_exhaustive()
    }
}

impl Transport for AbsoluteTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        use std::io::Write as _;
        self.inner.set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        // What is sent first after an answer is a request line; a body may follow it in further pieces.
        match output.iter().position(|byte| *byte == b' ') {
            Some(space) if self.at_request_line => {
                let (method, rest) = output.split_at(space + 1);
                self.inner.write_all(&[method, &self.prefix, rest].concat())?;
                self.at_request_line = false;
            }
            _ => self.inner.write_all(output)?,
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        use std::io::Read as _;
        self.inner.set_timeout(timeout);
        self.at_request_line = true;
        let amount = self.inner.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.inner.get_mut().is_open()
    }
}
