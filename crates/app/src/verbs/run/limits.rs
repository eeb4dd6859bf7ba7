//! Limits as they are typed.

use shipway_runtime::Resources;

use crate::cli::LimitArgs;
use crate::failure::Failure;

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

/// `512m`, `1.5g`, `1048576`
fn bytes(text: &str) -> Result<u64, Failure> {
    let lower = text.to_ascii_lowercase();
    let number = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match &lower[number.len()..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => 64,
    };
    let scaled = 1_u64.checked_shl(shift).and_then(|unit| decimal(number, unit));
    scaled.ok_or_else(|| {
        Failure::new(format!("`{text}` is no size"), "write it as bytes or with a unit: --memory 512m")
    })
}

fn thousandths(text: &str) -> Result<u64, Failure> {
    decimal(text, 1000).filter(|millis| *millis >= 10).ok_or_else(|| {
        Failure::new(
            format!("`{text}` is no number of processors"),
            "write it as a number from 0.01 up: --cpus 1.5",
        )
    })
}

/// Returns a decimal number of units, rounded down.
fn decimal(text: &str, unit: u64) -> Option<u64> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() && part.is_empty() || part.len() > 9 || !digits(whole) || !digits(part) {
        return None;
    }
    let number = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
    let scaled =
        number(whole)?.checked_mul(unit.into())?.checked_add(number(part)? * u128::from(unit) / scale)?;
    u64::try_from(scaled).ok()
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
