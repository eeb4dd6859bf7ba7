//! From flags to what a registry allows.

use std::io::Write as _;
use std::sync::Arc;

use shipway_oci::Reference;
use shipway_registry::{Access, AccessLog, Config, Guard, Through, Tls, TokenService, Tokens, Users};

use super::upstream::Remotes;
use crate::cli::ServeArgs;
use crate::clock;
use crate::failure::Failure;

/// Reads the files that the flags name, and refuses what would let anybody in.
pub(super) fn config(args: &ServeArgs) -> Result<Config, Failure> {
    let guard = guard(args)?;
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => Some(Tls::open(certificate, key)?),
        _ => None,
    };
    if args.anonymous_pull && guard.is_open() {
        return Err(Failure::new(
            "--anonymous-pull means nothing where everybody may do everything",
            "say who may push: --htpasswd FILE",
        ));
    }
    if !args.listen.ip().is_loopback() {
        let why = match (guard.is_open(), &tls) {
            (true, _) => Some("everybody who reaches it could push and delete"),
            (false, None) => Some("passwords and tokens would travel unencrypted"),
            (false, Some(_)) => None,
        };
        if let Some(why) = why {
            return Err(Failure::new(
                format!("a registry on {} is refused: {why}", args.listen),
                "listen on 127.0.0.1 or [::1], or give it --htpasswd FILE, --tls-cert FILE and --tls-key FILE",
            ));
        }
    }
    let through = match args.pull_through.as_slice() {
        [] => None,
        names => {
            names.iter().try_for_each(|name| check_registry(name))?;
            Some(Through::new(Arc::new(Remotes::new()?), names.to_vec()))
        }
    };
    let log = (!args.quiet).then(|| AccessLog::new(write));
    // Who is asked to prove who he is, is not reached by the pages that a browser shows him.
    let names = (guard.is_open() && args.listen.ip().is_loopback()).then(|| {
        let own = fs_err::read_to_string("/proc/sys/kernel/hostname").ok();
        let own = own.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        own.into_iter().chain(args.allow_host.iter().cloned()).collect()
    });
    Ok(Config { guard, tls, through, log, names, ..Config::new(clock::now) })
}

/// Refuses what is no name of a registry.
fn check_registry(name: &str) -> Result<(), Failure> {
    let image: Option<Reference> = format!("{name}/image").parse().ok();
    if image.is_some_and(|image| image.registry() == name) {
        return Ok(());
    }
    Err(Failure::new(
        format!("`{name}` is no name of a registry"),
        "name it as images do: `--pull-through docker.io` or `--pull-through registry.example:5000`",
    ))
}

fn guard(args: &ServeArgs) -> Result<Guard, Failure> {
    let users = args.htpasswd.as_deref().map(Users::open).transpose()?;
    let tokens = match (&args.token_realm, &args.token_service, &args.token_issuer, &args.token_keys) {
        (Some(realm), Some(service), Some(issuer), Some(keys)) => {
            if realm.contains(|c: char| c == '"' || c.is_whitespace() || c.is_control())
                || service.contains('"')
            {
                return Err(Failure::new(
                    "--token-realm or --token-service cannot be sent as it is",
                    "it must be a plain URL, and a name without quotes",
                ));
            }
            let (realm, service, issuer) = (realm.clone(), service.clone(), issuer.clone());
            Some(Tokens::of(TokenService { realm, service, issuer }, keys, clock::now)?)
        }
        _ => None,
    };
    Ok(Guard::new(users, tokens, args.anonymous_pull))
}

/// Writes a line for a request: time, peer, user, request, status, bytes, milliseconds, client.
fn write(access: &Access<'_>) {
    let line = line(access, &clock::date(clock::nanoseconds()));
    // A reader that went away does not stop the registry.
    drop(std::io::stderr().lock().write_all(line.as_bytes()));
}

fn line(access: &Access<'_>, time: &str) -> String {
    let dash = || "-".to_owned();
    let length = access.length.map_or_else(dash, |length| length.to_string());
    let peer = access.peer.map_or_else(dash, |peer| peer.to_string());
    // Names come from clients: what is none of a line's business is written as an escape.
    let [user, path, agent] =
        [access.user, access.path, access.agent].map(|text| text.escape_debug().to_string());
    let user = user.replace(' ', "_");
    let Access { method, status, took, .. } = access;
    let took = took.as_millis();
    format!("{time} {peer} {user} \"{method} {path}\" {status} {length} {took}ms \"{agent}\"\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_names_of_registries_are_cached() {
        for (name, want) in [
            ("docker.io", true),
            ("localhost:5000", true),
            ("https://docker.io", false),
            ("docker.io/library", false),
            ("docker", false),
            ("", false),
        ] {
            assert_eq!(check_registry(name).is_ok(), want, "case {name}");
        }
    }

    #[test]
    fn a_request_is_one_line_whatever_its_client_says() {
        let access = Access {
            method: "GET",
            path: "/v2/a\"\n",
            status: 404,
            length: None,
            peer: Some(([127, 0, 0, 1], 5).into()),
            user: "ann b",
            agent: "x\"\u{1b}[2J",
            took: Duration::from_micros(2_900),
        };
        let want = "T 127.0.0.1:5 ann_b \"GET /v2/a\\\"\\n\" 404 - 2ms \"x\\\"\\u{1b}[2J\"\n";
        assert_eq!(line(&access, "T"), want);
    }
}
