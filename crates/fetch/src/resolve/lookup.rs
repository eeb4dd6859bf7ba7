//! Asking name servers.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::ResolveError;
use super::message::{Answer, Kind, decode, encode};
use super::server_list::ServerList;
use crate::Stop;

/// Bounds of how long an answer is kept.
const SHORTEST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(600);

/// How often is looked whether an answer is still wanted.
const LOOK: Duration = Duration::from_millis(50);

/// What is known after asking one server for one name.
enum Outcome {
    Found(Vec<IpAddr>, Duration),
    /// The name has no addresses, says the server.
    Nothing,
}

/// Returns the addresses of `host` and how long they may be kept.
pub(super) fn resolve(
    host: &str,
    list: &ServerList,
    deadline: Option<Instant>,
    stop: &Stop,
) -> Result<(Vec<IpAddr>, Duration), ResolveError> {
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    let mut denied_by = None;
    let mut asked = 0;
    for name in list.candidates(host) {
        if encode(0, &name, Kind::V4).is_none() {
            return Err(ResolveError::Invalid { host: host.to_owned() });
        }
        let mut answered = false;
        'attempts: for _attempt in 0..list.attempts {
            for server in &list.servers {
                let left = time_left(list.timeout, deadline).filter(|_| !stop.is_stopped());
                let Some(timeout) = left else { break 'attempts };
                asked += 1;
                match ask(*server, &name, timeout, stop) {
                    Ok(Outcome::Found(found, lifetime)) => return Ok((found, lifetime)),
                    Ok(Outcome::Nothing) => {
                        denied_by = Some(server.ip());
                        answered = true;
                        break 'attempts;
                    }
                    Err(error) => last = error,
                }
            }
        }
        if !answered {
            // A server that is silent for one name will be for the next one too.
            let servers: Vec<String> = list.servers.iter().map(|server| server.ip().to_string()).collect();
            let servers = format!("{}, {asked} questions", servers.join(", "));
            return Err(ResolveError::NoAnswer { host: host.to_owned(), servers, source: last });
        }
    }
    let server = denied_by.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    Err(ResolveError::NotFound { host: host.to_owned(), server })
}

/// The timeout of one question; nothing if there is no time for one.
fn time_left(timeout: Duration, deadline: Option<Instant>) -> Option<Duration> {
    let left =
        deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()).min(timeout));
    (!left.is_zero()).then_some(left)
}

/// Asks one server for both families over one socket. IPv4 is what counts: a server that never answers for
/// IPv6 does not make the name unknown.
fn ask(server: SocketAddr, name: &str, timeout: Duration, stop: &Stop) -> io::Result<Outcome> {
    let until = Instant::now() + timeout;
    let local: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((local, 0))?;
    socket.connect(server)?;
    let mut questions = [Question::new(name, Kind::V4), Question::new(name, Kind::V6)];
    for question in &questions {
        socket.send(&question.bytes)?;
    }
    // Most answers come in a round trip; a lost datagram is sent once more within the timeout.
    let mut resend_at = Some(Instant::now() + timeout / 3);
    let mut buffer = [0; 1500];
    while questions.iter().any(|question| question.answer.is_none()) {
        let next = resend_at.unwrap_or(until).min(until);
        let left = next.saturating_duration_since(Instant::now());
        if left.is_zero() {
            if resend_at.take().is_none() || Instant::now() >= until {
                break;
            }
            if matches!(questions[0].answer, Some(Answer::Addresses(ref found, _)) if !found.is_empty()) {
                break;
            }
            for question in questions.iter().filter(|question| question.answer.is_none()) {
                socket.send(&question.bytes)?;
            }
            continue;
        }
        if stop.is_stopped() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        socket.set_read_timeout(Some(left.min(LOOK)))?;
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                continue;
            }
            Err(error) => return Err(error),
        };
        for question in &mut questions {
            question.take(&buffer[..length], server, until)?;
        }
    }
    combine(questions)
}

struct Question<'a> {
    name: &'a str,
    kind: Kind,
    id: u16,
    bytes: Vec<u8>,
    answer: Option<Answer>,
}

impl<'a> Question<'a> {
    fn new(name: &'a str, kind: Kind) -> Self {
        let [high, low, ..] = RandomState::new().hash_one(0_u8).to_be_bytes();
        let id = u16::from_be_bytes([high, low]);
        Self { name, kind, id, bytes: encode(id, name, kind).unwrap_or_default(), answer: None }
    }

    fn take(&mut self, message: &[u8], server: SocketAddr, until: Instant) -> io::Result<()> {
        let Some(answer) = decode(message, self.id, self.name, self.kind) else { return Ok(()) };
        self.answer = Some(match answer {
            Answer::Truncated => self.ask_by_stream(server, until)?,
            other => other,
        });
        Ok(())
    }

    /// Asks again over TCP, where there is room.
    fn ask_by_stream(&self, server: SocketAddr, until: Instant) -> io::Result<Answer> {
        let left = || {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(left) }
        };
        let mut stream = TcpStream::connect_timeout(&server, left()?)?;
        stream.set_read_timeout(Some(left()?))?;
        stream.set_write_timeout(Some(left()?))?;
        let length = u16::try_from(self.bytes.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), self.bytes.as_slice()].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut message)?;
        decode(&message, self.id, self.name, self.kind)
            .filter(|answer| *answer != Answer::Truncated)
            .ok_or_else(|| io::Error::other("the name server's answer cannot be read"))
    }
}

fn combine(questions: [Question<'_>; 2]) -> io::Result<Outcome> {
    let (mut found, mut lifetime, mut denied) = (Vec::new(), LONGEST, 0);
    let mut failure = io::Error::from(io::ErrorKind::TimedOut);
    for question in questions {
        match question.answer {
            Some(Answer::Addresses(addresses, seconds)) => {
                denied += usize::from(addresses.is_empty());
                found.extend(addresses);
                lifetime = lifetime.min(Duration::from_secs(seconds.into()));
            }
            Some(Answer::NoSuchName) => denied += 1,
            Some(Answer::Failed(code)) => {
                failure = io::Error::other(format!("the name server answered with error {code}"));
            }
            Some(Answer::Truncated) | None => {}
        }
    }
    match (found.is_empty(), denied) {
        (false, _) => Ok(Outcome::Found(found, lifetime.clamp(SHORTEST, LONGEST))),
        (true, 2) => Ok(Outcome::Nothing),
        (true, _) => Err(failure),
    }
}

#[cfg(test)]
mod tests;
