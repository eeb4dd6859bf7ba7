//! What can be typed after the verbs of images.

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct ImagesArgs {
    /// Only this repository, or repository and tag
    pub(crate) name: Option<String>,
    /// Only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Ids in full
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// `table` or `json`
    #[arg(long, default_value = "table")]
    pub(crate) format: ListFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// Columns for people
    Table,
    /// One JSON document per line
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct NamesArgs {
    /// Names or ids
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RmiArgs {
    /// Names, ids or digests
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    /// Also when a stopped container uses it, and with all its names
    #[arg(short, long)]
    pub(crate) force: bool,
}
