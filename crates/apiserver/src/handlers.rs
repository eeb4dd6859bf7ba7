//! One handler per verb, for every kind.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod modify;
pub(crate) mod pods;
pub(crate) mod read;
pub(crate) mod reviews;
pub(crate) mod scale;
pub(crate) mod watch;
