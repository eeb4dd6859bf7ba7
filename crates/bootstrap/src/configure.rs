//! Making a working system of unpacked packages.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use shipway_layers::Snapshot;

use crate::database::{Triggers, Unpacked};
use crate::error::{BootstrapError, RunnerError};
use crate::lock::Guarded;
use crate::request::{Event, Progress, Step, StepRunner};
use crate::tree::Tree;

/// Search path of maintainer scripts and of the image.
pub(crate) const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Files that a container runtime mounts over; they are there while the scripts run.
const MOUNTED_OVER: [&str; 3] = ["etc/hosts", "etc/hostname", "etc/resolv.conf"];
const MOUNT_POINTS: [&str; 3] = ["dev", "proc", "sys"];

/// What is only true of this moment, or of dpkg having worked; the next run of something makes it again.
const LEFT_OVERS: [&str; 12] = [
    "var/cache/ldconfig/aux-cache",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/available-old",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/statoverride-old",
    "var/cache/debconf/config.dat-old",
    "var/cache/debconf/templates.dat-old",
    "var/cache/debconf/passwords.dat-old",
    "var/log/dpkg.log",
    "var/log/alternatives.log",
    "var/lib/systemd/random-seed",
    "etc/.pwd.lock",
];

/// Makes what a container needs to run in the tree.
pub(crate) fn prepare(tree: &Tree) -> io::Result<()> {
    for folder in MOUNT_POINTS {
        tree.ensure_directory(folder.as_ref())?;
    }
    for file in MOUNTED_OVER {
        tree.write(file, 0o644, b"")?;
    }
    if !exists(tree.root(), "usr/bin/sh") {
        // Until Debian 11 the package dash makes it by its script, which needs it.
        std::os::unix::fs::symlink("dash", tree.root().join("usr/bin/sh"))?;
    }
    Ok(())
}

/// Runs the packages' scripts in a container.
pub(crate) fn run(
    snapshot: &Snapshot,
    packages: &[Unpacked],
    triggers: &Triggers,
    epoch: i64,
    (runner, progress): (&dyn StepRunner, &dyn Progress),
) -> Result<(), BootstrapError> {
    let args = ["/bin/sh", "-c", &script(packages, triggers)].map(str::to_owned);
    let env = [
        PATH.to_owned(),
        "HOME=/root".to_owned(),
        "LC_ALL=C.UTF-8".to_owned(),
        "DEBIAN_FRONTEND=noninteractive".to_owned(),
        "DEBCONF_NONINTERACTIVE_SEEN=true".to_owned(),
        format!("SOURCE_DATE_EPOCH={epoch}"),
    ];
    let step = Step {
        lowers: &snapshot.lowers,
        upper: &snapshot.upper,
        work: &snapshot.work,
        args: &args,
        env: &env,
    };
    let mut output = Lines { progress, partial: Vec::new(), tail: Guarded::default() };
    let status = runner
        .run(&step, &mut output)
        .map_err(|error| BootstrapError::Container { source: RunnerError(error) })?;
    output.end();
    if status == 0 {
        return Ok(());
    }
    let tail: Vec<String> = output.tail.into_inner().into();
    Err(BootstrapError::Configure { status, output: tail.join("\n") })
}

/// The order is that of debootstrap: users and the base first, because others' scripts rely on them without saying so.
fn script(packages: &[Unpacked], triggers: &Triggers) -> String {
    let mut script =
        String::from("set -e\nexport DPKG_ROOT= DPKG_ADMINDIR=/var/lib/dpkg DPKG_MAINTSCRIPT_NAME=preinst\n");
    let mut line = |text: &str| writeln!(script, "{text}").expect("a String takes everything");
    let (first, rest): (Vec<_>, Vec<_>) = packages
        .iter()
        .filter(|package| package.has_script("preinst"))
        .partition(|package| package.name == "base-passwd");
    for package in first.into_iter().chain(rest) {
        line(&format!(
            "DPKG_MAINTSCRIPT_PACKAGE={} DPKG_MAINTSCRIPT_ARCH={} '/var/lib/dpkg/info/{}.preinst' install",
            package.name,
            package.architecture,
            package.file_name()
        ));
    }
    line("unset DPKG_ROOT DPKG_ADMINDIR DPKG_MAINTSCRIPT_NAME");
    let base = ["base-passwd", "base-files"].into_iter();
    let base: Vec<&str> = base.filter(|name| packages.iter().any(|package| package.name == *name)).collect();
    let options = "--force-depends --no-triggers --configure";
    if !base.is_empty() {
        line(&format!("dpkg {options} {}", base.join(" ")));
    }
    line(&format!("dpkg {options} --pending"));
    for trigger in triggers.pending(packages) {
        line(&format!("dpkg-trigger --by-package=dpkg --no-await '{trigger}'"));
    }
    line("dpkg --triggers-only --pending");
    script
}

/// Settings of the image's own apt and dpkg, and what keeps services from starting in a build.
pub(crate) fn write_settings(tree: &Tree, sources: &str, accepts_expired: bool) -> io::Result<()> {
    tree.write("etc/apt/sources.list.d/debian.sources", 0o644, sources.as_bytes())?;
    tree.write("etc/apt/apt.conf.d/docker-clean", 0o644, APT_SETTINGS.as_bytes())?;
    tree.write("etc/dpkg/dpkg.cfg.d/shipway-image", 0o644, DPKG_SETTINGS.as_bytes())?;
    tree.write("usr/sbin/policy-rc.d", 0o755, NO_SERVICES.as_bytes())?;
    if accepts_expired {
        tree.write("etc/apt/apt.conf.d/shipway-release-date", 0o644, EXPIRED_SETTINGS.as_bytes())?;
    }
    Ok(())
}

