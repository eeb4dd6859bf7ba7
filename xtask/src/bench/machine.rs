//! The machine and its processes, as `/proc` tells.

use std::collections::HashMap;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Returns a sentence about this machine, for whoever reads the figures later.
pub(crate) fn describe() -> anyhow::Result<String> {
    let kernel = read("/proc/sys/kernel/osrelease")?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = field(&read("/proc/meminfo")?, "MemTotal:").unwrap_or(0.0) / 1e6;
    let load = read("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or("?");
    Ok(format!(
        "Linux {}, {processors} processors, {memory:.0} GB of memory; load before: {load}.",
        kernel.trim()
    ))
}

/// Memory of a process in megabytes (of 1,000,000 bytes).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Memory {
    /// All pages that it has in memory.
    pub(crate) resident: f64,
    /// The same, with shared pages divided among those who share them.
    pub(crate) proportional: f64,
    /// Pages that no file stands behind.
    pub(crate) anonymous: f64,
}

impl Memory {
    /// Returns the memory of a process.
    pub(crate) fn of(pid: u64) -> anyhow::Result<Self> {
        Self::parse(&read(&format!("/proc/{pid}/smaps_rollup"))?).context("the kernel tells no memory")
    }

    fn parse(rollup: &str) -> Option<Self> {
        let megabytes = |name: &str| field(rollup, name).map(|kibibytes| kibibytes * 1.024 / 1e3);
        Some(Self {
            resident: megabytes("Rss:")?,
            proportional: megabytes("Pss:")?,
            anonymous: megabytes("Anonymous:")?,
        })
    }
}

/// Returns the most megabytes that a process has had in memory so far; `None` once it has ended.
pub(crate) fn peak(pid: u32) -> Option<f64> {
    status(pid, "VmHWM:")
}

/// Returns the megabytes of a process that no file stands behind; `None` once it has ended.
pub(crate) fn anonymous(pid: u32) -> Option<f64> {
    status(pid, "RssAnon:")
}

fn status(pid: u32, name: &str) -> Option<f64> {
    let status = read(&format!("/proc/{pid}/status")).ok()?;
    field(&status, name).map(|kibibytes| kibibytes * 1.024 / 1e3)
}

/// Returns the megabytes that went over the loopback device of this process's network so far, in both directions.
pub(crate) fn loopback_megabytes() -> anyhow::Result<f64> {
    parse_loopback(&read("/proc/self/net/dev")?).context("the kernel tells nothing of the loopback device")
}

/// Spec: proc_net(5): behind the name, eight numbers of what was received, then those of what was sent; bytes first.
fn parse_loopback(devices: &str) -> Option<f64> {
    let line = devices.lines().find_map(|line| line.trim_start().strip_prefix("lo:"))?;
    line.split_whitespace().nth(8)?.parse().ok().map(|bytes: f64| bytes / 1e6)
}

/// Returns which part of one processor, in per cent, a process uses while nobody wants anything of it.
///
/// Its threads tell nanoseconds, but no more once they have ended; the process tells all, but in steps of 10 ms:
/// the greater one is nearer.
pub(crate) fn idle_percent(pid: u64, while_waiting: Duration) -> anyhow::Result<f64> {
    let (threads, process) = (thread_times(pid)?, running_time(pid)?);
    let begin = Instant::now();
    #[expect(clippy::disallowed_methods, reason = "the time is what is measured")]
    std::thread::sleep(while_waiting);
    let of_threads: Duration = thread_times(pid)?
        .iter()
        .map(|(thread, time)| time.saturating_sub(threads.get(thread).copied().unwrap_or_default()))
        .sum();
    let used = of_threads.max(running_time(pid)?.saturating_sub(process));
    Ok(used.as_secs_f64() / begin.elapsed().as_secs_f64() * 100.0)
}

/// Returns how long each thread of a process has run so far.
fn thread_times(pid: u64) -> anyhow::Result<HashMap<OsString, Duration>> {
    let mut times = HashMap::new();
    for task in fs_err::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?;
        // A thread may end between the listing and the reading.
        let text = fs_err::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0);
        times.insert(task.file_name(), Duration::from_nanos(nanoseconds));
    }
    Ok(times)
}

/// Returns how long a process has run so far, threads that ended included.
fn running_time(pid: u64) -> anyhow::Result<Duration> {
    parse_running_time(&read(&format!("/proc/{pid}/stat"))?).context("the kernel tells no times")
}

/// Spec: proc_pid_stat(5): `utime` and `stime` are fields 14 and 15, in units that are 10 ms on all of Linux's ports.
fn parse_running_time(stat: &str) -> Option<Duration> {
    // The name in field 2 may hold anything, also spaces and brackets.
    let behind_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = behind_name.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (ticks()? + ticks()?)))
}

/// Returns the number behind a name in one of the kernel's lists.
fn field(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn read(path: &str) -> anyhow::Result<String> {
    Ok(fs_err::read_to_string(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_megabytes() {
        let rollup = "0040 ---p [rollup]\nRss:  1000 kB\nPss:  500 kB\nPss_Anon: 3 kB\nAnonymous:  250 kB\n";
        let memory = Memory { resident: 1.024, proportional: 0.512, anonymous: 0.256 };
        assert_eq!(Memory::parse(rollup), Some(memory));
    }

    #[test]
    fn what_went_over_the_loopback_device_is_what_it_sent() {
        let devices =
            " face |bytes\n  eth0: 1 2 3 4 5 6 7 8 9 10\n    lo: 3000000 9 0 0 0 0 0 0 2500000 9 0 0\n";
        assert_eq!(parse_loopback(devices), Some(2.5));
        assert_eq!(parse_loopback("eth0: 1 2"), None);
    }

    #[test]
    fn this_process_has_memory_and_times() {
        let pid = u64::from(std::process::id());
        assert!(Memory::of(pid).unwrap().resident > 0.0);
        assert!(peak(std::process::id()).unwrap() > anonymous(std::process::id()).unwrap());
        running_time(pid).unwrap();
        assert!(thread_times(pid).unwrap().values().any(|time| !time.is_zero()));
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 120 30 5 6 20 0 1 0 99";
        assert_eq!(parse_running_time(stat), Some(Duration::from_millis(1500)));
    }
}
