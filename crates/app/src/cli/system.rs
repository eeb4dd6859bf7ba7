//! The command line of `system`.

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum SystemVerb {
    /// Show directories, kernel features, network and versions, and what is missing
    #[command(after_help = "Examples:
  shipway system info
  shipway system info --format json
  shipway system info --format '{{.Kernel}} {{.Cgroups.Version}}'")]
    Info {
        /// `json`, or a Go template
        #[arg(short, long, value_name = "FORMAT")]
        format: Option<String>,
    },
    /// Show what takes space on the disk, and how much of it could be freed
    #[command(after_help = "Examples:
  shipway system df
  shipway system df -v           each image, container and build step
  shipway system df --format json

Everything counts once. RECLAIMABLE is what `shipway system prune -a` would free.")]
    Df {
        /// `table`, `table TEMPLATE`, `json`, or a Go template
        #[arg(long, value_name = "FORMAT")]
        format: Option<String>,
        /// Show each image, container and build step
        #[arg(short, long)]
        verbose: bool,
    },
    /// Remove what nobody uses: stopped containers, images without a name, build steps that are in no image
    #[command(after_help = "Examples:
  shipway system prune           asks first
  shipway system prune -af       also images that no container uses, all build steps and downloaded packages
  shipway system prune -f --filter until=24h    what was made before
  shipway image prune            only images; also `container prune`, `builder prune`

A rollback of what `up` runs needs the older image, which has lost its name.")]
    Prune(PruneArgs),
    /// Check every byte of the store against its digest, and mend what is damaged
    #[command(after_help = "Examples:
  shipway system fsck                    says what is damaged; exit code 1 if anything is
  shipway system fsck --repair           unpacks it again, pulls it again, or removes it
  shipway system fsck --format json")]
    Fsck(FsckArgs),
    /// Names that are part of the design and not there yet, and typing errors.
    #[command(external_subcommand)]
    Other(Vec<String>),
}

#[derive(Debug, Args)]
pub(crate) struct FsckArgs {
    /// Mend what is damaged; what can be neither made again nor pulled is removed
    #[arg(long)]
    pub(crate) repair: bool,
    /// `table`, `table TEMPLATE`, `json`, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Also images that no container uses, all build steps and downloaded packages
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Only what passes, such as `until=24h`, `label=KEY=VALUE` or `label!=KEY`; may be given several times
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// Also volumes that no container uses; none outlives its container
    #[arg(long)]
    pub(crate) volumes: bool,
    /// Only things of this kind
    #[arg(long, value_name = "KIND", value_enum)]
    pub(crate) only: Option<PruneKind>,
}

/// What can be pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PruneKind {
    /// Containers that have stopped
    Containers,
    /// Images
    Images,
    /// Steps of builds, and with --all downloaded packages
    Cache,
}
