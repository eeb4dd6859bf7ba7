//! Where output goes: results to `out`, progress and notes to `status`; nothing else prints.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write};

/// The two streams of a command.
pub(crate) struct Ui {
    out: Box<dyn Write + Send>,
    status: Box<dyn Write + Send>,
    /// Which of them are terminals, that do what control characters say.
    terminals: (bool, bool),
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
        let (out, status) = (io::stdout(), io::stderr());
        let terminals = (out.is_terminal(), status.is_terminal());
        Self { out: Box::new(out), status: Box::new(status), terminals, lost: None }
    }

    /// Returns the stream of results, for output that is not lines of ours.
    pub(crate) fn out(&mut self) -> &mut dyn Write {
        &mut self.out
    }

    /// Returns the stream for the person who watches.
    pub(crate) fn status(&mut self) -> &mut dyn Write {
        &mut self.status
    }

    /// Writes one line of a result, as a terminal can show it if it is one. A reader that went away ends the program quietly, as `head` expects.
    pub(crate) fn line(&mut self, text: impl std::fmt::Display) {
        match write_line((&mut self.out, self.terminals.0), &text) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => self.lost = Some(error),
            _ => {}
        }
    }

    /// Writes one line of a result that has colours: whoever drew it has seen to it that nothing else is done to a terminal.
    pub(crate) fn drawn_line(&mut self, text: impl std::fmt::Display) {
        match write_line((&mut self.out, false), &text) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => self.lost = Some(error),
            _ => {}
        }
    }

    /// Returns how many letters a line of results may have; `None` where they do not go to a terminal.
    pub(crate) fn width(&self) -> Option<usize> {
        let size = self.terminals.0.then(|| shipway_linux::window_size(io::stdout()).ok()).flatten();
        size.map(|size| usize::from(size.columns)).filter(|columns| *columns > 0)
    }

    /// Whether results may have colours.
    pub(crate) fn paints(&self) -> bool {
        self.terminals.0 && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }

    /// Returns why lines of a result were not written, if they were not, and somebody waits for them.
    pub(crate) fn lost(&mut self) -> Option<io::Error> {
        self.lost.take()
    }

    /// Writes one line for the person who watches, as a terminal can show it if it is one.
    pub(crate) fn note(&mut self, text: impl std::fmt::Display) {
        // There is nobody else to tell.
        drop(write_line((&mut self.status, self.terminals.1), &text));
    }
}

fn write_line((stream, is_terminal): (&mut dyn Write, bool), text: &dyn std::fmt::Display) -> io::Result<()> {
    let written = match is_terminal {
        true => writeln!(stream, "{}", visible(&text.to_string())),
        false => writeln!(stream, "{text}"),
    };
    let written = written.and_then(|()| stream.flush());
    written.inspect_err(|error| tracing::debug!(%error, "a line was not written"))
}

/// Returns a text with what would move a terminal's cursor, change its colours or turn the direction of writing in a form that can be
/// seen: images, registries and Dockerfiles of strangers have a say in what is printed. Lines and tabs stay. Compat: `cat -v`.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    let acts = |char: char| {
        (char.is_control() && !matches!(char, '\n' | '\t'))
            || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match char {
            _ if !acts(char) => shown.push(char),
            '\0'..='\u{7f}' => shown.extend(['^', char::from_u32(u32::from(char) ^ 0x40).unwrap_or('?')]),
            _ => shown.extend(char.escape_unicode()),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn nothing_that_a_terminal_would_do_is_left_and_everything_is_seen() {
        for (text, want) in [
            ("a\tb\nä 日", "a\tb\nä 日"),
            ("\u{1b}]0;title\u{7}", "^[]0;title^G"),
            ("a\rb\u{7f}", "a^Mb^?"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("x\u{202e}fdp", "x\\u{202e}fdp"),
        ] {
            assert_eq!(visible(text), want);
        }
    }
}
