//! RUN, CMD, ENTRYPOINT, SHELL, HEALTHCHECK.

use shipway_oci::Healthcheck;

use super::Parts;
use crate::duration::parse_duration;
use crate::error::{Located, Problem};
use crate::flags::{Flags, Takes};
use crate::heredoc::Heredoc;
use crate::instruction::{CommandLine, Run, RunNetwork};
use crate::mount::{Mount, ParseMountError};

pub(super) fn command(parts: &Parts<'_>) -> Result<CommandLine, Located> {
    parts.flags(&[])?;
    command_line(parts)
}

fn command_line(parts: &Parts<'_>) -> Result<CommandLine, Located> {
    Ok(match parts.json()? {
        Some(arguments) => CommandLine::Exec(arguments),
        None => CommandLine::Shell(parts.rest.to_owned()),
    })
}

pub(super) fn run(parts: &Parts<'_>, heredocs: &[Heredoc]) -> Result<Run, Located> {
    let flags = parts.flags(&[
        ("mount", Takes::Values),
        ("network", Takes::Value),
        ("security", Takes::Value),
        ("device", Takes::Values),
    ])?;
    let network = match flags.value("network").as_ref().map(|word| word.text.as_str()) {
        None | Some("default") => RunNetwork::Default,
        Some("none") => RunNetwork::None,
        Some("host") => RunNetwork::Host,
        Some(other) => {
            let problem = format!("is default, none or host, not `{other}`");
            return Err(Problem::BadFlag { flag: "network".to_owned(), problem }.at(flags.span("network")));
        }
    };
    let security = flags.value("security");
    if let Some(word) = security.as_ref().filter(|word| !matches!(word.text.as_str(), "sandbox" | "insecure"))
    {
        let problem = format!("is sandbox or insecure, not `{}`", word.text);
        return Err(Problem::BadFlag { flag: "security".to_owned(), problem }.at(word.span));
    }
    let mounts = flags.values("mount");
    // The rest of a mount is read when its variables are known.
    if let Some(mount) = mounts.iter().find(|mount| Mount::has_variable_in_from(&mount.text)) {
        return Err(Problem::Mount(ParseMountError::VariableInFrom).at(mount.span));
    }
    Ok(Run {
        command: command_line(parts)?,
        heredocs: heredocs.to_vec(),
        mounts,
        network,
        security,
        devices: flags.values("device"),
    })
}

pub(super) fn shell(parts: &Parts<'_>) -> Result<Vec<String>, Located> {
    parts.flags(&[])?;
    match parts.json()? {
        Some(shell) if !shell.is_empty() => Ok(shell),
        Some(_) => Err(parts.needs("at least one argument")),
        None => Err(parts.malformed("takes a JSON array", Some("write it as SHELL [\"/bin/bash\", \"-c\"]"))),
    }
}

pub(super) fn healthcheck(parts: &Parts<'_>) -> Result<Healthcheck, Located> {
    let flags = parts.flags(&[
        ("interval", Takes::Value),
        ("timeout", Takes::Value),
        ("start-period", Takes::Value),
        ("start-interval", Takes::Value),
        ("retries", Takes::Value),
    ])?;
    let (kind, after) = crate::words::split_first(parts.rest);
    let inner = Parts {
        line: parts.line,
        keyword: parts.keyword,
        flags: Vec::new(),
        rest: &parts.rest[after..],
        rest_at: parts.rest_at + after,
        escape: parts.escape,
    };
    let test = match kind.to_ascii_uppercase().as_str() {
        "" => return Err(parts.needs("CMD and a command, or NONE")),
        "NONE" if inner.rest.is_empty() => {
            return Ok(Healthcheck { test: vec!["NONE".to_owned()], ..<_>::default() });
        }
        "NONE" => return Err(parts.malformed("NONE takes no arguments", None)),
        "CMD" => match command_line(&inner)? {
            CommandLine::Exec(arguments) if !arguments.is_empty() => {
                std::iter::once("CMD".to_owned()).chain(arguments).collect()
            }
            CommandLine::Shell(line) if !line.is_empty() => vec!["CMD-SHELL".to_owned(), line],
            _ => return Err(parts.needs("a command after CMD")),
        },
        _ => {
            return Err(
                parts.malformed(format!("unknown type `{kind}`"), Some("write HEALTHCHECK CMD command"))
            );
        }
    };
    Ok(Healthcheck {
        test,
        interval: interval(&flags, "interval")?,
        timeout: interval(&flags, "timeout")?,
        start_period: interval(&flags, "start-period")?,
        start_interval: interval(&flags, "start-interval")?,
        retries: retries(&flags)?,
    })
}

fn interval(flags: &Flags, name: &'static str) -> Result<u64, Located> {
    const SHORTEST: u64 = 1_000_000;
    let Some(word) = flags.filled(name) else { return Ok(0) };
    let bad = |problem: String| Problem::BadFlag { flag: name.to_owned(), problem }.at(word.span);
    match parse_duration(&word.text) {
        None => Err(bad(format!("is a duration such as 30s, not `{}`", word.text))),
        Some(1..SHORTEST) => Err(bad("cannot be less than 1ms".to_owned())),
        Some(nanoseconds) => Ok(nanoseconds),
    }
}

fn retries(flags: &Flags) -> Result<u64, Located> {
    let Some(word) = flags.filled("retries") else { return Ok(0) };
    word.text.parse::<i32>().ok().and_then(|retries| u64::try_from(retries).ok()).ok_or_else(|| {
        let problem = format!("is a number of attempts, not `{}`", word.text);
        Problem::BadFlag { flag: "retries".to_owned(), problem }.at(word.span)
    })
}
