//! What can be typed after the verbs of containers.

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
#[command(override_usage = "shipway run [OPTIONS] IMAGE [COMMAND] [ARG]...")]
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
    /// Show a file or directory of this host, `SOURCE:TARGET[:ro]`
    #[arg(short, long = "volume", value_name = "SOURCE:TARGET")]
    pub(crate) volumes: Vec<String>,
    /// Show something, `type=bind,source=…,target=…[,readonly]` or `type=tmpfs,target=…`
    #[arg(long = "mount", value_name = "OPTIONS")]
    pub(crate) mounts: Vec<String>,
    /// An empty directory in memory
    #[arg(long, value_name = "TARGET")]
    pub(crate) tmpfs: Vec<String>,
    /// Set the variables that a file lists
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<std::path::PathBuf>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    /// Limit each of its processes, `NAME=SOFT[:HARD]`
    #[arg(long = "ulimit", value_name = "LIMIT")]
    pub(crate) ulimits: Vec<String>,
    /// Size of /dev/shm [default: 64m]
    #[arg(long, value_name = "SIZE")]
    pub(crate) shm_size: Option<String>,
    /// Give it a capability, or ALL
    #[arg(long, value_name = "NAME")]
    pub(crate) cap_add: Vec<String>,
    /// Take a capability away, or ALL
    #[arg(long, value_name = "NAME")]
    pub(crate) cap_drop: Vec<String>,
    /// `no-new-privileges`
    #[arg(long, value_name = "OPTION")]
    pub(crate) security_opt: Vec<String>,
    /// Add a label to the container
    #[arg(short, long = "label", value_name = "NAME=VALUE")]
    pub(crate) labels: Vec<String>,
    /// Signal that asks it to stop [default: the image's, else TERM]
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) stop_signal: Option<String>,
    /// When to fetch the image
    #[arg(long, value_enum, default_value = "missing")]
    pub(crate) pull: PullPolicy,
    /// When to start it again: `no`
    #[arg(long, value_name = "POLICY", default_value = "no")]
    pub(crate) restart: String,
    /// The image, then the command and its arguments
    // One list: flags end where it begins. Compat: docker.
    #[arg(required = true, trailing_var_arg = true, value_name = "IMAGE")]
    words: Vec<String>,
    /// The first of them.
    #[arg(skip)]
    pub(crate) image: String,
    /// The rest.
    #[arg(skip)]
    pub(crate) command: Vec<String>,
}

impl RunArgs {
    /// Tells the image from the command; the error is a flag in place of the image.
    pub(super) fn split(&mut self) -> Result<(), String> {
        let mut words = std::mem::take(&mut self.words).into_iter();
        self.image = words.next().unwrap_or_default();
        self.command = words.collect();
        if self.image.starts_with('-') { Err(self.image.clone()) } else { Ok(()) }
    }
}

/// Limits of a container.
#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// Bytes of memory, as in 512m
    #[arg(short, long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Processors, as in 1.5
    #[arg(long, value_name = "NUMBER")]
    pub(crate) cpus: Option<String>,
    /// Weight among containers, 1024 being the usual one
    #[arg(short, long, value_name = "WEIGHT")]
    pub(crate) cpu_shares: Option<u64>,
    /// Processes and threads; -1 for any number
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) pids_limit: Option<i64>,
}

/// When an image is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PullPolicy {
    /// If it is not in the local store
    Missing,
    /// Not at all
    Never,
    /// Before every run
    Always,
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
    /// Only some: id=, name=, label=KEY[=VALUE], status=, exited=CODE, ancestor=IMAGE, network=, publish=PORT, before=, since=
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// `table`, `table TEMPLATE`, `json`, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// The last so many that were made, whether they run or not
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) last: Option<usize>,
    /// The last one that was made, whether it runs or not
    #[arg(short, long)]
    pub(crate) latest: bool,
    /// Also what each has written
    #[arg(short, long)]
    pub(crate) size: bool,
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
    /// Seconds until it is killed; -1 for never
    #[arg(short, long, visible_alias = "timeout", default_value_t = 10, allow_hyphen_values = true)]
    pub(crate) time: i64,
    /// Signal that asks it to stop [default: the container's]
    #[arg(short, long)]
    pub(crate) signal: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    /// Names or ids
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    /// Signal to send
    #[arg(short, long, default_value = "KILL")]
    pub(crate) signal: String,
}

#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Names or ids
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    /// Also when it runs
    #[arg(short, long)]
    pub(crate) force: bool,
    /// With volumes of its own, of which it has none
    #[arg(short, long)]
    pub(crate) volumes: bool,
}
