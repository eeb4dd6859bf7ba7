//! Flags of the verbs of containers. Compat: docker 28.

use super::Flag;

/// `docker inspect`.
pub(super) const INSPECT: &[Flag] = &[
    Flag::switch("size", "`shipway images` shows the sizes of images").with_short('s'),
    Flag::value("platform", "leave it out: an image is for one platform"),
];
