//! The command line of `builder`.

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
