//! The command line: what can be typed.

mod build;
mod builder;
mod cluster;
mod containers;
mod groups;
mod images;
mod missing;
mod registry;
mod serve;
mod switches;
mod system;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::failure::Failure;
use crate::{absent, spelling};

pub(crate) use build::{BootstrapArgs, BuildArgs, BuildNetworkKind, ImportArgs, ProgressStyle};
pub(crate) use builder::{
    BuilderDuArgs, BuilderExportArgs, BuilderImportArgs, BuilderPruneArgs, BuilderVerb,
};
pub(crate) use cluster::{ClusterVerb, DownArgs, StatusFormat, UpArgs};
pub(crate) use containers::{
    ExecArgs, KillArgs, LimitArgs, LogsArgs, NetworkKind, PsArgs, PullPolicy, RmArgs, RunArgs, StopArgs,
};
pub(crate) use images::{ImagesArgs, InspectArgs, InspectKind, RmiArgs};
pub(crate) use registry::{
    HistoryArgs, LoadArgs, LoginArgs, LogoutArgs, PullArgs, PushArgs, RegistryVerb, SaveArgs,
};
pub(crate) use serve::{RegistryCommand, ServeArgs};
pub(crate) use system::{FsckArgs, PruneArgs, PruneKind, SystemVerb};

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

/// Reads the command line. What is asked for help, or is mistyped, ends the program with Docker's exit code where the verb is
/// Docker's; flags that have no effect are passed to `warn`.
pub(crate) fn parse(arguments: Vec<OsString>, warn: &mut dyn FnMut(String)) -> Result<Cli, Failure> {
    let arguments = spelling::with_values(spelling::ours(arguments));
    if let Some(help) = groups::help(&arguments) {
        help.exit();
    }
    let command = || absent::add_to(Cli::command());
    let read = switches::with_values(command()).try_get_matches_from(&arguments);
    let matches = read.map_err(|error| {
        use clap::error::ErrorKind::{DisplayHelpOnMissingArgumentOrSubcommand, MissingSubcommand};
        let error = switches::with_plain_help(command(), &arguments, error);
        // Compat: docker, a group that is named alone says what is in it.
        if matches!(error.kind(), MissingSubcommand | DisplayHelpOnMissingArgumentOrSubcommand) {
            let asked = arguments.iter().cloned().chain([OsString::from("--help")]);
            Cli::command().try_get_matches_from(asked).err().unwrap_or(error).exit();
        }
        match missing::explain(&error, &arguments) {
            Some(failure) => failure,
            None => error.exit(),
        }
    })?;
    absent::check(&matches)?.into_iter().for_each(warn);
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match &mut cli.verb {
        Verb::Run(args) => args.split().map_err(|flag| missing::refuse("run", &flag))?,
        Verb::Build(args) => args.forget_empty(),
        _ => {}
    }
    Ok(cli)
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
  shipway images
  shipway system info                     what this machine has, and what it lacks";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Build the application of a directory, run it in the cluster and forward a local port to it
    Up(UpArgs),
    /// Remove what `up` made
    #[command(after_help = "Examples:
  shipway down                   what `up` made of this directory
  shipway down examples/flask    of another one")]
    Down(DownArgs),
    /// Start, stop and look at the embedded cluster
    #[command(
        subcommand,
        after_help = "Examples:
  shipway cluster start
  export KUBECONFIG=$(shipway cluster kubeconfig --path); kubectl get pods
  shipway cluster stop"
    )]
    Cluster(ClusterVerb),
    /// Build an image from a Dockerfile
    Build(Box<BuildArgs>),
    /// Look at the build cache, and make it smaller
    #[command(
        subcommand,
        after_help = "Examples:
  shipway builder du       what it holds
  shipway builder prune    remove what is in no image"
    )]
    Builder(BuilderVerb),
    /// Assemble a Debian base image from the host's package mirror
    Bootstrap(BootstrapArgs),
    /// Make an image of a root file system in a tar archive
    Import(ImportArgs),
    /// List images
    Images(ImagesArgs),
    /// Show everything about images or containers
    Inspect(InspectArgs),
    /// Give an image another name
    #[command(after_help = "Examples:
  shipway tag web web:1.2
  shipway tag web quay.io/team/web:1.2")]
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
    /// Serve a registry on the local store
    #[command(
        subcommand,
        name = "registry",
        after_help = "Examples:
  shipway registry serve    on 127.0.0.1:5000, until Ctrl-C"
    )]
    OwnRegistry(RegistryCommand),
    /// Run a command in a new container
    #[command(after_help = "Examples:
  shipway run --rm web cat /etc/os-release     a command; the container goes with it
  shipway run -d --name box web sleep 600      in the background
  shipway run --rm -e DEBUG=1 -u 1000 web      with a variable, as another user")]
    Run(Box<RunArgs>),
    /// List containers
    #[command(after_help = "Examples:
  shipway ps       those that run
  shipway ps -a    all
  shipway ps -aq   only ids, for scripts
  shipway ps -a --filter status=exited --format '{{.Names}} {{.Status}}'")]
    Ps(PsArgs),
    /// Show what a container printed
    #[command(after_help = "Examples:
  shipway logs -f box
  shipway logs --since 10m --tail 20 -t box")]
    Logs(LogsArgs),
    /// Run a command in a running container
    #[command(after_help = "Examples:
  shipway exec -it box sh
  shipway exec -u 0 -w /srv box ls -l")]
    Exec(ExecArgs),
    /// Stop containers
    #[command(after_help = "Examples:
  shipway stop box
  shipway stop -t 0 $(shipway ps -q)    all, at once")]
    Stop(StopArgs),
    /// Send a signal to containers
    #[command(after_help = "Examples:
  shipway kill box
  shipway kill -s HUP box    read the configuration again")]
    Kill(KillArgs),
    /// Remove containers
    #[command(after_help = "Examples:
  shipway rm box
  shipway rm -f box              also when it runs
  shipway rm $(shipway ps -aq)   all that have stopped")]
    Rm(RmArgs),
    /// Look at the machine, and at what takes space
    #[command(
        subcommand,
        after_help = "Examples:
  shipway system info     what there is, and what is missing
  shipway system df       what takes space on the disk
  shipway system prune    remove what nobody uses"
    )]
    System(SystemVerb),
    /// Print the version
    #[command(after_help = "Examples:
  shipway version
  shipway version --format '{{.Client.Version}}'")]
    Version {
        /// `table`, `json`, or a Go template
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        format: String,
    },
    /// Print a shell's completion script
    #[command(after_help = "Examples:
  source <(shipway completion bash)
  shipway completion zsh > ~/.zfunc/_shipway")]
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Names that are part of the design and not there yet, and typing errors.
    #[command(external_subcommand)]
    Other(Vec<String>),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn check(command: &clap::Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let shown = examples.lines().skip(1).any(|line| line.contains("shipway "));
        assert!(examples.starts_with("Examples:") && shown, "`{path} --help` has no examples");
        assert!(command.get_about().is_some(), "`{path} --help` does not say what it does");
        for verb in command.get_subcommands() {
            check(verb, &path);
        }
    }

    #[test]
    fn the_help_of_every_verb_has_examples() {
        check(&Cli::command(), "");
    }
}
