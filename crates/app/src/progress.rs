//! What is shown while work goes on: lines, or a display that is drawn again and again on a terminal.

mod arrivals;
mod board;
mod events;
mod frame;
mod lines;
mod phases;
mod plain;
mod quiet;
mod rawjson;
mod screen;
mod text;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use arrivals::Arrivals;
pub(crate) use board::End;
pub(crate) use phases::Phases;

use crate::cli::ProgressStyle;
use crate::failure::Failure;
use crate::transfers::Direction;
use board::{Board, Key, Status};
use lines::Lines;
use quiet::Unseen;
use rawjson::{Ended, RawJson};
use screen::Screen;

/// Shows work, on the standard error. Clones show on the same display.
#[derive(Clone, Debug)]
pub(crate) struct Show(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    Screen(Screen),
    Lines(Lines),
    Unseen(Unseen),
    Json(RawJson),
}

impl Kind {
    /// Changes the board, where there is one.
    fn change(&self, change: impl FnOnce(&mut Board, Duration)) {
        match self {
            Self::Screen(screen) => screen.change(change),
            Self::Unseen(unseen) => unseen.change(change),
            Self::Lines(_) | Self::Json(_) => {}
        }
    }
}

impl Show {
    /// Begins to show work with a title such as `Building`.
    pub(crate) fn open(style: ProgressStyle, title: &str) -> Result<Self, Failure> {
        let terminal = std::io::stderr().is_terminal();
        // A log on the same terminal would tear the display.
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let drawable = terminal && !dumb && std::env::var_os("SHIPWAY_LOG").is_none();
        let kind = match style {
            ProgressStyle::Auto if drawable => Kind::Screen(Screen::open(title)),
            ProgressStyle::Tty if terminal => Kind::Screen(Screen::open(title)),
            ProgressStyle::Tty => {
                return Err(Failure::new(
                    "--progress tty needs a terminal, and the standard error is none",
                    "leave it out, or use `--progress plain`",
                ));
            }
            ProgressStyle::RawJson => Kind::Json(RawJson::new(Box::new(std::io::stderr()))),
            ProgressStyle::Auto | ProgressStyle::Plain => Kind::Lines(Lines::plain()),
            ProgressStyle::Legacy => Kind::Lines(Lines::legacy()),
            ProgressStyle::Quiet | ProgressStyle::None => Kind::Unseen(Unseen::new()),
        };
        Ok(Self(Arc::new(kind)))
    }

    /// Ends the display; what stays is all that a failed step printed. Only the first call counts.
    pub(crate) fn close(&self, end: End) {
        match &*self.0 {
            Kind::Screen(screen) => screen.close(end),
            Kind::Unseen(unseen) => unseen.close(end),
            Kind::Lines(lines) => lines.close(),
            Kind::Json(_) => {}
        }
    }

    /// Returns whether this is the form of docker's classic builder.
    pub(crate) fn is_legacy(&self) -> bool {
        matches!(&*self.0, Kind::Lines(Lines::Legacy(_)))
    }

    /// Returns how to tell of the parts of a base image's making.
    pub(crate) fn phases(&self, image: &str) -> Phases {
        Phases::new(self.clone(), image)
    }

    /// Begins to tell of an image's arrival from a registry.
    pub(crate) fn arrivals(&self, image: &str) -> Arrivals {
        Arrivals::new(self.clone(), image, Direction::Pull)
    }

    /// Begins to tell of an image's way to a registry, where this display outlasts the build; else others show it.
    pub(crate) fn departures(&self, image: &str) -> Option<Arrivals> {
        let is_it = matches!(&*self.0, Kind::Json(_));
        is_it.then(|| Arrivals::new(self.clone(), image, Direction::Push))
    }

    /// Shows a part of the work that says nothing while it goes on. Lines do not tell of it.
    pub(crate) fn begin_part(&self, name: &str) {
        let key = Key::Part(name.to_owned());
        match &*self.0 {
            Kind::Json(raw) => raw.begin(key, name.to_owned()),
            kind => kind.change(|board, now| board.start(key, name.to_owned(), now)),
        }
    }

    /// Says how a part ended.
    pub(crate) fn end_part(&self, name: &str, end: End) {
        let key = Key::Part(name.to_owned());
        match &*self.0 {
            Kind::Json(raw) => raw.end(&key, Ended::from(end)),
            kind => {
                let status = if end == End::Well { Status::Done } else { Status::Failed };
                kind.change(|board, now| board.finish(&key, status, now));
            }
        }
    }
}

impl<T, E> From<&Result<T, E>> for End {
    fn from(result: &Result<T, E>) -> Self {
        if result.is_ok() { Self::Well } else { Self::Badly }
    }
}
