//! What the container sees: its root file system and what is mounted into it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use shipway_linux::{
    Cgroup, MountAttributes, OpenFlags, Overlay, Root, attach, clone_at, clone_tree, new_filesystem,
};

use crate::defaults::{DEVICES, LINKS, LOOP, MASKED, PRIVILEGED_DEVICES, READ_ONLY, SPARE_LOOPS};
use crate::error::{Stage, StartFailure};
use crate::{ContainerSpec, Mount, MountKind, Network, SHM_SIZE};

const NOTHING_SPECIAL: MountAttributes =
    MountAttributes { read_only: false, no_suid: true, no_dev: true, no_exec: true };

/// Mounts the container's root file system over `place`, a directory of the host, and returns it.
pub(crate) fn mount_root(spec: &ContainerSpec, place: &Path) -> Result<Root, StartFailure> {
    let fail = |error: io::Error| StartFailure::new(Stage::Rootfs, &spec.id, &error);
    let rootfs = &spec.rootfs;
    let overlay = Overlay {
        lowers: rootfs.lowers.clone(),
        upper: Some(rootfs.upper.clone()),
        work: Some(rootfs.work.clone()),
        volatile: rootfs.volatile,
    };
    let mounted = if rootfs.lowers.is_empty() {
        // An image without layers: the directory of changes is all there is.
        clone_tree(&rootfs.upper, false)
    } else {
        overlay.mount_detached()
    };
    let mounted = mounted.map_err(fail)?;
    let host = Root::open(Path::new("/")).map_err(fail)?;
    let target = host.open_with(place, OpenFlags::PATH | OpenFlags::DIRECTORY, 0).map_err(fail)?;
    attach(&mounted, &target).map_err(fail)?;
    Ok(Root::from_fd(mounted))
}

/// Mounts everything into the root file system.
pub(crate) fn mount_all(spec: &ContainerSpec, root: &Root, dir: &Path) -> Result<(), StartFailure> {
    step(
        "/proc",
        new_filesystem("proc", &[], NOTHING_SPECIAL).and_then(|proc| place_directory(root, "proc", proc)),
    )?;
    step("/dev", mount_dev(spec, root))?;
    step("/sys", mount_sys(spec, root))?;
    for (name, text) in [("resolv.conf", &spec.resolv_conf), ("hosts", &spec.hosts)] {
        if text.is_some() {
            step(
                name,
                clone_tree(&dir.join(name), spec.names_read_only)
                    .and_then(|file| place_file(root, &Path::new("etc").join(name), file)),
            )?;
        }
    }
    if !spec.keeps_hostname_file {
        let hostname = clone_tree(&dir.join("hostname"), false);
        step("hostname", hostname.and_then(|file| place_file(root, Path::new("etc/hostname"), file)))?;
    }
    mount_wanted(spec, root)
}

/// Mounts what somebody asked for, and hides what nobody should see.
fn mount_wanted(spec: &ContainerSpec, root: &Root) -> Result<(), StartFailure> {
    // What is in our own places is taken out before a mount covers them.
    let null = step("/dev/null", root.open_with("dev/null", OpenFlags::PATH, 0))?;
    let wanted: Vec<&Mount> = spec.mounts.iter().filter(|mount| !is_dev(mount)).collect();
    let mut sources = Vec::new();
    for mount in &wanted {
        sources.push(step(&mount.target.to_string_lossy(), source_of(root, mount))?);
    }
    for (mount, source) in wanted.into_iter().zip(sources) {
        step(&mount.target.to_string_lossy(), mount_one(root, mount, source))?;
    }
    if spec.privileged {
        return Ok(());
    }
    for path in READ_ONLY {
        step(path, make_read_only(root, path))?;
    }
    for path in MASKED {
        step(path, mask(root, path, &null))?;
    }
    Ok(())
}

fn step<T>(subject: &str, done: io::Result<T>) -> Result<T, StartFailure> {
    done.map_err(|error| StartFailure::new(Stage::Mounts, subject, &error))
}

/// Makes the whole root file system read-only; what is mounted into it stays as it is.
pub(crate) fn seal_root(root: &Root) -> io::Result<()> {
    shipway_linux::set_read_only(root)
}

/// Returns what is to be mounted, if it is there already.
fn source_of(root: &Root, mount: &Mount) -> io::Result<Option<OwnedFd>> {
    let MountKind::Detached { link, sub } = &mount.kind else { return Ok(None) };
    let opened = shipway_linux::open_path(link)?;
    if sub.as_os_str().is_empty() {
        return Ok(Some(opened));
    }
    part_of(root, opened, sub, mount.read_only).map(Some)
}

