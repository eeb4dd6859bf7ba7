//! From what was typed and what the image says to what the runtime is asked for.

use serde_json::{Value, json};
use shipway_layers::Snapshot;
use shipway_oci::ContainerConfig;
use shipway_runtime::{ContainerSpec, Network, Rootfs};

use crate::cli::{NetworkKind, RunArgs};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::terminal;
use crate::verbs::ended;

/// Returns the description of the container, without the parts that depend on its sandbox.
pub(super) fn spec_of(
    engine: &Engine,
    args: &RunArgs,
    image: &ContainerConfig,
    snapshot: &Snapshot,
    id: String,
) -> Result<ContainerSpec, Failure> {
    let command = command_of(args, image).ok_or_else(|| {
        Failure::new(
            "no command given, and the image has none",
            format!("say what to run: shipway run {} COMMAND", args.image),
        )
    })?;
    Ok(ContainerSpec {
        hostname: args.hostname.clone().unwrap_or_else(|| hostname(args.network, &id)),
        args: command,
        env: image.env.iter().cloned().chain(args.env.iter().filter_map(|text| variable(text))).collect(),
        cwd: args.workdir.clone().unwrap_or_else(|| image.working_dir.clone()),
        user: args.user.clone().unwrap_or_else(|| image.user.clone()),
        rootfs: Rootfs {
            lowers: snapshot.lowers.clone(),
            upper: snapshot.upper.clone(),
            work: snapshot.work.clone(),
            read_only: args.read_only,
        },
        network: match args.network {
            NetworkKind::Host => Network::Host,
            NetworkKind::None | NetworkKind::Bridge => Network::None,
        },
        terminal: args.tty.then(terminal::size),
        cgroup_parent: format!("shipway-{}", engine.roots.id),
        // Where this process stays, it cleans up itself.
        after: if args.detach { ended::arguments(&engine.roots, &id) } else { Vec::new() },
        id,
        ..ContainerSpec::default()
    })
}

/// Compat: docker, on the host's network the container has the host's name.
fn hostname(network: NetworkKind, id: &str) -> String {
    let of_host = || fs_err::read_to_string("/proc/sys/kernel/hostname").ok();
    let found = (network == NetworkKind::Host).then(of_host).flatten();
    found.map_or_else(|| id[..12].to_owned(), |name| name.trim().to_owned())
}

/// Returns what is recorded about the container, for `inspect` and later commands.
pub(super) fn document(args: &RunArgs, spec: &ContainerSpec) -> Value {
    json!({
        "Cmd": spec.args,
        "Env": spec.env,
        "AutoRemove": args.rm,
        "NetworkMode": args.network.name(),
        "Detached": args.detach,
    })
}

/// Compat: docker, a command replaces the image's CMD and is given to its ENTRYPOINT; another entrypoint drops the image's CMD.
fn command_of(args: &RunArgs, image: &ContainerConfig) -> Option<Vec<String>> {
    let entrypoint = match &args.entrypoint {
        Some(program) => vec![program.clone()],
        None => image.entrypoint.clone().unwrap_or_default(),
    };
    let rest = if args.command.is_empty() && args.entrypoint.is_none() {
        image.cmd.clone().unwrap_or_default()
    } else {
        args.command.clone()
    };
    let command: Vec<String> = entrypoint.into_iter().chain(rest).collect();
    (!command.is_empty()).then_some(command)
}

/// `NAME=value`, or `NAME` for the host's value if it has one.
fn variable(text: &str) -> Option<String> {
    if text.contains('=') {
        return Some(text.to_owned());
    }
    std::env::var(text).ok().map(|value| format!("{text}={value}"))
}
