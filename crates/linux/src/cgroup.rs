//! Control groups of version 1 and 2.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

/// Limits of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory; as much swap can be used on top (Compat: docker).
    pub memory: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Thousandths of a processor.
    pub cpu_millis: Option<u64>,
    /// Relative weight, 2 to 262,144; 1024 is the usual one.
    pub cpu_shares: Option<u64>,
}

/// One group, in every hierarchy of the machine that has a controller for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    dirs: Vec<(Controller, PathBuf)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Controller {
    Memory,
    Pids,
    Cpu,
    Devices,
    Freezer,
    Unified,
}

const MOUNT: &str = "/sys/fs/cgroup";

const VERSION_1: [(Controller, &str); 5] = [
    (Controller::Memory, "memory"),
    (Controller::Pids, "pids"),
    (Controller::Cpu, "cpu"),
    (Controller::Devices, "devices"),
    (Controller::Freezer, "freezer"),
];

impl Cgroup {
    /// Names the group `path`, relative to the root of each hierarchy. Makes nothing yet.
    pub fn at(path: &str) -> Self {
        Self::below("", path)
    }

    /// Names the group `path` below somebody else's group `above`, in the hierarchies that have that; it is never made. In the others the
    /// group is where [`Cgroup::at`] has it.
    pub fn below(above: &str, path: &str) -> Self {
        let place = |hierarchy: &Path| {
            let above = hierarchy.join(above);
            if above.is_dir() { above.join(path) } else { hierarchy.join(path) }
        };
        let root = Path::new(MOUNT);
        if root.join("cgroup.controllers").exists() {
            return Self { dirs: vec![(Controller::Unified, place(root))] };
        }
        let present = |(controller, name): (Controller, &str)| {
            let hierarchy = root.join(name);
            hierarchy.join("tasks").exists().then(|| (controller, place(&hierarchy)))
        };
        Self { dirs: VERSION_1.into_iter().filter_map(present).collect() }
    }

    /// Returns whether a hierarchy has the group.
    pub fn exists(&self) -> bool {
        self.dirs.iter().any(|(_, dir)| dir.is_dir())
    }

    /// Makes the group and sets its limits. A limit that the machine cannot hold is an error.
    pub fn create(&self, limits: Limits) -> io::Result<()> {
        for (controller, dir) in &self.dirs {
            make(*controller, dir)?;
        }
        self.see_controllers_for(limits)?;
        for (controller, dir) in &self.dirs {
            match controller {
                Controller::Memory => {
                    set(dir, "memory.limit_in_bytes", limits.memory)?;
                    let with_swap = limits.memory.map(|bytes| bytes.saturating_mul(2));
                    set_if_there(dir, "memory.memsw.limit_in_bytes", with_swap)?;
                }
                Controller::Pids => set(dir, "pids.max", limits.pids)?,
                Controller::Cpu => {
                    set(dir, "cpu.cfs_quota_us", limits.cpu_millis.map(quota))?;
                    set(dir, "cpu.shares", limits.cpu_shares)?;
                }
                Controller::Unified => {
                    set(dir, "memory.max", limits.memory)?;
                    set_if_there(dir, "memory.swap.max", limits.memory)?;
                    set(dir, "pids.max", limits.pids)?;
                    if let Some(millis) = limits.cpu_millis {
                        write(dir, "cpu.max", &format!("{} 100000", quota(millis)))?;
                    }
                    // Spec: runc's conversion of cgroup v1 shares to v2 weight.
                    set_if_there(
                        dir,
                        "cpu.weight",
                        limits.cpu_shares.map(|shares| 1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142),
                    )?;
                }
                Controller::Devices | Controller::Freezer => {}
            }
        }
        Ok(())
    }

    /// A share of the processor is a wish and needs no controller; the others are promises.
    fn see_controllers_for(&self, limits: Limits) -> io::Result<()> {
        for (wanted, controller, name) in [
            (limits.memory, Controller::Memory, "memory"),
            (limits.pids, Controller::Pids, "pids"),
            (limits.cpu_millis, Controller::Cpu, "cpu"),
        ] {
            let holds = |(found, dir): &(Controller, PathBuf)| {
                *found == controller
                    || *found == Controller::Unified
                        && read_to_string(&dir.join("cgroup.controllers"))
                            .is_ok_and(|text| text.split_whitespace().any(|word| word == name))
            };
            if wanted.is_some() && !self.dirs.iter().any(holds) {
                let why = format!(
                    "a limit cannot be held: no `{name}` controller for control groups here; the kernel may have been started without it \
                     (`cgroup_disable`, `cgroup_enable` on its command line)"
                );
                return Err(io::Error::new(io::ErrorKind::Unsupported, why));
            }
        }
        Ok(())
    }

