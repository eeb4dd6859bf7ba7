//! Signals as people write them. Numbers: signal(7), as on x86 and ARM.

use crate::failure::Failure;

const NAMES: [(&str, i32); 33] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", KILL),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", TERMINATE),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// `SIGKILL`
pub(crate) const KILL: i32 = 9;
/// `SIGTERM`
pub(crate) const TERMINATE: i32 = 15;
/// First and last of the signals without a meaning, as programs of glibc number them.
const REAL_TIME: (i32, i32) = (34, 64);

/// Parses `SIGTERM`, `term`, `15`, `RTMIN+3` or `RTMAX-1`.
pub(crate) fn parse(text: &str) -> Result<i32, Failure> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = name.parse::<i32>().ok().filter(|number| (1..=REAL_TIME.1).contains(number));
    let named = || NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    number.or_else(named).or_else(|| real_time(name)).ok_or_else(|| {
        Failure::new(
            format!("`{text}` is no signal"),
            "name one as TERM, SIGTERM or 15; `kill -l` lists them",
        )
    })
}

fn real_time(name: &str) -> Option<i32> {
    let (first, last) = REAL_TIME;
    let offset = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i32>().ok() };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => first + offset(rest)?,
        (_, Some(rest)) => last + offset(rest)?,
        _ => return None,
    };
    (first..=last).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_name_and_number() {
        for (text, want) in [
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("RTMIN", Some(34)),
            ("0", None),
            ("65", None),
            ("RTMIN-1", None),
            ("NOPE", None),
            ("", None),
        ] {
            assert_eq!(parse(text).ok(), want, "case {text}");
        }
    }
}