fn mount_one(root: &Root, mount: &Mount, source: Option<OwnedFd>) -> io::Result<()> {
    let refused = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    if mount.target.components().all(|part| !matches!(part, Component::Normal(_))) {
        return refused("it would cover the whole root file system");
    }
    // SECURITY row 4: over a file of the kernel's, what is written for the kernel would go elsewhere.
    let place = root.open_with(&mount.target, OpenFlags::PATH, 0);
    if place.is_ok_and(|place| shipway_linux::is_in_proc(place).unwrap_or(true)) {
        return refused("nothing may be mounted below /proc");
    }
    match &mount.kind {
        MountKind::Bind(source) => {
            let tree = clone_tree(source, mount.read_only)?;
            if source.is_dir() {
                cover_directory(root, &mount.target, tree)
            } else {
                place_file(root, &mount.target, tree)
            }
        }
        MountKind::Detached { .. } => {
            let Some(tree) = source else { return refused("there is nothing to mount") };
            if is_directory(&tree)? {
                cover_directory(root, &mount.target, tree)
            } else {
                place_file(root, &mount.target, tree)
            }
        }
        MountKind::Tmpfs => {
            let attributes =
                MountAttributes { read_only: mount.read_only, no_suid: true, no_dev: true, no_exec: false };
            cover_directory(root, &mount.target, memory(root, mount, attributes)?)
        }
    }
}

/// Makes a directory in memory.
fn memory(root: &Root, mount: &Mount, attributes: MountAttributes) -> io::Result<OwnedFd> {
    let size = mount.size.map(|size| size.to_string());
    let mode = mode_of(root, &mount.target);
    let mut options = vec![("mode", mode.as_str())];
    options.extend(size.as_deref().map(|size| ("size", size)));
    new_filesystem("tmpfs", &options, attributes)
}

/// Compat: runc, a directory in memory may be used as the one that it covers.
fn mode_of(root: &Root, target: &Path) -> String {
    let place = root.open_with(target, OpenFlags::PATH | OpenFlags::DIRECTORY, 0);
    let found = place.and_then(|place| Root::from_fd(place).metadata("."));
    found.ok().flatten().map_or_else(|| "1777".to_owned(), |found| format!("{:o}", found.mode & 0o7777))
}

/// Copies what is at a path of a mount that has no place. Only where it has one the kernel copies parts of it, so it gets one for a moment.
fn part_of(root: &Root, mount: OwnedFd, sub: &Path, read_only: bool) -> io::Result<OwnedFd> {
    let place = root.open_with(PARTS, OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW, 0)?;
    attach(mount, place)?;
    let top = root.open_root(Path::new(PARTS))?;
    let part = top.open_with(sub, OpenFlags::PATH | OpenFlags::NOFOLLOW, 0);
    let part = part.and_then(|found| clone_at(found, read_only));
    shipway_linux::detach(&top)?;
    part
}

fn is_directory(opened: &OwnedFd) -> io::Result<bool> {
    Ok(std::fs::File::from(opened.try_clone()?).metadata()?.is_dir())
}

/// A directory of our own file system, empty so far.
const PARTS: &str = "dev/shm";

/// A fresh `/dev` always: whatever the image has there is covered.
fn mount_dev(spec: &ContainerSpec, root: &Root) -> io::Result<()> {
    let attributes = MountAttributes { no_suid: true, ..MountAttributes::default() };
    let tmpfs = match spec.mounts.iter().rfind(|mount| is_dev(mount)) {
        // Compat: runc, one that is asked for has all devices, too.
        Some(mount) => memory(root, mount, attributes)?,
        None => new_filesystem("tmpfs", &[("mode", "755"), ("size", "65536k")], attributes)?,
    };
    let dev = Root::from_fd(tmpfs.try_clone()?);
    place_directory(root, "dev", tmpfs)?;
    for (name, major, minor) in DEVICES {
        dev.make_node(name, CHARACTER | 0o666, device(major, minor))?;
    }
    if spec.privileged {
        make_privileged_devices(&dev)?;
    }
    for (name, target) in LINKS {
        dev.symlink(Path::new(target), name)?;
    }
    for (name, mode) in [("pts", 0o755), ("shm", 0o1777), ("mqueue", 0o755)] {
        dev.create_dir(name, mode)?;
    }
    let devpts = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    let no_suid_exec = MountAttributes { no_suid: true, no_exec: true, ..MountAttributes::default() };
    place_directory(&dev, "pts", new_filesystem("devpts", &devpts, no_suid_exec)?)?;
    if !is_replaced(spec, "/dev/shm") {
        let shm = spec.shm_size.unwrap_or(SHM_SIZE).to_string();
        let shm = new_filesystem("tmpfs", &[("mode", "1777"), ("size", &shm)], NOTHING_SPECIAL)?;
        place_directory(&dev, "shm", shm)?;
    }
    if !is_replaced(spec, "/dev/mqueue") {
        place_directory(&dev, "mqueue", new_filesystem("mqueue", &[], NOTHING_SPECIAL)?)?;
    }
    Ok(())
}

/// Returns whether a mount that somebody asked for stands where one of ours usually does. Compat: docker and BuildKit, it is the only one
/// there then.
fn is_replaced(spec: &ContainerSpec, place: &str) -> bool {
    spec.mounts.iter().any(|mount| is_at(mount, place))
}

