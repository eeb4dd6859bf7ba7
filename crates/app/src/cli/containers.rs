//! What can be typed after the verbs of containers.

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Run in the background and print the container's id
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Remove the container when it ends
    #[arg(long)]
    pub(crate) rm: bool,
    /// Name of the container
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Set a variable; without a value, the host's
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// User, `name|uid[:group|gid]`
    #[arg(short, long)]
    pub(crate) user: Option<String>,
    /// Working directory
    #[arg(short, long)]
    pub(crate) workdir: Option<String>,
    /// What the command is given to, instead of the image's
    #[arg(long)]
    pub(crate) entrypoint: Option<String>,
    /// What the container sees of the network
    #[arg(long, visible_alias = "net", value_enum, default_value = "bridge")]
    pub(crate) network: NetworkKind,
    /// Publish a port of the container on this host, `[[IP:]HOST:]CONTAINER[/tcp]`; a free one without HOST
    #[arg(short, long, value_name = "PORTS")]
    pub(crate) publish: Vec<String>,
    /// Publish all ports that the image exposes on free ones
    #[arg(short = 'P', long)]
    pub(crate) publish_all: bool,
    /// Add a name to the container's /etc/hosts, `NAME:ADDRESS`
    #[arg(long, value_name = "NAME:ADDRESS")]
    pub(crate) add_host: Vec<String>,
    /// Ask this name server instead of the host's
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) dns: Vec<std::net::IpAddr>,
    /// Hostname [default: the start of the id]
    #[arg(short = 'H', long)]
    pub(crate) hostname: Option<String>,
    /// Keep the input open
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// The root file system cannot be written
    #[arg(long)]
    pub(crate) read_only: bool,
    /// The image
    pub(crate) image: String,
    /// Command and arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// What a container sees of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkKind {
    /// A network with all other containers, and a way out
    Bridge,
    /// Only a loopback device
    None,
    /// The host's network
    Host,
}

impl NetworkKind {
    /// Returns how it is typed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::None => "none",
            Self::Host => "host",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Also stopped ones
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Ids and commands in full
    #[arg(long)]
    pub(crate) no_trunc: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Go on until the container ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last lines: a number, or `all`
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all", allow_hyphen_values = true)]
    pub(crate) tail: String,
    /// Only lines since then: a time (2026-01-02T15:04:05Z, seconds since the epoch) or how long ago (10m)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Put its time before each line
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Name or id
    pub(crate) container: String,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// Set a variable
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// User, `name|uid[:group|gid]`
    #[arg(short, long)]
    pub(crate) user: Option<String>,
    /// Working directory
    #[arg(short, long)]
    pub(crate) workdir: Option<String>,
    /// Keep the input open
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Do not wait for it
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Name or id
    pub(crate) container: String,
    /// Command and arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Names or ids
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    /// Seconds until it is killed
    #[arg(short, long, default_value_t = 10)]
    pub(crate) time: u32,
}

#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Names or ids
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    /// Also when it runs
    #[arg(short, long)]
    pub(crate) force: bool,
}
