//! Flags of the verbs that make and list images. Compat: docker 28, its classic builder and buildx.

use super::Flag;

const CONFINED: &str = "every step is confined as the others are; RUN --security=insecure and --allow security.insecure free one";
const OLD_BUILDER: &str = "only docker's classic builder used it";

/// `docker build` and `docker buildx build`.
pub(super) const BUILD: &[Flag] = &[
    Flag::value("builder", "there is one builder, `default`; leave it out").that_may_be(&["default", ""]),
    Flag::switch("compress", "").ignored("the context is read in place"),
    Flag::value("cpu-period", "").of_numbers().ignored(OLD_BUILDER),
    Flag::value("cpu-quota", "").of_numbers().ignored(OLD_BUILDER),
    Flag::value("cpu-shares", "").with_short('c').of_numbers().ignored(OLD_BUILDER),
    Flag::value("cpuset-cpus", "").ignored(OLD_BUILDER),
    Flag::value("cpuset-mems", "").ignored(OLD_BUILDER),
    Flag::switch("disable-content-trust", "").ignored("signatures are not looked at"),
    Flag::switch("force-rm", "").ignored("nothing of a step stays but its layer"),
    Flag::value("isolation", "").ignored("it is for Windows"),
    Flag::value("memory", "").with_short('m').ignored(OLD_BUILDER),
    Flag::value("memory-swap", "").ignored(OLD_BUILDER),
    Flag::switch("rm", "").ignored("nothing of a step stays but its layer"),
    Flag::value("security-opt", "").ignored(CONFINED),
    Flag::switch("squash", "").ignored("each step stays a layer"),
];

/// `docker pull` and `docker push`. Compat: docker 28, which takes it and does nothing else.
pub(super) const TRANSFER: &[Flag] = &[Flag::switch("disable-content-trust", "").taken()];

/// `docker import`.
pub(super) const IMPORT: &[Flag] = &[
    Flag::value("change", "build on the image: FROM and what you want to change").with_short('c'),
    Flag::value("message", "leave it out: the comment says where the image came from").with_short('m'),
    Flag::value("platform", "leave it out: the image is for this machine"),
];

/// `docker rmi`.
pub(super) const RMI: &[Flag] =
    &[Flag::switch("no-prune", "").ignored("images have no parents without a name here")];
