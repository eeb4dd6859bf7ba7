//! A file system of its own in a sparse file.
//!
//! On ext4 the files that somebody deleted a short time ago make later ones slower: no side pays for what another, or an earlier run, left.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::program;

/// Bytes that it could hold; as much of the disk is used as is written.
const SIZE: u64 = 32 << 30;

/// It goes with the value.
#[derive(Debug)]
pub(crate) struct Volume {
    image: PathBuf,
    /// Where it is mounted.
    pub(crate) dir: PathBuf,
}

impl Volume {
    /// Makes an empty one that is mounted at `dir`.
    pub(crate) fn new(dir: &Path) -> anyhow::Result<Self> {
        Self::with(dir, "^has_journal")
    }

    /// Makes an empty one with a journal, for those where files are removed too: without one their inodes are passed over for minutes.
    pub(crate) fn journaled(dir: &Path) -> anyhow::Result<Self> {
        Self::with(dir, "has_journal")
    }

    fn with(dir: &Path, features: &str) -> anyhow::Result<Self> {
        fs_err::create_dir_all(dir)?;
        let volume = Self { image: dir.with_extension("img"), dir: dir.to_owned() };
        fs_err::File::create(&volume.image)?.set_len(SIZE)?;
        let options = ["-q", "-F", "-O", features, "-E", "lazy_itable_init=1,nodiscard"];
        program::output(Command::new("mkfs.ext4").args(options).arg(&volume.image))?;
        // What is cached for the file system is not cached for its file once more: whoever waits for the disk would wait for that. And
        // the kernel does not go on with making the file system while it is used.
        let attach = ["--find", "--show", "--direct-io=on"];
        let attached = program::output(Command::new("losetup").args(attach).arg(&volume.image))?;
        let device = String::from_utf8(attached.stdout)?;
        let mounted =
            program::output(Command::new("mount").args(["-o", "noinit_itable", device.trim_end()]).arg(dir));
        // While it is mounted it stays.
        program::output(Command::new("losetup").args(["--detach", device.trim_end()]))?;
        mounted.map(|_| volume)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Mounts that a builder left inside go first.
        drop(Command::new("umount").args(["--recursive", "--quiet"]).arg(&self.dir).status());
        drop(Command::new("umount").args(["--lazy", "--quiet"]).arg(&self.dir).output());
        drop(fs_err::remove_file(&self.image));
    }
}
