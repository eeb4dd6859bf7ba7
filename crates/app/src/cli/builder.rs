//! The command line of `builder`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum BuilderVerb {
    /// Show what the build cache holds, and what it takes
    #[command(after_help = "Examples:
  shipway builder du
  shipway builder du --verbose --filter type=exec.cachemount
  shipway builder du --format json

A star behind an ID: builds still write to it. Behind a size: an image has it too, so removing it frees nothing.")]
    Du(BuilderDuArgs),
    /// Remove what is in the build cache and in no image
    #[command(after_help = "Examples:
  shipway builder prune                          asks first
  shipway builder prune -af                      also steps whose result is in an image
  shipway builder prune -f --filter until=24h    what no build has used for a day
  shipway builder prune -f --max-used-space 10g")]
    Prune(BuilderPruneArgs),
    /// Write what is in a cache mount as an archive
    #[command(after_help = "Examples:
  shipway builder export /root/.cache/pip -o pip.tar     the id of the mount: its target if the Dockerfile says no other
  shipway builder export go-build | zstd > go.tar.zst")]
    Export(BuilderExportArgs),
    /// Fill a cache mount from an archive, instead of what it has
    #[command(after_help = "Examples:
  shipway builder import /root/.cache/pip -i pip.tar
  shipway builder import go-build < go.tar.zst           plain, gzip, zstd, xz or bzip2")]
    Import(BuilderImportArgs),
    /// Names that are part of the design and not there yet, and typing errors.
    #[command(external_subcommand)]
    Other(Vec<String>),
}

#[derive(Debug, Args)]
pub(crate) struct BuilderDuArgs {
    /// Only what a filter lets through: `until=24h`, `id=`, `type=`, `shared`, `private`, `inuse`, `mutable`, `immutable`, `description=`
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// All that is known of each; as `--format pretty`
    #[arg(long)]
    pub(crate) verbose: bool,
    /// `table`, `table TEMPLATE`, `pretty`, `json`, or a Go template
    #[arg(long, value_name = "FORMAT", conflicts_with = "verbose")]
    pub(crate) format: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct BuilderExportArgs {
    /// Id of the mount, or the beginning of its ID in `builder du`
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// The archive; the standard output if not said
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BuilderImportArgs {
    /// Id of the mount
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// The archive; the standard input if not said
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BuilderPruneArgs {
    /// Also steps whose result is in an image, and downloaded packages
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Only what a filter lets through: `until=24h` and those of `builder du`
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// So much is always kept
    #[arg(long, value_name = "SIZE", alias = "keep-storage")]
    pub(crate) reserved_space: Option<String>,
    /// Remove what was used longest ago until the rest is no larger
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_used_space: Option<String>,
    /// Remove what was used longest ago until so much of the disk is free
    #[arg(long, value_name = "SIZE")]
    pub(crate) min_free_space: Option<String>,
    /// Show all that is known of each
    #[arg(long)]
    pub(crate) verbose: bool,
}
