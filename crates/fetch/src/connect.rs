//! Connections over TCP that a stop ends, also while they are being made: ureq's own wait in `connect(2)`, where nothing reaches them.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use shipway_linux::connect_tcp;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, ShutdownHandle, Transport,
};

use crate::Stop;
use crate::pace::Pace;

/// Connects to the first address that answers.
#[derive(Debug)]
pub(crate) struct Tcp(pub(crate) Stop);

impl<In: Transport> Connector<In> for Tcp {
    type Out = Either<In, TcpTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        // A connection to a proxy is there already.
        if let Some(chained) = chained {
            return Ok(Some(Either::A(chained)));
        }
        let stream = Arc::new(self.first_of(&details.addrs, details.timeout)?);
        if details.config.no_delay() {
            stream.set_nodelay(true)?;
        }
        let handle: Weak<TcpStream> = Arc::downgrade(&stream);
        (details.register_shutdown)(handle as Weak<dyn ShutdownHandle>)?;
        let (input, output) = (details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(TcpTransport {
            stream,
            buffers: LazyBuffers::new(input, output),
            limits: [None; 2],
            pace: Pace::default(),
        })))
    }
}

impl Tcp {
    /// Tries one address after another. One that is silent has half of the time that is left, the last one all of it.
    fn first_of(&self, addresses: &[SocketAddr], timeout: NextTimeout) -> Result<TcpStream, ureq::Error> {
        let limit = timeout.not_zero().map(|limit| *limit);
        let began = Instant::now();
        let is_wanted = || !self.0.is_stopped();
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for (place, address) in addresses.iter().enumerate() {
            let left = limit.map(|limit| limit.saturating_sub(began.elapsed()));
            let is_last = place + 1 == addresses.len();
            match connect_tcp(*address, left.map(|left| if is_last { left } else { left / 2 }), &is_wanted) {
                Ok(stream) => return Ok(stream),
                Err(error) if self.0.is_stopped() => return Err(error.into()),
                Err(error) => {
                    tracing::debug!(%address, %error, "not connected");
                    last = error;
                }
            }
        }
        Err(match last.kind() {
            io::ErrorKind::TimedOut => ureq::Error::Timeout(timeout.reason),
            _ => last.into(),
        })
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct TcpTransport {
    /// Shared with whoever ends it.
    stream: Arc<TcpStream>,
    buffers: LazyBuffers,
    /// For how long the kernel lets reads and writes wait.
    limits: [Option<Duration>; 2],
    pace: Pace,
}

/// Tells the kernel for how long to wait.
type SetLimit = fn(&TcpStream, Option<Duration>) -> io::Result<()>;

impl TcpTransport {
    /// Does something that may wait, for as long as it may; `None` if that was too short.
    fn within<T>(
        &mut self,
        limit: Option<Duration>,
        (place, set): (usize, SetLimit),
        work: impl FnOnce(&mut LazyBuffers, &TcpStream) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        if limit.is_some_and(|limit| limit.is_zero()) {
            return Ok(None);
        }
        if self.limits[place] != limit {
            set(&self.stream, limit)?;
            self.limits[place] = limit;
        }
        match work(&mut self.buffers, &self.stream) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(None)
            }
            done => done.map(Some),
        }
    }
}

/// Returns for how long one may wait; nothing if that is over, `None` if there is no limit.
fn limit_of(timeout: NextTimeout) -> Option<Duration> {
    if timeout.after.is_zero() { Some(Duration::ZERO) } else { timeout.not_zero().map(|limit| *limit) }
}

impl Transport for TcpTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.pace.restart();
        let timeout = timeout.for_write();
        let sent =
            self.within(limit_of(timeout), (0, TcpStream::set_write_timeout), |buffers, mut stream| {
                stream.write_all(&buffers.output()[..amount])
            })?;
        sent.ok_or(ureq::Error::Timeout(timeout.reason))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let window = timeout.per_read.map(|window| *window);
        let timeout = timeout.for_read();
        let patience = window.map(|window| self.pace.patience(window));
        let limit = [limit_of(timeout), patience].into_iter().flatten().min();
        let read = self.within(limit, (1, TcpStream::set_read_timeout), |buffers, mut stream| {
            loop {
                // A program that was stopped meanwhile has not waited for the server.
                let began = Instant::now();
                match stream.read(buffers.input_append_buf()) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    done => return done.map(|amount| (amount, began.elapsed())),
                }
            }
        })?;
        let (amount, waited) = read.unwrap_or((0, limit.unwrap_or_default()));
        self.buffers.input_appended(amount);
        if let Some(window) = window
            && let Err(slow) = self.pace.note(amount, waited, window)
        {
            return Err(io::Error::new(io::ErrorKind::TimedOut, slow).into());
        }
        if read.is_some() { Ok(amount > 0) } else { Err(ureq::Error::Timeout(timeout.reason)) }
    }

    /// One on which bytes wait that nobody has asked for is of no use either.
    fn is_open(&mut self) -> bool {
        let probe = || {
            self.stream.set_nonblocking(true)?;
            let found = self.stream.peek(&mut [0]);
            self.stream.set_nonblocking(false)?;
            found
        };
        probe().is_err_and(|error: io::Error| error.kind() == io::ErrorKind::WouldBlock)
    }
}
