//! The command line: what can be typed.

mod cluster;
mod containers;
mod registry;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use cluster::{ClusterVerb, DownArgs, StatusFormat, UpArgs};
pub(crate) use containers::{ExecArgs, LogsArgs, NetworkKind, PsArgs, RmArgs, RunArgs, StopArgs};
pub(crate) use registry::{
    HistoryArgs, LoadArgs, LoginArgs, LogoutArgs, PullArgs, PushArgs, RegistryVerb, SaveArgs,
};

/// From a Dockerfile to a running, reachable pod on one Linux machine.
#[derive(Debug, Parser)]
#[command(name = "shipway", version, max_term_width = 110, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Directory for images, layers and the cluster's database [default: /var/lib/shipway]
    #[arg(long, global = true, env = "SHIPWAY_ROOT", value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Directory for sockets and running containers [default: below /run/shipway]
    #[arg(long, global = true, env = "SHIPWAY_STATE", value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXAMPLES: &str = "Examples:
  shipway up examples/flask               build it, run it in the cluster, reach it on localhost
  shipway cluster status                  what the embedded cluster does
  shipway bootstrap debian:bookworm       make a base image from the host's package mirror
  shipway import rootfs.tar alpine        make an image of a root file system
  shipway build -t web .                  build an image on it
  shipway run --rm alpine cat /etc/issue  run a command in it
  shipway run -d --name box alpine sleep 600
  shipway exec box ps
  shipway images";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Build the application of a directory, run it in the cluster and forward a local port to it
    Up(UpArgs),
    /// Remove what `up` made
    Down(DownArgs),
    /// Start, stop and look at the embedded cluster
    #[command(subcommand)]
    Cluster(ClusterVerb),
    /// Build an image from a Dockerfile
    Build(BuildArgs),
    /// Assemble a Debian base image from the host's package mirror
    Bootstrap(BootstrapArgs),
    /// Make an image of a root file system in a tar archive
    Import(ImportArgs),
    /// List images
    Images(ImagesArgs),
    /// Show everything about images or containers
    Inspect(NamesArgs),
    /// Give an image another name
    Tag {
        /// Name, id or digest of the image
        source: String,
        /// The new name
        target: String,
    },
    /// Remove images
    Rmi(RmiArgs),
    #[command(flatten)]
    Registry(RegistryVerb),
    /// Run a command in a new container
    Run(RunArgs),
    /// List containers
    Ps(PsArgs),
    /// Show what a container printed
    Logs(LogsArgs),
    /// Run a command in a running container
    Exec(ExecArgs),
    /// Stop containers
    Stop(StopArgs),
    /// Remove containers
    Rm(RmArgs),
    /// Print the version
    Version {
        /// `table` or `json`
        #[arg(short, long, default_value = "table")]
        format: ListFormat,
    },
    /// Print a shell's completion script
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Names that are part of the design and not there yet, and typing errors.
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// How a build shows its progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressStyle {
    /// A line per event
    Plain,
    /// Docker's classic `Step 1/9 : …`
    Legacy,
    /// Nothing
    Quiet,
}

/// Network of RUN steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BuildNetworkKind {
    /// One of the build's own, with a way out
    Default,
    /// Only a loopback device
    None,
    /// The host's network
    Host,
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Directory that COPY reads from
    #[arg(value_name = "PATH")]
    pub(crate) context: Vec<PathBuf>,
    /// Name of the result, `name[:tag]`; may be given several times
    #[arg(short, long = "tag", value_name = "NAME")]
    pub(crate) tags: Vec<String>,
    /// The Dockerfile [default: PATH/Dockerfile]
    #[arg(short, long)]
    pub(crate) file: Option<PathBuf>,
    /// Set a build argument
    #[arg(long = "build-arg", value_name = "NAME=VALUE")]
    pub(crate) build_args: Vec<String>,
    /// Stage to build
    #[arg(long)]
    pub(crate) target: Option<String>,
    /// Run every step again
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Add a label to the image
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub(crate) labels: Vec<String>,
    /// Print only the image's id
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// How progress is shown
    #[arg(long, value_enum, default_value = "plain")]
    pub(crate) progress: ProgressStyle,
    /// Write the image's id to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) iidfile: Option<PathBuf>,
    /// Network of RUN steps that do not choose
    #[arg(long, value_enum, default_value = "default")]
    pub(crate) network: BuildNetworkKind,
    /// RUN steps trust the certificate authorities that this host trusts
    #[arg(long)]
    pub(crate) host_ca: bool,
    /// Assemble Debian base images that are missing from the host's package mirror
    #[arg(long)]
    pub(crate) bootstrap_base: bool,
    /// Use an archive whose Release file has expired
    #[arg(long)]
    pub(crate) accept_expired_release: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BootstrapArgs {
    /// Image to make: `debian:SUITE` [default: the host's suite]
    pub(crate) name: Option<String>,
    /// Use an archive whose Release file has expired
    #[arg(long)]
    pub(crate) accept_expired_release: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The archive: tar, plain or compressed with gzip or zstd; `-` is the standard input
    pub(crate) file: String,
    /// Name of the image, `name[:tag]`
    pub(crate) name: Option<String>,
}

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
