//! Where output goes: results to `out`, progress and notes to `status`; nothing else prints.

use std::io::{self, Write};

/// The two streams of a command.
pub(crate) struct Ui {
    out: Box<dyn Write + Send>,
    status: Box<dyn Write + Send>,
    /// Why a line of a result was not written.
    lost: Option<io::Error>,
}

impl std::fmt::Debug for Ui {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ui").finish_non_exhaustive()
    }
}

impl Ui {
    /// Returns the process's own streams.
    pub(crate) fn of_process() -> Self {
        Self { out: Box::new(io::stdout()), status: Box::new(io::stderr()), lost: None }
    }

    /// Returns the stream of results, for output that is not lines of ours.
    pub(crate) fn out(&mut self) -> &mut dyn Write {
        &mut self.out
    }

    /// Returns the stream for the person who watches.
    pub(crate) fn status(&mut self) -> &mut dyn Write {
        &mut self.status
    }

    /// Writes one line of a result. A reader that went away ends the program quietly, as `head` expects.
    pub(crate) fn line(&mut self, text: impl std::fmt::Display) {
        match write_line(&mut self.out, &text) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => self.lost = Some(error),
            _ => {}
        }
    }

    /// Returns why lines of a result were not written, if they were not, and somebody waits for them.
    pub(crate) fn lost(&mut self) -> Option<io::Error> {
        self.lost.take()
    }

    /// Writes one line for the person who watches.
    pub(crate) fn note(&mut self, text: impl std::fmt::Display) {
        // There is nobody else to tell.
        drop(write_line(&mut self.status, &text));
    }
}

fn write_line(stream: &mut dyn Write, text: &dyn std::fmt::Display) -> io::Result<()> {
    let written = writeln!(stream, "{text}").and_then(|()| stream.flush());
    written.inspect_err(|error| tracing::debug!(%error, "a line was not written"))
}
