//! Limits as they are typed.

use shipway_runtime::{ProcessLimit, Resources};

use crate::cli::LimitArgs;
use crate::failure::Failure;
use crate::units;

/// Compat: docker refuses less.
const SMALLEST_MEMORY: u64 = 6 << 20;

/// Returns the limits that were typed.
pub(super) fn of(args: &LimitArgs) -> Result<Resources, Failure> {
    let memory = args.memory.as_deref().map(bytes).transpose()?;
    if let (Some(text), Some(_)) = (&args.memory, memory.filter(|bytes| *bytes < SMALLEST_MEMORY)) {
        return Err(Failure::new(
            format!("`{text}` is too little memory"),
            "give it at least 6 megabytes: --memory 6m",
        ));
    }
    Ok(Resources {
        memory,
        cpu_millis: args.cpus.as_deref().map(thousandths).transpose()?,
        cpu_shares: args.cpu_shares,
        pids: args.pids_limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0),
    })
}

/// Returns the limits of processes that were typed: `NAME=SOFT[:HARD]`, `-1` for none. Compat: docker.
pub(crate) fn of_processes(texts: &[String]) -> Result<Vec<ProcessLimit>, Failure> {
    texts.iter().map(|text| of_process(text)).collect()
}

fn of_process(text: &str) -> Result<ProcessLimit, Failure> {
    let refused = |why: &str| {
        Failure::of_flag(
            format!("--ulimit `{text}`: {why}"),
            "write it as NAME=SOFT[:HARD]: --ulimit nofile=1024:4096",
        )
    };
    let (name, values) = text.split_once('=').ok_or_else(|| refused("it has no value"))?;
    if !shipway_linux::is_limit(name) {
        return Err(refused(&format!("`{name}` is nothing that can be limited")));
    }
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let value = |text: &str| match text {
        "-1" | "unlimited" => Ok(None),
        text => text.parse::<u64>().map(Some).map_err(|_no| refused(&format!("`{text}` is no number"))),
    };
    let (soft, hard) = (value(soft)?, value(hard)?);
    if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
        return Err(refused("the soft limit is above the hard one"));
    }
    Ok(ProcessLimit { name: name.to_owned(), soft, hard })
}

/// Returns the size of `/dev/shm` that was typed.
pub(crate) fn shm_size(text: Option<&str>) -> Result<Option<u64>, Failure> {
    let Some(text) = text else { return Ok(None) };
    // Compat: docker, none is the usual one.
    units::bytes(text).map(|bytes| Some(bytes).filter(|bytes| *bytes > 0)).ok_or_else(|| {
        Failure::of_flag(
            format!("--shm-size `{text}` is no size"),
            "write it as bytes or with a unit: --shm-size 128m",
        )
    })
}

/// `512m`, `1.5g`, `1048576`
fn bytes(text: &str) -> Result<u64, Failure> {
    units::bytes(text).ok_or_else(|| {
        Failure::new(format!("`{text}` is no size"), "write it as bytes or with a unit: --memory 512m")
    })
}

fn thousandths(text: &str) -> Result<u64, Failure> {
    units::decimal(text, 1000).filter(|millis| *millis >= 10).ok_or_else(|| {
        Failure::new(
            format!("`{text}` is no number of processors"),
            "write it as a number from 0.01 up: --cpus 1.5",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_processors_are_read() {
        for (text, want) in [
            ("6291456", Some(6 << 20)),
            ("512m", Some(512 << 20)),
            ("1.5G", Some(3 << 29)),
            ("64kb", Some(64 << 10)),
            ("1x", None),
            ("", None),
            ("m", None),
            ("-1m", None),
            ("99999999999999999999g", None),
        ] {
            assert_eq!(bytes(text).ok(), want, "case {text}");
        }
        for (text, want) in
            [("1.5", Some(1500)), ("2", Some(2000)), (".5", Some(500)), ("0", None), ("x", None)]
        {
            assert_eq!(thousandths(text).ok(), want, "case {text}");
        }
    }

    #[test]
    fn no_shared_memory_is_the_usual_one() {
        for (text, want) in [(None, Some(None)), (Some("0"), Some(None)), (Some("1m"), Some(Some(1 << 20)))] {
            assert_eq!(shm_size(text).ok(), want, "case {text:?}");
        }
        assert!(shm_size(Some("x")).unwrap_err().text().contains("is no size"));
    }

    #[test]
    fn too_little_memory_is_refused_and_minus_one_is_no_limit() {
        let args = |memory: &str, pids_limit| LimitArgs {
            memory: Some(memory.to_owned()),
            cpus: None,
            cpu_shares: None,
            pids_limit,
        };
        assert!(of(&args("1m", None)).unwrap_err().text().contains("too little memory"));
        assert_eq!(of(&args("64m", Some(-1))).unwrap().pids, None);
        assert_eq!(of(&args("64m", Some(5))).unwrap().pids, Some(5));
    }
}
