//! What an archive may cost.

use std::path::Path;

use crate::refusal::Refusal;

/// What an archive may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of all files, and of what follows the end of the archive.
    pub bytes: u64,
    /// Number of entries.
    pub entries: u64,
    /// Length of a path.
    pub path: usize,
    /// Number of names in a path.
    pub depth: usize,
    /// Bytes of memory for what must be remembered of directories and links until the end.
    pub memory: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { bytes: 64 << 30, entries: 10_000_000, path: 4096, depth: 512, memory: 96 << 20 }
    }
}

impl Budget {
    /// Takes one entry of `size` bytes off.
    pub(crate) fn take_entry(&mut self, size: u64) -> Result<(), Refusal> {
        self.entries = self.entries.checked_sub(1).ok_or(Refusal::Reason("too many entries"))?;
        self.bytes = self.bytes.checked_sub(size).ok_or(Refusal::Reason("too many bytes"))?;
        Ok(())
    }

    /// Takes the memory for a path off that is remembered.
    pub(crate) fn take_path(&mut self, path: &Path) -> Result<(), Refusal> {
        /// About what a map needs beside the text.
        const BESIDE: usize = 96;
        let need = path.as_os_str().len() + BESIDE;
        self.memory = self.memory.checked_sub(need).ok_or(Refusal::Reason("too many directories"))?;
        Ok(())
    }

    /// Refuses a path that is too long or too deep.
    pub(crate) fn check_path(&self, path: &Path) -> Result<(), Refusal> {
        if path.as_os_str().len() > self.path {
            return Err(Refusal::Reason("the path is too long"));
        }
        if path.components().count() > self.depth {
            return Err(Refusal::Reason("the path is too deep"));
        }
        Ok(())
    }
}
