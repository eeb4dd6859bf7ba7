//! The machine and its processes, as `/proc` tells.

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

/// Returns which part of one processor, in per cent, a process uses while nobody wants anything of it.
pub(crate) fn idle_percent(pid: u64, while_waiting: Duration) -> anyhow::Result<f64> {
    let before = running_nanoseconds(pid)?;
    let begin = Instant::now();
    #[expect(clippy::disallowed_methods, reason = "the time is what is measured")]
    std::thread::sleep(while_waiting);
    let used = running_nanoseconds(pid)?.saturating_sub(before);
    Ok(Duration::from_nanos(used).as_secs_f64() / begin.elapsed().as_secs_f64() * 100.0)
}

/// Returns the sum of what all threads have used so far.
fn running_nanoseconds(pid: u64) -> anyhow::Result<u64> {
    let mut sum = 0;
    for task in fs_err::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the reading.
        let text = fs_err::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        sum += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
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
    fn this_process_has_memory_and_has_run() {
        let pid = u64::from(std::process::id());
        assert!(Memory::of(pid).unwrap().resident > 0.0);
        assert!(running_nanoseconds(pid).unwrap() > 0);
    }
}
