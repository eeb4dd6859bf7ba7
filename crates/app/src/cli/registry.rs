//! Verbs that talk to registries, and those that carry images in files.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use shipway_oci::Platform;

use crate::units;

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryVerb {
    /// Download an image from a registry
    #[command(after_help = "Examples:
  shipway pull alpine
  shipway pull -q quay.io/team/web:1.2
  shipway pull --platform linux/arm64 debian:bookworm")]
    Pull(PullArgs),
    /// Upload an image to a registry
    #[command(after_help = "Examples:
  shipway tag web quay.io/team/web:1.2 && shipway push quay.io/team/web:1.2")]
    Push(PushArgs),
    /// Log in to a registry
    #[command(after_help = "Examples:
  shipway login quay.io
  shipway login -u me --password-stdin quay.io < token")]
    Login(LoginArgs),
    /// Log out from a registry
    #[command(after_help = "Examples:
  shipway logout quay.io")]
    Logout(LogoutArgs),
    /// Show how an image was made
    #[command(after_help = "Examples:
  shipway history web
  shipway history --no-trunc --format json web
  shipway history --format '{{.Size}}\t{{.CreatedBy}}' web")]
    History(HistoryArgs),
    /// Write images to an archive
    #[command(after_help = "Examples:
  shipway save -o web.tar web
  shipway save web | gzip > web.tar.gz
  shipway save --platform linux/arm64 -o web.tar web   of an image for several platforms")]
    Save(SaveArgs),
    /// Read images from an archive of Docker or OCI form
    #[command(after_help = "Examples:
  shipway load -i web.tar
  shipway load < web.tar.gz
  shipway load -i layout    a directory that is an OCI layout")]
    Load(LoadArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// The image: `[registry/]name[:tag]`, or `name@sha256:…`
    pub(crate) name: String,
    /// Print only the image's name
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Platform to pull, `os/architecture` [default: this machine's]
    #[arg(long)]
    pub(crate) platform: Option<Platform>,
    /// All tags that the repository has there
    #[arg(short, long)]
    pub(crate) all_tags: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// The image, by the name that it has in the registry
    pub(crate) name: String,
    /// Print only the image's name
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Only the image for this platform, without the index that it is in, `os/architecture`
    #[arg(long)]
    pub(crate) platform: Option<Platform>,
    /// All tags that the repository has here
    #[arg(short, long)]
    pub(crate) all_tags: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The registry: host, or host and port [default: docker.io]
    pub(crate) server: Option<String>,
    /// Name of the user
    #[arg(short, long)]
    pub(crate) username: Option<String>,
    /// Password or token; others can see it in the list of processes
    #[arg(short, long)]
    pub(crate) password: Option<String>,
    /// Read the password from the standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// Keep the password unencrypted in docker's config.json instead of the kernel's keyring
    #[arg(long)]
    pub(crate) to_file: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// The registry: host, or host and port [default: docker.io]
    pub(crate) server: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Name, id or digest of the image
    pub(crate) name: String,
    /// Nothing is cut
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Sizes and times for people; `--human=false` for bytes and times of day
    #[arg(short = 'H', long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value_t = true, default_missing_value = "true", value_parser = parse_truth, action = clap::ArgAction::Set)]
    pub(crate) human: bool,
    /// `table`, `table TEMPLATE`, `json`, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Platform of the image, if several are here, `os/architecture`
    #[arg(long)]
    pub(crate) platform: Option<Platform>,
}

#[derive(Debug, Args)]
pub(crate) struct SaveArgs {
    /// Names or ids of the images; a name without a tag is all of its tags
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    /// The archive, which is not compressed, whatever its name [default: the standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Only the images for this platform, `os/architecture`
    #[arg(long)]
    pub(crate) platform: Option<Platform>,
}

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The archive: tar, plain or compressed with gzip, zstd, xz or bzip2, or a directory with the same in it [default: the standard input]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// Nothing but what was loaded, which is all that is printed anyway
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Only the images for this platform, `os/architecture`
    #[arg(long)]
    pub(crate) platform: Option<Platform>,
}

fn parse_truth(text: &str) -> Result<bool, String> {
    units::truth(text).ok_or_else(|| "it is true or false".to_owned())
}
