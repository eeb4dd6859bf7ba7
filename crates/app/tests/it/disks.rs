//! Disks that are full, or lose their power, at any moment of whatever fetches, loads or makes images. For more of it:
//! `cargo xtask soak`.

mod full_disk;
mod power_cut;
mod served;

use std::path::PathBuf;
use std::process::Output;

use shipway_linux::{forget_private_mounts, keep_mounts_private};
use shipway_testkit::registry::TestRegistry;
use shipway_testkit::{Disk, Need, require};

use crate::machine::{Machine, can_run};

const SIZE: u64 = 64 << 20;

fn can_have_disks() -> bool {
    can_run() && require(&[Need::LoopDevices])
}

/// A machine whose root lies on a disk of its own, with the image `kept` there, and with what the verbs work on elsewhere.
struct Place {
    machine: Machine,
    registry: TestRegistry,
    /// Goes after the machine, which tidies up on it.
    held: Held,
}

/// A disk that no other mount namespace sees.
struct Held {
    disk: Disk,
    dir: tempfile::TempDir,
}

/// Something that ends with an image of a name.
struct Work {
    verb: &'static str,
    args: Vec<String>,
    makes: String,
}

impl Work {
    fn args(&self) -> Vec<&str> {
        self.args.iter().map(String::as_str).collect()
    }
}

impl Place {
    fn new(inodes: Option<usize>) -> Self {
        let machine = Machine::with_box();
        let registry = machine.inside(TestRegistry::start);
        machine.publish(&registry.name("box:1"));
        let saved = machine.dir.path().join("box.tar");
        machine.ok(&["save", "-o", saved.to_str().unwrap(), "box"]);
        let output = format!("--output=type=tar,dest={}", machine.dir.path().join("tree.tar").display());
        machine.ok(&["build", "-q", "--network", "none", &output, "."]);
        // From here on everything is on the disk.
        let dir = tempfile::tempdir().unwrap();
        keep_mounts_private(dir.path()).unwrap();
        let disk = Disk::new(dir.path(), SIZE, inodes);
        fs_err::rename(machine.dir.path().join("root"), machine.dir.path().join("elsewhere")).unwrap();
        fs_err::create_dir(disk.path().join("root")).unwrap();
        std::os::unix::fs::symlink(disk.path().join("root"), machine.dir.path().join("root")).unwrap();
        let place = Self { machine, registry, held: Held { disk, dir } };
        place.keep("kept");
        // One whose commands do not hide that they fail.
        let run = "for n in $(seq 100); do cp /etc/passwd /etc/p$n || exit 1; done; ln -s busybox /bin/sh";
        place.machine.dockerfile(&format!(
            "FROM scratch\nCOPY busybox /bin/busybox\nCOPY passwd /etc/passwd\n\
             RUN [\"/bin/busybox\", \"sh\", \"-c\", \"{run}\"]\n"
        ));
        place
    }

    /// Makes an image that is like no other.
    fn keep(&self, name: &str) {
        fs_err::write(self.machine.context().join("passwd"), format!("{name}:x:0:0::/root:/bin/sh\n"))
            .unwrap();
        self.machine.ok(&["build", "-q", "--network", "none", "-t", name, "."]);
        // Only the image is to be there.
        self.machine.ok(&["system", "prune", "-f"]);
    }

    fn file(&self, name: &str) -> String {
        self.machine.dir.path().join(name).display().to_string()
    }

    /// What there is to do.
    fn works(&self) -> Vec<Work> {
        let work = |verb, args: &[&str], makes: &str| Work {
            verb,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            makes: makes.to_owned(),
        };
        let remote = self.registry.name("box:1");
        vec![
            work("pull", &["pull", "-q", &remote], &remote),
            work("load", &["load", "-q", "-i", &self.file("box.tar")], "box"),
            work("import", &["import", &self.file("tree.tar"), "tree"], "tree"),
            work("build", &["build", "-q", "--network", "none", "--no-cache", "-t", "made", "."], "made"),
        ]
    }

    fn undo(&self, work: &Work) {
        self.machine.ok(&["rmi", &work.makes]);
        self.machine.ok(&["system", "prune", "-f"]);
    }

    /// Returns the names of all images.
    fn images(&self) -> Vec<String> {
        let (text, _) = self.machine.ok(&["images", "-a", "--format", "{{.Repository}}:{{.Tag}}"]);
        let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// Everything that is there is whole, and the image that was there first works.
    fn assert_whole(&self, case: &str) {
        let fsck = self.machine.shipway(&["system", "fsck"]);
        assert!(fsck.status.success(), "{case}: {}", String::from_utf8_lossy(&fsck.stdout));
        assert!(self.images().contains(&"kept:latest".to_owned()), "{case}: an image is lost");
    }

    /// An image runs, and has all its files.
    fn assert_runs(&self, image: &str, case: &str) {
        let script = "cmp /bin/busybox /bin/sh && echo works";
        let output = self.machine.shipway(&[
            "run",
            "--rm",
            "--network",
            "none",
            "--entrypoint",
            "/bin/busybox",
            image,
            "sh",
            "-c",
            script,
        ]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "works\n", "{case}: {}", errors(&output));
    }

    /// Nothing unfinished is left.
    fn assert_tidy(&self, case: &str) {
        for dir in ["tmp", "active"] {
            assert_eq!(self.machine.count(&format!("root/{dir}")), 0, "{case}: {dir}");
        }
    }

    fn disk(&self) -> &Disk {
        &self.held.disk
    }

    fn root(&self) -> PathBuf {
        self.disk().path().join("root")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(forget_private_mounts(&self.disk.path()));
        drop(forget_private_mounts(self.dir.path()));
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
