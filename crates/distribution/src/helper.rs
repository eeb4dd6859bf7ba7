//! Programs that keep credentials: `docker-credential-NAME`. Compat: docker-credential-helpers' protocol.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::credentials::{Credentials, CredentialsError, Secret};

/// What a helper says instead of a user's name when the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// One helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Helper {
    pub(crate) name: String,
}

impl Helper {
    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Credentials>, CredentialsError> {
        let (ok, said) = self.run("get", key, key)?;
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
        Ok(Some(match text("Username") {
            TOKEN_USER => Credentials::Identity(secret),
            user => Credentials::Password { user: user.to_owned(), password: secret },
        }))
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
        let failed = |error: std::io::Error| self.failed(operation, key, &error.to_string());
        let mut child = Command::new(format!("docker-credential-{}", self.name))
            .arg(operation)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not want to read says why itself.
            drop(stdin.write_all(input.as_bytes()));
        }
        let output = child.wait_with_output().map_err(failed)?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned()))
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
