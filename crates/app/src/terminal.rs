//! The person's terminal and that of a container: keys go one way as they are typed, output the other.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;

use shipway_linux::{RawTerminal, set_window_size, wait_readable, window_size};
use shipway_runtime::TerminalSize;

use crate::failure::Failure;
use crate::ui::Ui;

/// Size where nobody watches.
const DEFAULT: TerminalSize = TerminalSize { rows: 24, columns: 80 };

/// Refuses `-it` where the input is no terminal. Compat: docker's words.
pub(crate) fn check_input(tty: bool, interactive: bool) -> Result<(), Failure> {
    if tty && interactive && !io::stdin().is_terminal() {
        return Err(Failure::new(
            "the input device is not a TTY",
            "leave -t out: -i alone passes the input on",
        ));
    }
    Ok(())
}

/// Returns the size of the person's terminal.
pub(crate) fn size() -> TerminalSize {
    let found = window_size(io::stdin()).or_else(|_none| window_size(io::stdout()));
    found.map_or(DEFAULT, |size| TerminalSize { rows: size.rows, columns: size.columns })
}

/// Gives a container's terminal the size that the person's has now.
pub(crate) fn resize(master: &OwnedFd) {
    // Either may be gone.
    drop(set_window_size(master, size().into()));
}

/// Connects both until `wait` returns and everything that was written until then is shown.
pub(crate) fn attach<T: Send>(
    ui: &mut Ui,
    master: &OwnedFd,
    input: bool,
    wait: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    let raw = input.then(|| RawTerminal::enter(io::stdin())).transpose()?;
    if input {
        let mut to = File::from(master.try_clone()?);
        // It waits for keys until this process ends.
        thread::spawn(move || io::copy(&mut io::stdin().lock(), &mut to));
    }
    let (ended, running) = io::pipe()?;
    let result = thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            let result = wait();
            drop(running);
            result
        });
        let shown = show(ui, master, &ended);
        let result = waiting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        shown.map(|()| result)
    });
    drop(raw);
    result
}

fn show(ui: &mut Ui, master: &OwnedFd, ended: &io::PipeReader) -> io::Result<()> {
    let mut from = File::from(master.as_fd().try_clone_to_owned()?);
    let mut buffer = vec![0; 16 * 1024];
    while wait_readable(&from, ended)? {
        // The kernel's way to say that nobody has the other end open.
        let Ok(length @ 1..) = from.read(&mut buffer) else { break };
        // A person who went away must not stop the program.
        drop(ui.out().write_all(&buffer[..length]).and_then(|()| ui.out().flush()));
    }
    Ok(())
}
