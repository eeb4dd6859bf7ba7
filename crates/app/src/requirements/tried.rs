//! What was tried on this machine before, and went well.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use crate::roots::Roots;

/// A note below the state root, which does not outlive a restart.
#[derive(Debug)]
pub(crate) struct Tried {
    note: PathBuf,
    /// What it must say to be true of this machine; `None` if that cannot be told.
    want: Option<String>,
}

impl Tried {
    /// Looks for the note of a pair of roots.
    pub(crate) fn before(roots: &Roots) -> Self {
        let want = || {
            let kernel = fs_err::read_to_string("/proc/sys/kernel/osrelease").ok()?;
            let boot = fs_err::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
            let data = fs_err::metadata(&roots.data).ok()?;
            Some(format!("{kernel}{boot}{} {}\n", data.dev(), data.ino()))
        };
        Self { note: roots.state.join("tried"), want: want() }
    }

    /// Returns whether all of it was tried here and went well.
    pub(crate) fn is_known(&self) -> bool {
        self.want.is_some() && fs_err::read_to_string(&self.note).ok() == self.want
    }

    /// Notes that it went well. Where that cannot be written it is tried again the next time.
    pub(crate) fn remember(&self) {
        if let Some(want) = self.want.as_ref().filter(|_| !self.is_known()) {
            drop(fs_err::write(&self.note, want));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_true_of_one_file_system_and_one_start_of_the_machine() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["data", "other", "state"] {
            fs_err::create_dir(dir.path().join(name)).unwrap();
        }
        let roots = |data: &str| Roots {
            data: dir.path().join(data),
            state: dir.path().join("state"),
            id: String::new(),
        };
        assert!(!Tried::before(&roots("data")).is_known());
        Tried::before(&roots("data")).remember();
        assert!(Tried::before(&roots("data")).is_known());
        assert!(!Tried::before(&roots("other")).is_known());
        let note = dir.path().join("state/tried");
        let text = fs_err::read_to_string(&note).unwrap();
        fs_err::write(&note, text.replacen('-', "+", 1)).unwrap();
        assert!(!Tried::before(&roots("data")).is_known());
    }
}
