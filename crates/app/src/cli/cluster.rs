//! The command line of `up`, `down` and `cluster`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::ProgressStyle;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shipway up                      build and run the application of this directory
  shipway up examples/flask       of another directory
  shipway up --port 8080          reachable on another local port
  shipway up -d                   return once it runs, without a forward")]
pub(crate) struct UpArgs {
    /// Directory with a Dockerfile and, if it says more, a shipway.toml
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Local port that leads to the application [default: the application's own]
    #[arg(short, long, value_name = "LOCAL")]
    pub(crate) port: Option<u16>,
    /// Kubernetes namespace [default: what shipway.toml says, else `default`]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// Return once it runs: no forward, no logs
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Run every step again
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// How the build's progress is shown
    #[arg(long, value_enum, default_value = "auto", env = "BUILDKIT_PROGRESS", value_name = "STYLE")]
    pub(crate) progress: ProgressStyle,
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
pub(crate) struct DownArgs {
    /// The directory that was given to `up`
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Kubernetes namespace [default: what shipway.toml says, else `default`]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterVerb {
    /// Start the cluster; one that runs is left alone
    #[command(after_help = "Examples:
  shipway cluster start")]
    Start,
    /// End the cluster and its pods; they come back with the next start
    #[command(after_help = "Examples:
  shipway cluster stop
  shipway cluster stop --keep-pods    for a newer version of shipway")]
    Stop {
        /// Leave the pods running: the next start takes them over
        #[arg(long)]
        keep_pods: bool,
    },
    /// Show whether the cluster runs; exit code 3 if it does not
    #[command(after_help = "Examples:
  shipway cluster status
  shipway cluster status -o json")]
    Status {
        /// How to show it
        #[arg(short, long, value_enum, default_value = "text")]
        output: StatusFormat,
    },
    /// Print the kubeconfig that gives access to the cluster
    #[command(after_help = "Examples:
  export KUBECONFIG=$(shipway cluster kubeconfig --path)
  shipway cluster kubeconfig > kubeconfig")]
    Kubeconfig {
        /// Print the path of the file instead
        #[arg(long)]
        path: bool,
    },
    /// End the cluster and remove everything in it; images and containers stay
    #[command(after_help = "Examples:
  shipway cluster reset")]
    Reset,
    /// Run the cluster in the foreground, for service managers
    #[command(after_help = "Examples:
  shipway cluster run")]
    Run {
        #[arg(long, hide = true)]
        ready_fd: Option<u32>,
    },
}

/// How `cluster status` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusFormat {
    /// Lines for people
    Text,
    /// One JSON document
    Json,
}
