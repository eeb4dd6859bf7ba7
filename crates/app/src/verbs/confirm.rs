//! Asking before something goes.

use std::io::{BufRead as _, Read as _};

use crate::failure::Failure;
use crate::ui::Ui;

/// What is said where the store cannot be cleaned now.
pub(super) const LATER: &str = "note: something is being built, pulled or run: the space is freed by the next `rmi` or \
                                `prune` after it";

/// Longest answer that is read.
const ANSWER: u64 = 100;

/// Says what is about to go, and fails unless the answer is yes.
pub(super) fn ask(warning: &str, ui: &mut Ui) -> Result<(), Failure> {
    let asked = write!(ui.status(), "{warning}\nAre you sure you want to continue? [y/N] ")
        .and_then(|()| ui.status().flush());
    let mut answer = Vec::new();
    let input = std::io::stdin().lock();
    let read = asked.and_then(|()| input.take(ANSWER).read_until(b'\n', &mut answer));
    read.map_err(|error| Failure::new(format!("could not ask: {error}"), "use -f to be asked nothing"))?;
    if !answer.ends_with(b"\n") {
        ui.note("");
    }
    if matches!(String::from_utf8_lossy(&answer).trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    let hint = "answer `y`, or use -f to be asked nothing";
    Err(Failure::new("nothing was removed: it was not confirmed", hint))
}
