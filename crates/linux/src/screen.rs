//! How large the screen is that a person sees.

use std::os::fd::AsFd;

/// Returns the columns and rows of the terminal that `fd` is, if it is one and knows.
pub fn terminal_size(fd: impl AsFd) -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(fd).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_no_size_in_columns() {
        assert_eq!(terminal_size(tempfile::tempfile().unwrap()), None);
    }
}
