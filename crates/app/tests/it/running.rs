//! A running `shipway up`, and the page behind it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::machine::Machine;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// `SIGINT`. Spec: signal(7).
const SIGINT: i32 = 2;

/// A running `up`, ended with the value.
#[derive(Debug)]
pub(crate) struct Up {
    child: Child,
    out: mpsc::Receiver<String>,
    /// What was printed before the URL.
    seen: Vec<String>,
    notes: mpsc::Receiver<String>,
}

impl Up {
    /// Starts `up` and returns once it has printed where the page is.
    pub(crate) fn start(machine: &Machine, args: &[&str], patience: Duration) -> Self {
        let mut command = machine.command(args);
        let mut child = machine.spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let out = lines(child.stdout.take().unwrap());
        let notes = lines(child.stderr.take().unwrap());
        let mut seen = Vec::new();
        loop {
            match out.recv_timeout(patience) {
                Ok(line) if line.starts_with("http://127.0.0.1:") => break,
                Ok(line) => seen.push(line),
                Err(_) => panic!("no URL; said: {seen:?} {:?}", notes.try_iter().collect::<Vec<_>>()),
            }
        }
        Self { child, out, seen, notes }
    }

    fn signal(&self, signal: i32) {
        let pidfd = shipway_linux::open_pidfd(i32::try_from(self.child.id()).unwrap()).unwrap();
        shipway_linux::signal_pidfd(pidfd, signal).unwrap();
    }

    /// Waits until it has printed a line.
    pub(crate) fn prints(&self, wanted: &str) -> bool {
        self.seen.iter().any(|line| line == wanted)
            || std::iter::from_fn(|| self.out.recv_timeout(PATIENCE).ok()).any(|line| line == wanted)
    }

    /// Ends it as Ctrl-C does, and returns its notes.
    pub(crate) fn interrupt(mut self) -> Vec<String> {
        self.signal(SIGINT);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        self.notes.iter().collect()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn lines(stream: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Returns the page that an address of the machine serves.
pub(crate) fn get(machine: &Machine, address: SocketAddr) -> std::io::Result<String> {
    machine.inside(|| {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    })
}
