//! Probes: whether a container has started, is ready, is alive.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Container, ExecAction, HTTPGetAction, Probe, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use shipway_runtime::ExecSpec;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::exec::{Streams, start};
use crate::machine::Machine;

/// Most of an answer that is read.
const ANSWER: u64 = 10 * 1024;
/// Time between looks before the first success; what fails in between is not counted.
const EAGER: Duration = Duration::from_millis(250);

/// What a probe decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// Whether the others may begin.
    Startup,
    /// Whether traffic may come.
    Readiness,
    /// Whether it should go on living.
    Liveness,
}

impl Purpose {
    /// Returns its name in events.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }

    /// Returns the probe of a container.
    pub(crate) fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
        }
    }
}

/// What a look showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Enough successes in a row.
    Good,
    /// Enough failures in a row; what was wrong last.
    Bad(String),
    /// A failure that alone decides nothing.
    Warning(String),
}

/// Counts in a row.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    successes: u32,
    failures: u32,
}

impl Tally {
    /// Counts one outcome; returns what it means.
    fn count(&mut self, outcome: Result<(), String>, probe: &Probe) -> Option<Finding> {
        let threshold =
            |value: Option<i32>, default| u32::try_from(value.unwrap_or(default)).unwrap_or(1).max(1);
        match outcome {
            Ok(()) => {
                *self = Self { successes: self.successes.saturating_add(1), failures: 0 };
                (self.successes >= threshold(probe.success_threshold, 1)).then_some(Finding::Good)
            }
            Err(why) => {
                *self = Self { successes: 0, failures: self.failures.saturating_add(1) };
                let enough = self.failures >= threshold(probe.failure_threshold, 3);
                Some(if enough { Finding::Bad(why) } else { Finding::Warning(why) })
            }
        }
    }
}

/// What is looked at.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The machine.
    pub machine: Arc<dyn Machine>,
    /// The container's id.
    pub id: String,
    /// The pod's address.
    pub address: Ipv4Addr,
    /// The container, for its named ports.
    pub container: Arc<Container>,
}

/// Looks again and again, and calls `report` with what it means, until it is dropped.
pub(crate) async fn watch(target: Target, purpose: Purpose, probe: Probe, report: impl Fn(Finding)) {
    let seconds = |value: Option<i32>, default: u64| {
        value.and_then(|value| u64::try_from(value).ok()).map_or(default, |value| value)
    };
    let period = Duration::from_secs(seconds(probe.period_seconds, 10).max(1));
    tokio::time::sleep(Duration::from_secs(seconds(probe.initial_delay_seconds, 0))).await;
    let mut tally = Tally::default();
    let mut eager = purpose != Purpose::Liveness;
    let begin = Instant::now();
    let mut counted = begin;
    loop {
        let outcome = look(&target, &probe).await;
        let good = outcome.is_ok();
        // Upstream's next look is a period away: failures before that are ours alone.
        let counts = good || !eager || counted.elapsed() >= period;
        if counts {
            counted = Instant::now();
            tally.count(outcome, &probe).into_iter().for_each(&report);
        }
        eager &= !good;
        tokio::time::sleep(if eager { EAGER.min(period) } else { period }).await;
    }
}

/// Looks once.
pub(crate) async fn look(target: &Target, probe: &Probe) -> Result<(), String> {
    let limit = u64::try_from(probe.timeout_seconds.unwrap_or(1)).unwrap_or(1).max(1);
    let limit = Duration::from_secs(limit);
    let look: BoxFuture<'_, Result<(), String>> = if let Some(exec) = &probe.exec {
        Box::pin(run(target, exec))
    } else if let Some(get) = &probe.http_get {
        Box::pin(get_page(target, get))
    } else if let Some(socket) = &probe.tcp_socket {
        Box::pin(connect_only(target, socket))
    } else {
        return Err("probes of this kind are not available yet".to_owned());
    };
    match tokio::time::timeout(limit, look).await {
        Ok(outcome) => outcome,
        Err(_late) => Err(format!("timed out after {} s", limit.as_secs())),
    }
}

/// Runs a program in the container; anything but exit code 0 is a failure.
pub(crate) async fn run(target: &Target, exec: &ExecAction) -> Result<(), String> {
    let spec =
        ExecSpec { args: exec.command.clone().unwrap_or_default(), env: Vec::new(), cwd: None, user: None };
    let command = target.machine.exec(&target.id, &spec).map_err(|error| crate::error::chain(&error))?;
    let streams = Streams { stdin: false, stdout: true, stderr: true };
    let mut session =
        start(command, &target.container.name, streams).map_err(|error| crate::error::chain(&error))?;
    let mut output = Vec::new();
    let (stdout, stderr) = (session.stdout.take(), session.stderr.take());
    let mut both = stdout.into_iter().chain(stderr);
    if let (Some(stdout), Some(stderr)) = (both.next(), both.next()) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let (mut stdout, mut stderr) = (stdout.take(ANSWER), stderr.take(ANSWER));
        // What it says matters only if it fails; a broken pipe is its end.
        drop(tokio::join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err)));
        output = [out, err].concat();
    }
    match session.exit.await {
        0 => Ok(()),
        code => {
            let said = String::from_utf8_lossy(&output).trim().to_owned();
            Err(if said.is_empty() { format!("exit code {code}") } else { said })
        }
    }
}

