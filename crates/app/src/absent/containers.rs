//! Flags of the verbs of containers. Compat: docker 28.

use super::Flag;

/// `docker inspect`.
pub(super) const INSPECT: &[Flag] = &[
    Flag::value("format", "pick from the JSON: `shipway inspect NAME | jq '.[0].Config'`").with_short('f'),
    Flag::switch("size", "`shipway images` shows the sizes of images").with_short('s'),
    Flag::value("type", "a container's name wins over an image's: leave it out"),
    Flag::value("platform", "leave it out: an image is for one platform"),
];
