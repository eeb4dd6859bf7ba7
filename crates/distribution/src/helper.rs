//! Programs that keep credentials: `docker-credential-NAME`. Compat: docker-credential-helpers' protocol.

use std::io::{self, Read, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use serde_json::{Value, json};
use shipway_fetch::Stop;

use crate::credentials::{Credentials, CredentialsError, Secret};

/// What a helper says instead of a user's name when the secret is an identity token.
const TOKEN_USER: &str = "<token>";
/// Longest answer, in bytes.
const ANSWER: u64 = 1 << 20;
/// What a helper that has ended complained of is there at once.
const COMPLAINTS: Duration = Duration::from_millis(200);
/// So often it is looked whether one should be ended.
const INTERVAL: Duration = Duration::from_millis(100);

/// How programs are started.
pub type Spawn = fn(&mut Command) -> io::Result<Child>;

/// How helpers are run.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) spawn: Spawn,
    /// Ends those that run.
    pub(crate) stop: Stop,
}

impl Default for Running {
    fn default() -> Self {
        Self { spawn: Command::spawn, stop: Stop::default() }
    }
}

/// One helper.
#[derive(Clone, Debug)]
pub(crate) struct Helper {
    pub(crate) name: String,
    running: Running,
}

impl Helper {
    pub(crate) fn named(name: &str, running: &Running) -> Self {
        Self { name: name.to_owned(), running: running.clone() }
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Credentials>, CredentialsError> {
        let said = self.run("get", key, key)?;
        self.understand(key, said)
    }

    /// Reads the answer to a question for credentials.
    fn understand(
        &self,
        key: &str,
        (ok, said): (bool, String),
    ) -> Result<Option<Credentials>, CredentialsError> {
        if !ok {
            // Helpers have no exit code for it, only words.
            let unknown =
                said.contains("credentials not found") || said.contains("no credentials server URL");
            return if unknown { Ok(None) } else { Err(self.failed("get", key, &said)) };
        }
        let answer: Value = serde_json::from_str(&said)
            .map_err(|_not_json| self.failed("get", key, "its answer is not JSON"))?;
        let text = |name| answer.get(name).and_then(Value::as_str).unwrap_or_default();
        let secret = Secret::new(text("Secret"));
        Ok(match text("Username") {
            // Compat: docker, some helpers say so that they know of none.
            "" if text("Secret").is_empty() => None,
            TOKEN_USER => Some(Credentials::Identity(secret)),
            user => Some(Credentials::Password { user: user.to_owned(), password: secret }),
        })
    }

    pub(crate) fn put(&self, key: &str, credentials: &Credentials) -> Result<(), CredentialsError> {
        let (user, secret) = match credentials {
            Credentials::Password { user, password } => (user.as_str(), password),
            Credentials::Identity(token) => (TOKEN_USER, token),
        };
        let input = json!({ "ServerURL": key, "Username": user, "Secret": secret.reveal() }).to_string();
        self.expect("store", key, &input)
    }

    pub(crate) fn erase(&self, key: &str) -> Result<(), CredentialsError> {
        self.expect("erase", key, key)
    }

    fn expect(&self, operation: &'static str, key: &str, input: &str) -> Result<(), CredentialsError> {
        match self.run(operation, key, input)? {
            (true, _) => Ok(()),
            (false, said) => Err(self.failed(operation, key, &said)),
        }
    }

    /// Runs the helper and returns whether it succeeded and what it said.
    fn run(
        &self,
        operation: &'static str,
        key: &str,
        input: &str,
    ) -> Result<(bool, String), CredentialsError> {
        // A name that is a path would run what the path says.
        if !self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return Err(self.failed(operation, key, "that is no name of a helper"));
        }
        converse(&self.running, &format!("docker-credential-{}", self.name), operation, input)
            .map_err(|error| self.failed(operation, key, &error.to_string()))
    }

    fn failed(&self, operation: &'static str, key: &str, reason: &str) -> CredentialsError {
        CredentialsError::Helper {
            helper: self.name.clone(),
            operation,
            registry: key.to_owned(),
            reason: reason.lines().next().unwrap_or("it says nothing").chars().take(200).collect(),
        }
    }
}

/// Runs a helper and returns whether it succeeded and what it said.
fn converse(running: &Running, program: &str, operation: &str, input: &str) -> io::Result<(bool, String)> {
    let mut command = Command::new(program);
    command.arg(operation).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = (running.spawn)(&mut command)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not want to read says why itself.
        drop(stdin.write_all(input.as_bytes()));
    }
    let complaints = complaints(&mut child);
    let said = answer(&mut child, &running.stop);
    let is_long = said.as_ref().is_ok_and(|said| said.len() as u64 > ANSWER);
    if is_long || said.is_err() {
        drop(child.kill());
    }
    let ended = ended(&mut child, &running.stop)?;
    if is_long {
        return Err(io::Error::other("its answer does not end"));
    }
    let said = String::from_utf8_lossy(&said?).trim().to_owned();
    if ended.success() || !said.is_empty() {
        return Ok((ended.success(), said));
    }
    // Why should stand in the answer, but not all keep to that.
    Ok((false, complaints.recv_timeout(COMPLAINTS).unwrap_or_default()))
}

