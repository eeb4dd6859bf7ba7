//! Why one entry of an archive was not taken.

use std::io;

use crate::LayerError;

/// What the kernel said, or what is wrong with the archive.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// A file could not be written.
    Io(io::Error),
    /// The archive could not be read.
    Input(io::Error),
    /// The archive is not what it should be.
    Reason(&'static str),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Refusal {
    /// Says which entry it was.
    pub(crate) fn of(self, entry: &str) -> LayerError {
        match self {
            Self::Io(source) => LayerError::io("unpack", entry)(source),
            Self::Input(source) => LayerError::Input { place: format!("in entry `{entry}`"), source },
            Self::Reason(reason) => LayerError::Archive { place: format!("entry `{entry}`"), reason },
        }
    }

    /// Says where it was: `at byte 512`.
    pub(crate) fn at(self, place: &str) -> LayerError {
        match self {
            Self::Io(source) => LayerError::io("unpack", "the archive")(source),
            Self::Input(source) => LayerError::Input { place: place.to_owned(), source },
            Self::Reason(reason) => LayerError::Archive { place: place.to_owned(), reason },
        }
    }
}
