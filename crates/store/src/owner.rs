//! Which process something belongs to, so that what a dead process left can be told.

use std::sync::OnceLock;

/// Returns a text that names this process for all time: boot, process ID and start time.
pub(crate) fn this_process() -> &'static str {
    static OWNER: OnceLock<String> = OnceLock::new();
    OWNER.get_or_init(|| {
        let pid = std::process::id();
        format!("{}.{pid}.{}", boot(), start_time(pid).unwrap_or_default())
    })
}

/// Returns the ID of this boot.
pub(crate) fn boot() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        fs_err::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    })
}

/// Returns whether the process that wrote `owner` still runs.
pub(crate) fn is_alive(owner: &str) -> bool {
    let mut parts = owner.splitn(3, '.');
    let (Some(of_boot), Some(pid), Some(start)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    of_boot == boot()
        && pid.parse().ok().and_then(start_time).is_some_and(|now| Some(now) == start.parse::<u64>().ok())
}

/// Returns field 22 of `/proc/PID/stat`; the command in field 2 may hold anything, so it is skipped from behind.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_running_process_of_this_boot_is_alive() {
        assert!(is_alive(this_process()));
        let (head, _) = this_process().rsplit_once('.').unwrap();
        assert!(!is_alive(&format!("{head}.1")));
        assert!(!is_alive(&this_process().replacen(boot(), "other", 1)));
        assert!(!is_alive("nonsense"));
    }
}
