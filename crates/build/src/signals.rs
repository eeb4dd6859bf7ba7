//! STOPSIGNAL: names and numbers that a kernel knows.

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Returns whether this is a signal's name, with or without `SIG`, or its number.
pub(crate) fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<u8>() {
        return (1..=64).contains(&number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |rest: Option<&str>| {
        rest.is_some_and(|rest| rest.is_empty() || rest[1..].parse::<u8>().is_ok_and(|number| number <= 30))
    };
    NAMES.contains(&name)
        || ["IOT", "CLD", "POLL", "UNUSED"].contains(&name)
        || offset(name.strip_prefix("RTMIN").filter(|rest| rest.is_empty() || rest.starts_with('+')))
        || offset(name.strip_prefix("RTMAX").filter(|rest| rest.is_empty() || rest.starts_with('-')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_name_and_number() {
        for good in ["9", "SIGTERM", "term", "SIGRTMIN+3", "RTMAX-1"] {
            assert!(is_signal(good), "{good}");
        }
        for bad in ["0", "65", "SIGNOPE", "", "SIGRTMIN3", "RTMIN+99"] {
            assert!(!is_signal(bad), "{bad}");
        }
    }
}
