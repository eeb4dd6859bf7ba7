//! The command line of `system`.

use clap::Subcommand;

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
  shipway system df --format json")]
    Df {
        /// `table`, `table TEMPLATE`, `json`, or a Go template
        #[arg(long, value_name = "FORMAT")]
        format: Option<String>,
    },
    /// Names that are part of the design and not there yet, and typing errors.
    #[command(external_subcommand)]
    Other(Vec<String>),
}
