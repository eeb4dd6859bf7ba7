//! What can be typed after the verbs of images.

use clap::{Args, ValueEnum};
use shipway_oci::Platform;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shipway images                           all of them
  shipway images web                       of one repository; `we*` of several
  shipway images -f dangling=true -q       ids of those that lost their name
  shipway images --format '{{.Repository}}:{{.Tag}} {{.Size}}'
  shipway images --tree                    with those for each platform")]
pub(crate) struct ImagesArgs {
    /// Only this repository, or repository and tag; `*` and `?` stand for other characters
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) name: Option<String>,
    /// Also intermediate images; there are none here
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Only some: dangling=true|false, label=KEY[=VALUE], before=IMAGE, since=IMAGE, until=TIME, reference=PATTERN
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// Ids in full
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Also digests
    #[arg(long)]
    pub(crate) digests: bool,
    /// `table`, `table TEMPLATE`, `json`, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// With the images for each platform below them
    #[arg(long)]
    pub(crate) tree: bool,
}

/// What can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InspectKind {
    /// A container
    Container,
    /// An image
    Image,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shipway inspect debian:bookworm
  shipway inspect -f '{{.Config.Env}}' web
  shipway inspect -f '{{json .RootFS.Layers}}' --type image web
  shipway inspect -f '{{json .Provenance}}' web   what is attested of it; also .SBOM")]
pub(crate) struct InspectArgs {
    /// `json`, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Also what containers have written, and that with their images
    #[arg(short, long)]
    pub(crate) size: bool,
    /// The image for this platform, if several are here, `os/architecture`
    #[arg(long)]
    pub(crate) platform: Option<Platform>,
    /// Only of this kind
    #[arg(long = "type", value_name = "KIND", value_enum)]
    pub(crate) kind: Option<InspectKind>,
    /// Names or ids
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shipway rmi web:1.0                               take one name away; the last one removes the image
  shipway rmi --platform linux/arm64 web             of several images that the name stands for
  shipway rmi $(shipway images -q -f dangling=true)  images that lost their name")]
pub(crate) struct RmiArgs {
    /// Names, ids or digests
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    /// Also when a stopped container uses it, and with all its names
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Only the images for these platforms, if several are here, `os/architecture`
    #[arg(long = "platform", value_name = "OS/ARCH", value_delimiter = ',')]
    pub(crate) platforms: Vec<String>,
}
