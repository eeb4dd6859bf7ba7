//! A disk of its own for a test: ext4 in a file, which can be small, full, or lose its power.
#![expect(clippy::unwrap_used, reason = "a part of tests")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A mount may be in use by a process that ends just now.
const PATIENCE: Duration = Duration::from_secs(20);

/// An ext4 file system with a journal, below a directory that the caller keeps from other mount namespaces and removes.
#[derive(Debug)]
pub struct Disk {
    directory: PathBuf,
}

impl Disk {
    /// Makes one of so many bytes in `directory` and mounts it; `inodes` are as many as mkfs thinks right if `None`.
    pub fn new(directory: &Path, bytes: u64, inodes: Option<usize>) -> Self {
        let disk = Self { directory: directory.to_owned() };
        fs_err::create_dir(disk.path()).unwrap();
        File::create(disk.image()).unwrap().set_len(bytes).unwrap();
        let image = disk.image();
        let image = image.to_str().unwrap();
        let inodes = inodes.map(|count| count.to_string());
        let mut args = vec!["-q", "-F", "-m", "0", "-O", "has_journal"];
        args.extend(inodes.iter().flat_map(|count| ["-N", count]));
        program("/usr/sbin/mkfs.ext4", &[&args[..], &[image]].concat(), &[0]);
        disk.mount();
        disk
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.directory.join("fs")
    }

    fn image(&self) -> PathBuf {
        self.directory.join("image")
    }

    /// Returns whether a loop device has the file.
    fn is_attached(&self) -> bool {
        let image = self.image();
        let devices = fs_err::read_dir("/sys/block").unwrap().flatten();
        let mut files = devices.map(|device| device.path().join("loop/backing_file"));
        files.any(|file| {
            fs_err::read_to_string(file).is_ok_and(|backing| Path::new(backing.trim_end()) == image)
        })
    }

    fn mount(&self) {
        program(
            "mount",
            &["-o", "loop", self.image().to_str().unwrap(), self.path().to_str().unwrap()],
            &[0],
        );
        assert!(self.path().join("lost+found").exists(), "it is not mounted");
    }

    /// Gives the power back: the journal is replayed, the file system is checked and mounted again.
    pub fn restart(&self) {
        let begun = Instant::now();
        loop {
            let output = Command::new("umount").arg(self.path()).output().unwrap();
            if output.status.success() {
                break;
            }
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(why.contains("busy") && begun.elapsed() < PATIENCE, "umount: {why}");
            std::thread::yield_now();
        }
        // Another namespace, of a process that ends just now, may have it mounted still: what was on its way there would be written
        // over what comes after.
        while self.is_attached() {
            assert!(begun.elapsed() < PATIENCE, "it is mounted elsewhere");
            std::thread::yield_now();
        }
        assert_eq!(fs_err::read_dir(self.path()).unwrap().count(), 0, "it was still mounted");
        // 1: the journal was replayed, and nothing else was wrong.
        program("/usr/sbin/e2fsck", &["-p", self.image().to_str().unwrap()], &[0, 1]);
        self.mount();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // One that is not mounted is none to unmount.
        drop(Command::new("umount").arg("-l").arg(self.path()).output());
    }
}

fn program(name: &str, args: &[&str], codes: &[i32]) {
    let output = Command::new(name).args(args).output().unwrap();
    let code = output.status.code().unwrap();
    assert!(codes.contains(&code), "{name} {args:?}: {code}: {}", String::from_utf8_lossy(&output.stderr));
}