    /// Allows only the devices given as in `devices.allow` (`c 1:3 rwm`); under version 2 by a BPF program.
    ///
    /// Returns whether the machine has a hierarchy that could be told.
    pub fn allow_devices(&self, allowed: &[&str]) -> io::Result<bool> {
        for (controller, dir) in &self.dirs {
            match controller {
                Controller::Unified => return crate::device_filter::attach(dir, allowed).map(|()| true),
                Controller::Devices => {
                    write(dir, "devices.deny", "a")?;
                    allowed.iter().try_for_each(|rule| write(dir, "devices.allow", rule))?;
                    return Ok(true);
                }
                _ => {}
            }
        }
        Ok(false)
    }

    /// Moves this process, which must have one thread only, into the group, whatever its number is in whose eyes.
    pub fn enter(&self) -> io::Result<()> {
        self.dirs.iter().try_for_each(|(_, dir)| move_here(dir))
    }

    /// Opens the group for processes to be made in it; `None` under version 1, which has no such thing.
    pub(crate) fn unified(&self) -> io::Result<Option<OwnedFd>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match self.dirs.as_slice() {
            [(Controller::Unified, dir)] => Ok(Some(open(dir, flags, Mode::empty())?)),
            _ => Ok(None),
        }
    }

    /// Returns the processes in the group.
    pub fn processes(&self) -> Vec<i32> {
        let read = |(_, dir): &(Controller, PathBuf)| read_to_string(&dir.join("cgroup.procs")).ok();
        let text = self.dirs.iter().find_map(read).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Returns whether the kernel has killed a process of the group for want of memory.
    pub fn was_out_of_memory(&self) -> bool {
        self.dirs.iter().any(|(controller, dir)| {
            let file = match controller {
                Controller::Memory => "memory.oom_control",
                Controller::Unified => "memory.events",
                _ => return false,
            };
            let text = read_to_string(&dir.join(file)).unwrap_or_default();
            text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count != "0"))
        })
    }

    /// Removes the group, which must have no processes left; one that is gone is no error.
    pub fn remove(&self) -> io::Result<()> {
        for (_, dir) in &self.dirs {
            match std::fs::remove_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Moves this process into a group.
///
/// The list of threads is the quick way: the kernel knows that a thread which moves itself will not come to an end meanwhile, and
/// need not stop all others from doing so. Version 2 has it for groups of threads alone.
pub(crate) fn move_here(dir: &Path) -> io::Result<()> {
    let single = crate::process::thread_count() <= 1 && dir.join("tasks").exists();
    write(dir, if single { "tasks" } else { "cgroup.procs" }, "0")
}

/// Makes a group with those above it. Somebody else may be removing one of them at any time while it is empty.
fn make(controller: Controller, dir: &Path) -> io::Result<()> {
    let attempt = || {
        if controller == Controller::Unified {
            enable_controllers(dir)?;
        }
        fs_create_dir_all(dir)
    };
    let mut done = attempt();
    for _ in 0..20 {
        match done {
            Err(ref error) if error.kind() == io::ErrorKind::NotFound => done = attempt(),
            _ => break,
        }
    }
    done
}

/// Lets the groups below each parent use the controllers that we need.
fn enable_controllers(dir: &Path) -> io::Result<()> {
    let parents: Vec<&Path> =
        dir.ancestors().skip(1).take_while(|parent| parent.starts_with(MOUNT)).collect();
    for parent in parents.into_iter().rev() {
        fs_create_dir_all(parent)?;
        let words = |file: &str| read_to_string(&parent.join(file)).map(|text| text.trim().to_owned());
        let missing = missing_controllers(&words("cgroup.controllers")?, &words("cgroup.subtree_control")?);
        // All at once: one alone, where processes are in the group, would leave it half of a threaded one.
        let enable = || write(parent, "cgroup.subtree_control", &missing);
        if missing.is_empty() {
            continue;
        }
        let first = enable();
        if first.is_err() && parent == Path::new(MOUNT) {
            empty_into_leaf(parent)?;
            enable()?;
        } else {
            first?;
        }
    }
    Ok(())
}

/// Returns what to write so that the groups below have what we need of what there is: `+cpu +pids`.
fn missing_controllers(available: &str, enabled: &str) -> String {
    let has = |words: &str, name: &str| words.split_whitespace().any(|word| word == name);
    let missing = ["cpu", "memory", "pids"].into_iter();
    let missing = missing.filter(|name| has(available, name) && !has(enabled, name));
    missing.map(|name| format!("+{name}")).collect::<Vec<_>>().join(" ")
}

/// Where the processes go that are in the way of controllers. Compat: the name that others use for it.
pub(crate) const LEAF: &str = "init";

/// Moves all processes of a group into one below it.
///
/// What looks like the root is one group of many inside a container, and only the real root may have both processes and groups with
/// controllers.
fn empty_into_leaf(group: &Path) -> io::Result<()> {
    let leaf = group.join(LEAF);
    fs_create_dir_all(&leaf)?;
    // Those that start meanwhile come in the next round.
    for _ in 0..10 {
        let processes = read_to_string(&group.join("cgroup.procs"))?;
        if processes.is_empty() {
            break;
        }
        for process in processes.lines() {
            match write_plainly(&leaf, "cgroup.procs", process) {
                // It has just ended.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                other => other?,
            }
        }
    }
    Ok(())
}

/// Microseconds of each tenth of a second; the kernel takes no less than one thousand.
fn quota(millis: u64) -> u64 {
    millis.saturating_mul(100).max(1000)
}

/// What is not there is nothing to wait for: swap on a kernel without it, weights without their controller.
fn set_if_there(dir: &Path, file: &str, value: Option<u64>) -> io::Result<()> {
    if dir.join(file).exists() { set(dir, file, value) } else { Ok(()) }
}

fn set(dir: &Path, file: &str, value: Option<u64>) -> io::Result<()> {
    value.map_or(Ok(()), |value| write(dir, file, &value.to_string()))
}

fn write(dir: &Path, file: &str, value: &str) -> io::Result<()> {
    write_plainly(dir, file, value).map_err(|error| {
        let path = dir.join(file);
        // The group went between opening and writing.
        let gone = error.raw_os_error() == Some(libc::ENODEV);
        let kind = if gone { io::ErrorKind::NotFound } else { error.kind() };
        io::Error::new(kind, format!("could not write `{value}` to `{}`: {error}", path.display()))
    })
}

/// Keeps the kernel's number in the error.
fn write_plainly(dir: &Path, file: &str, value: &str) -> io::Result<()> {
    use std::io::Write as _;
    std::fs::OpenOptions::new().write(true).open(dir.join(file))?.write_all(value.as_bytes())
}

fn read_to_string(path: &Path) -> io::Result<String> {
    std::fs::File::open(path).and_then(io::read_to_string)
}

fn fs_create_dir_all(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).create(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shipway_testkit::{Need, require};

    #[test]
    fn only_missing_controllers_are_asked_for() {
        for (name, available, enabled, want) in [
            ("none yet", "cpuset cpu io memory pids", "", "+cpu +memory +pids"),
            ("some", "cpu memory pids", "memory", "+cpu +pids"),
            ("all", "cpu memory pids", "cpu io memory pids", ""),
            ("not there", "cpuset pids", "", "+pids"),
        ] {
            assert_eq!(missing_controllers(available, enabled), want, "case {name}");
        }
    }

    #[test]
    fn a_quota_is_one_that_the_kernel_takes() {
        assert_eq!([quota(1), quota(10), quota(1500)], [1000, 1000, 150_000]);
    }

    #[test]
    fn a_group_holds_its_limits_and_goes_without_a_trace() {
        if !require(&[Need::Root, Need::Cgroups]) {
            return;
        }
        let name = format!("shipway-test-{}", std::process::id());
        let group = Cgroup::at(&name);
        let limits = Limits { memory: Some(64 << 20), pids: Some(17), ..Limits::default() };
        group.create(limits).unwrap();
        let pids = group.dirs.iter().find_map(|(_, dir)| read_to_string(&dir.join("pids.max")).ok()).unwrap();
        assert_eq!(pids.trim(), "17");
        assert_eq!(group.processes(), Vec::<i32>::new());
        assert!(!group.was_out_of_memory());
        // Below one of somebody else's.
        let inner = Cgroup::below(&name, "inner");
        inner.create(Limits::default()).unwrap();
        assert!(inner.exists() && Cgroup::at(&format!("{name}/inner")) == inner);
        assert_eq!(Cgroup::below("shipway-no-such", "inner"), Cgroup::at("inner"));
        inner.remove().unwrap();
        group.remove().unwrap();
        group.remove().unwrap();
        assert!(!group.exists());
    }
}