fn is_at(mount: &Mount, place: &str) -> bool {
    let normal = |path: &Path| {
        let parts = path.components().filter(|part| matches!(part, Component::Normal(_)));
        parts.collect::<PathBuf>()
    };
    normal(&mount.target) == normal(Path::new(place))
}

/// Returns whether a mount is the directory of devices, in memory as the usual one.
fn is_dev(mount: &Mount) -> bool {
    matches!(mount.kind, MountKind::Tmpfs) && is_at(mount, "/dev")
}

/// Type bits of a mode. Spec: inode(7).
const CHARACTER: u32 = 0o020_000;
const BLOCK: u32 = 0o060_000;

/// Returns the number of a device. Spec: makedev(3).
fn device(major: u64, minor: u64) -> u64 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

fn make_privileged_devices(dev: &Root) -> io::Result<()> {
    dev.create_dir("net", 0o755)?;
    for (name, mode, major, minor) in PRIVILEGED_DEVICES {
        dev.make_node(name, CHARACTER | mode, device(major, minor))?;
    }
    // Still the host's.
    let number = |entry: io::Result<fs_err::DirEntry>| {
        entry.ok()?.file_name().to_str()?.strip_prefix("loop")?.parse::<u64>().ok()
    };
    let there = fs_err::read_dir("/sys/block")
        .map_or(0, |found| found.filter_map(number).max().map_or(0, |last| last + 1));
    for minor in 0..there + SPARE_LOOPS {
        dev.make_node(format!("loop{minor}"), BLOCK | 0o600, device(LOOP, minor))?;
    }
    Ok(())
}

fn mount_sys(spec: &ContainerSpec, root: &Root) -> io::Result<()> {
    let attributes = MountAttributes { read_only: !spec.privileged, ..NOTHING_SPECIAL };
    let sys = match spec.network {
        // A new sysfs shows the namespace's own network; the host's must not be writable either.
        Network::Host => clone_tree(Path::new("/sys"), !spec.privileged)
            .or_else(|_refused| new_filesystem("sysfs", &[], attributes))?,
        _ => new_filesystem("sysfs", &[], attributes)?,
    };
    place_directory(root, "sys", sys)?;
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        let cgroup = new_filesystem("cgroup2", &[], attributes)?;
        place_directory(root, "sys/fs/cgroup", cgroup)?;
    }
    Ok(())
}

/// Covers a directory of the container, made if it is missing.
fn place_directory(root: &Root, target: impl AsRef<Path>, mount: OwnedFd) -> io::Result<()> {
    let target = target.as_ref();
    root.create_dir_all(target, 0o755)?;
    let place = root.open_with(target, OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW, 0)?;
    attach(mount, place)
}

/// Covers a directory that a user named, made if it is missing; a link leads to the one that is meant, inside the root.
fn cover_directory(root: &Root, target: &Path, mount: OwnedFd) -> io::Result<()> {
    match root.open_with(target, OpenFlags::PATH | OpenFlags::DIRECTORY, 0) {
        Ok(place) => attach(mount, place),
        Err(error) if error.kind() == io::ErrorKind::NotFound => place_directory(root, target, mount),
        Err(error) => Err(error),
    }
}

/// Covers a file of the container, made if it is missing.
pub(crate) fn place_file(root: &Root, target: &Path, mount: OwnedFd) -> io::Result<()> {
    if let Some(parent) = target.parent() {
        root.create_dir_all(parent, 0o755)?;
    }
    let flags = OpenFlags::PATH;
    let place = match root.open_with(target, flags, 0) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A dangling symlink is replaced: the file must be where it is looked for.
            root.remove_all(target)?;
            root.create_file(target, 0o644)?;
            root.open_with(target, flags, 0)?
        }
        other => other?,
    };
    attach(mount, place)
}

fn make_read_only(root: &Root, path: &str) -> io::Result<()> {
    let Some(target) = existing(root, path)? else { return Ok(()) };
    let copy = clone_at(&target, true)?;
    attach(copy, target)
}

fn mask(root: &Root, path: &str, null: &OwnedFd) -> io::Result<()> {
    let Some(target) = existing(root, path)? else { return Ok(()) };
    if root.metadata(path)?.is_some_and(|found| found.is_directory()) {
        let empty = new_filesystem(
            "tmpfs",
            &[("size", "0")],
            MountAttributes { read_only: true, ..NOTHING_SPECIAL },
        )?;
        return attach(empty, target);
    }
    attach(clone_at(null, false)?, target)
}

fn existing(root: &Root, path: &str) -> io::Result<Option<OwnedFd>> {
    match root.open_with(path, OpenFlags::PATH | OpenFlags::NOFOLLOW, 0) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the control group of a container.
pub(crate) fn cgroup_of(spec: &ContainerSpec) -> Cgroup {
    Cgroup::below(&spec.cgroup_above, &format!("{}/{}", spec.cgroup_parent, spec.id))
}