/// Waits for what a helper says, or until it should be ended.
fn answer(child: &mut Child, stop: &Stop) -> io::Result<Vec<u8>> {
    let Some(stdout) = child.stdout.take() else { return Ok(Vec::new()) };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || drop(sender.send(at_most(stdout))));
    loop {
        match receiver.recv_timeout(INTERVAL) {
            Ok(said) => return said,
            Err(RecvTimeoutError::Timeout) if stop.is_stopped() => return Err(interrupted()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(Vec::new()),
        }
    }
}

/// Waits until a helper has ended, and ends it if it should be.
fn ended(child: &mut Child, stop: &Stop) -> io::Result<ExitStatus> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if stop.wait(pause) {
            drop(child.kill());
            child.wait()?;
            return Err(interrupted());
        }
        pause = (pause * 2).min(INTERVAL);
    }
}

fn interrupted() -> io::Error {
    io::Error::new(io::ErrorKind::Interrupted, "it was interrupted")
}

/// Reads what a helper complains of. Nobody need wait for it: what the helper has left running may hold that open.
fn complaints(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    if let Some(stderr) = child.stderr.take() {
        std::thread::spawn(move || {
            let text = at_most(stderr).unwrap_or_default();
            drop(sender.send(String::from_utf8_lossy(&text).trim().to_owned()));
        });
    }
    receiver
}

/// Reads to the end, but no more than one byte too many.
fn at_most(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(ANSWER + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Makes a helper that does what a script says.
    fn write_helper(dir: &std::path::Path, script: &str) -> String {
        let program = dir.join("docker-credential-x");
        fs_err::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        program.to_str().unwrap().to_owned()
    }

    /// Asks one.
    fn asked(script: &str) -> Result<Option<Credentials>, String> {
        let dir = tempfile::tempdir().unwrap();
        let program = write_helper(dir.path(), script);
        let running = Running::default();
        let said = converse(&running, &program, "get", "reg.test").map_err(|error| error.to_string())?;
        Helper::named("x", &running).understand("reg.test", said).map_err(|error| error.to_string())
    }

    #[test]
    fn one_that_hangs_is_ended_with_what_waits_for_it() {
        // The second one says all that it has to say, and stays.
        for script in ["exec sleep 600", "exec sleep 600 >&- 2>&-"] {
            let dir = tempfile::tempdir().unwrap();
            let program =
                write_helper(dir.path(), &format!("echo $$ > {}/pid; {script}", dir.path().display()));
            let running = Running::default();
            let stop = running.stop.clone();
            let asking = std::thread::spawn(move || converse(&running, &program, "get", "reg.test"));
            let pid = loop {
                let said = fs_err::read_to_string(dir.path().join("pid")).unwrap_or_default();
                if let Some(pid) = said.strip_suffix('\n') {
                    break pid.to_owned();
                }
                std::thread::yield_now();
            };
            stop.stop();
            let error = asking.join().unwrap().unwrap_err();
            assert_eq!(error.to_string(), "it was interrupted", "case {script}");
            assert!(!std::path::Path::new("/proc").join(&pid).exists(), "case {script}: {pid}");
        }
    }

    #[test]
    fn what_helpers_say_is_understood_and_has_an_end() {
        let answer = r#"read key; echo "{\"Username\":\"me\",\"Secret\":\"pw\",\"ServerURL\":\"$key\"}""#;
        let me = Credentials::Password { user: "me".to_owned(), password: Secret::new("pw") };
        for (script, want) in [
            (answer, Some(me)),
            ("echo '{\"Username\":\"\",\"Secret\":\"\"}'", None),
            ("echo '{}'", None),
            ("echo credentials not found in native keychain; exit 1", None),
        ] {
            assert_eq!(asked(script).unwrap(), want, "case {script}");
        }
        for (script, want) in [
            ("echo '<html>'", "its answer is not JSON"),
            ("echo locked; echo more >&2; exit 1", "reg.test: locked"),
            ("echo the agent is away >&2; exit 1", "reg.test: the agent is away"),
            ("exit 1", "reg.test: it says nothing"),
            ("yes", "its answer does not end"),
            // It would write on for ever.
            (
                "trap '' PIPE; while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done 2>/dev/null",
                "does not end",
            ),
        ] {
            let error = asked(script).unwrap_err();
            assert!(error.contains(want), "case {script}: {error}");
        }
    }
}