async fn connect_only(target: &Target, socket: &TCPSocketAction) -> Result<(), String> {
    connect(target, socket.host.as_deref(), &socket.port).await.map(drop)
}

/// Asks for a page over plain HTTP; 200 to 399 is a success.
pub(crate) async fn get_page(target: &Target, get: &HTTPGetAction) -> Result<(), String> {
    if get.scheme.as_deref() == Some("HTTPS") {
        return Err("probes over HTTPS are not available yet".to_owned());
    }
    let (mut stream, address) = connect(target, get.host.as_deref(), &get.port).await?;
    let path = get.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let mut request = format!("GET {path} HTTP/1.1\r\n");
    let own = get.http_headers.as_deref().unwrap_or_default();
    let is_own = |name: &str| own.iter().any(|header| header.name.eq_ignore_ascii_case(name));
    for (name, value) in [("Host", address.as_str()), ("User-Agent", "kube-probe/1.37"), ("Accept", "*/*")] {
        if !is_own(name) {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    let clean = |text: &str| text.replace(['\r', '\n'], "");
    for header in own {
        request.push_str(&format!("{}: {}\r\n", clean(&header.name), clean(&header.value)));
    }
    request.push_str("Connection: close\r\n\r\n");
    let failed = |error: std::io::Error| format!("Get \"http://{address}{path}\": {error}");
    stream.write_all(clean_line(&request).as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    let mut head = [0; 512];
    while answer.len() < 512 && !answer.contains(&b'\n') {
        match stream.read(&mut head).await.map_err(failed)? {
            0 => break,
            length => answer.extend_from_slice(&head[..length]),
        }
    }
    match status_code(&answer) {
        Some(200..=399) => Ok(()),
        Some(code) => Err(format!("HTTP probe failed with statuscode: {code}")),
        None => Err(format!("Get \"http://{address}{path}\": malformed HTTP response")),
    }
}

/// A path may not smuggle in another line.
fn clean_line(request: &str) -> String {
    let (first, rest) = request.split_once("\r\n").unwrap_or((request, ""));
    format!("{}\r\n{rest}", first.replace(['\r', '\n'], ""))
}

fn status_code(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.split_whitespace();
    words.next().filter(|version| version.starts_with("HTTP/"))?;
    words.next()?.parse().ok()
}

async fn connect(
    target: &Target,
    host: Option<&str>,
    port: &IntOrString,
) -> Result<(TcpStream, String), String> {
    let port = port_number(&target.container, port)?;
    let host =
        host.filter(|host| !host.is_empty()).map_or_else(|| target.address.to_string(), ToOwned::to_owned);
    let address = format!("{host}:{port}");
    match TcpStream::connect((host.as_str(), port)).await {
        Ok(stream) => Ok((stream, address)),
        Err(error) => Err(format!("dial tcp {address}: {error}")),
    }
}

fn port_number(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => name.parse().ok().or_else(|| {
            let mut ports = container.ports.iter().flatten();
            ports.find(|port| port.name.as_ref() == Some(name)).map(|port| port.container_port)
        }),
    };
    number
        .and_then(|number| u16::try_from(number).ok())
        .filter(|port| *port > 0)
        .ok_or_else(|| "invalid port".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn thresholds_decide() {
        let probe: Probe = from_value(json!({"failureThreshold": 2, "successThreshold": 2})).unwrap();
        let mut tally = Tally::default();
        let bad = || Err("x".to_owned());
        let got: Vec<_> =
            [Ok(()), Ok(()), bad(), bad(), Ok(()), Ok(())].map(|one| tally.count(one, &probe)).into();
        let want = [
            None,
            Some(Finding::Good),
            Some(Finding::Warning("x".to_owned())),
            Some(Finding::Bad("x".to_owned())),
            None,
            Some(Finding::Good),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn status_lines_are_read() {
        let cases = [
            ("HTTP/1.1 200 OK\r\n", Some(200)),
            ("HTTP/1.0 503\r\n", Some(503)),
            ("SSH-2.0 200\r\n", None),
            ("", None),
        ];
        for (text, want) in cases {
            assert_eq!(status_code(text.as_bytes()), want, "case {text:?}");
        }
    }

    async fn serve_once(answer: &'static str) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /health HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        tasks.detach_all();
        port
    }

    #[tokio::test]
    async fn pages_tell_whether_a_container_is_ready() {
        let machine: Arc<dyn Machine> = Arc::new(crate::machine::fake::FakeMachine::default());
        let cases = [
            ("HTTP/1.1 204 No Content\r\n\r\n", Ok(())),
            ("HTTP/1.1 500 No\r\n\r\n", Err("HTTP probe failed with statuscode: 500".to_owned())),
        ];
        for (answer, want) in cases {
            let port = serve_once(answer).await;
            let container = Arc::new(Container::default());
            let target = Target {
                machine: Arc::clone(&machine),
                id: "x".to_owned(),
                address: Ipv4Addr::LOCALHOST,
                container,
            };
            let probe: Probe = from_value(json!({"httpGet": {"path": "health", "port": port}})).unwrap();
            assert_eq!(look(&target, &probe).await, want);
        }
    }
}