// Compat: official images have a file of this name, and Dockerfiles remove it to keep packages in a cache mount.
const APT_SETTINGS: &str = r#"// An image keeps neither downloaded packages nor apt's caches of its lists.
APT::Keep-Downloaded-Packages "false";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
// Package lists stay compressed, and translations of descriptions are not fetched.
Acquire::GzipIndexes "true";
Acquire::Languages "none";
// Removing a package removes what only it needed, also if something else suggests that.
APT::AutoRemove::SuggestsImportant "false";
"#;
const EXPIRED_SETTINGS: &str = r#"// The archive that this image was made from may have lists whose time is over.
Acquire::Check-Valid-Until "false";
"#;
const DPKG_SETTINGS: &str = "# A layer is synced as a whole, not file by file.\nforce-unsafe-io\n";
const NO_SERVICES: &str =
    "#!/bin/sh\n# There is no init in a build: packages must not start their services.\nexit 101\n";

/// Takes away what should not be in an image. Scripts have run in the tree, so nothing here follows a link.
pub(crate) fn clean(root: &Path) -> io::Result<()> {
    let plain_parents = |path: &Path| {
        path.ancestors()
            .skip(1)
            .all(|parent| root.join(parent).symlink_metadata().is_ok_and(|found| found.is_dir()))
    };
    for path in LEFT_OVERS.iter().map(Path::new).filter(|path| plain_parents(path)) {
        remove(&root.join(path))?;
    }
    for path in MOUNTED_OVER.iter().map(Path::new).filter(|path| plain_parents(path)) {
        let path = root.join(path);
        if path.symlink_metadata().is_ok_and(|found| found.is_file() && found.len() == 0) {
            remove(&path)?;
        }
    }
    for folder in ["tmp", "var/tmp", "var/log/apt"].map(Path::new) {
        if plain_parents(&folder.join("x")) {
            empty(&root.join(folder))?;
        }
    }
    let id = root.join("etc/machine-id");
    if id.symlink_metadata().is_ok_and(|found| found.is_file()) {
        fs_err::write(id, "")?;
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.symlink_metadata()?.is_dir() {
            fs_err::remove_dir_all(path)?;
        } else {
            fs_err::remove_file(path)?;
        }
    }
    Ok(())
}

fn exists(root: &Path, path: &str) -> bool {
    root.join(path).symlink_metadata().is_ok()
}

/// Cuts output into lines for the progress, and keeps the last ones for an error.
struct Lines<'a> {
    progress: &'a dyn Progress,
    partial: Vec<u8>,
    tail: Guarded<VecDeque<String>>,
}

impl Lines<'_> {
    const KEPT: usize = 20;
    const LONGEST: usize = 4096;

    fn end(&mut self) {
        if self.partial.is_empty() {
            return;
        }
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.partial)).trim_end().to_owned();
        self.progress.event(&Event::Output(&line));
        let mut tail = self.tail.lock();
        tail.push_back(line);
        if tail.len() > Self::KEPT {
            tail.pop_front();
        }
    }
}

impl io::Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            self.partial.push(*byte);
            if *byte == b'\n' || self.partial.len() > Self::LONGEST {
                self.end();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Quiet;
    use io::Write as _;

    #[test]
    fn left_overs_go_and_links_are_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        fs_err::write(outside.path().join("f"), "x").unwrap();
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for folder in ["etc", "tmp/d", "var/lib/dpkg", "var/lib/apt/lists/partial"] {
            fs_err::create_dir_all(path(folder)).unwrap();
        }
        for file in ["etc/hosts", "etc/.pwd.lock", "tmp/d/f", "tmp/f", "var/lib/dpkg/status-old"] {
            fs_err::write(path(file), "").unwrap();
        }
        fs_err::write(path("etc/resolv.conf"), "kept").unwrap();
        fs_err::write(path("etc/machine-id"), "0123\n").unwrap();
        std::os::unix::fs::symlink(outside.path(), path("var/tmp")).unwrap();
        clean(root.path()).unwrap();
        for gone in ["etc/hosts", "etc/.pwd.lock", "tmp/d", "tmp/f", "var/lib/dpkg/status-old"] {
            assert!(!path(gone).exists(), "{gone}");
        }
        assert_eq!(fs_err::read_to_string(path("etc/machine-id")).unwrap(), "");
        assert!(
            path("etc/resolv.conf").exists() && path("tmp").is_dir() && outside.path().join("f").exists()
        );
    }

    #[test]
    fn the_last_lines_of_output_are_kept() {
        let mut lines = Lines { progress: &Quiet, partial: Vec::new(), tail: Guarded::default() };
        for number in 0..30 {
            writeln!(lines, "line {number}").unwrap();
        }
        write!(lines, "half").unwrap();
        lines.end();
        let tail = lines.tail.into_inner();
        assert_eq!((tail.len(), tail[0].as_str(), tail[19].as_str()), (20, "line 11", "half"));
    }
}
