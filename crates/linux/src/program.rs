//! The program's own file in memory.

use std::io;

use rustix::io::Errno;
use rustix::mm::{Advice, madvise};
use rustix::param::page_size;

unsafe extern "C" {
    /// The first byte of the program as it is mapped; the linker puts it there.
    #[link_name = "__executable_start"]
    static START: u8;
    /// The byte behind its code.
    #[link_name = "etext"]
    static END: u8;
}

/// Lets go of the program's code, and the constants that lie before it, which come back from the kernel's cache of the file as they are used: what a
/// server needed to start, or for those who were there, does not stay in its memory. Spec: madvise(2), `MADV_DONTNEED`.
pub fn forget_code() -> io::Result<()> {
    let page = page_size();
    let (start, end) =
        ((&raw const START).addr().next_multiple_of(page), (&raw const END).addr() / page * page);
    let from = (&raw const START).cast_mut().wrapping_add(start - (&raw const START).addr());
    // SAFETY: the pages between the two are those of the file, mapped privately and never written to: all that is writable lies behind
    // the code. What is let go is read again with the same bytes.
    match unsafe { madvise(from.cast(), end.saturating_sub(start), Advice::LinuxDontNeed) } {
        // There may be holes between the parts of the file; what is mapped was let go.
        Ok(()) | Err(Errno::NOMEM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of files that are in memory, in kilobytes.
    fn of_files() -> u64 {
        let status = io::read_to_string(std::fs::File::open("/proc/self/status").unwrap()).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    #[test]
    fn a_program_runs_on_without_what_it_needed_to_start() {
        let before = of_files();
        forget_code().unwrap();
        let after = of_files();
        assert!(after < before, "{after} kB of {before}");
    }
}
