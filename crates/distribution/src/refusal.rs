//! From an answer that is an error to one of ours.

use std::io::Read as _;

use serde::Deserialize;
use shipway_fetch::Response;

use crate::RegistryError;
use crate::registry::Registry;

/// How much of an error's text is read.
const LIMIT: u64 = 64 << 10;
const WANTS_TLS: &[u8] = b"to an HTTPS server";

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<One>,
    /// What token services say. Compat: Docker Hub; RFC 6749, 5.2.
    #[serde(alias = "error_description")]
    details: Option<String>,
}

#[derive(Deserialize)]
struct One {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What was tried, for the message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) operation: &'static str,
    pub(crate) what: &'a str,
}

/// Makes an error of an answer.
pub(crate) fn refusal(registry: &Registry, attempt: Attempt<'_>, response: Response) -> RegistryError {
    let (host, name) = (registry.host(), registry.name().to_owned());
    let (status, wait) = (response.status(), response.retry_after());
    let text = text_of(response);
    let message = message_in(&text);
    let what = attempt.what.to_owned();
    match status {
        // Compat: Go's server and those that follow it.
        400 if has_tls(&text) || text.is_empty() && registry.wants_tls() => {
            RegistryError::WantsTls { host, registry: name }
        }
        401 | 403 => RegistryError::Unauthorized {
            host,
            registry: name,
            what,
            logged_in: registry.is_logged_in(),
            message,
        },
        404 => {
            let logged_in = registry.is_logged_in();
            RegistryError::NotFound { host, registry: name, what, logged_in, message }
        }
        429 => RegistryError::Limited { host, registry: name, wait, message },
        _ => RegistryError::Status { host, status, operation: attempt.operation, what, message },
    }
}

/// Returns whether an answer is that of a server that speaks TLS only.
pub(crate) fn says_tls(response: Response) -> bool {
    response.status() == 400 && has_tls(&text_of(response))
}

fn has_tls(text: &[u8]) -> bool {
    text.windows(WANTS_TLS.len()).any(|part| part == WANTS_TLS)
}

fn text_of(response: Response) -> Vec<u8> {
    let mut text = Vec::new();
    // A text that breaks off is no worse than none.
    drop(response.into_body().take(LIMIT).read_to_end(&mut text));
    text
}

/// Returns what the registry says in its error, on one line and without control characters. Spec: distribution-spec, "Error Codes".
fn message_in(text: &[u8]) -> String {
    let Ok(errors) = serde_json::from_slice::<Errors>(text) else { return String::new() };
    let said = |one: &One| if one.message.is_empty() { one.code.clone() } else { one.message.clone() };
    let texts = errors.errors.iter().map(said).chain(errors.details).take(3).map(|text| {
        let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        printable.take(200).collect::<String>().trim().to_owned()
    });
    texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_found_in_each_form() {
        for (text, want) in [
            (r#"{"errors":[{"code":"DENIED","message":"no\nway"},{"code":"X"}]}"#, "no way; X"),
            (r#"{"details":"incorrect username or password"}"#, "incorrect username or password"),
            (r#"{"error":"invalid_grant","error_description":"it is old"}"#, "it is old"),
            (r#"{"details":null}"#, ""),
            (r#"{"details":{}}"#, ""),
            ("<html>", ""),
        ] {
            assert_eq!(message_in(text.as_bytes()), want, "case {text}");
        }
    }
}
