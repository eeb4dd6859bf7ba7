//! From what was typed and what the image says to what the runtime is asked for.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shipway_layers::Snapshot;
use shipway_oci::ContainerConfig;
use shipway_runtime::{ContainerSpec, Network, Rootfs};

use super::{limits, mounts};
use crate::cli::{NetworkKind, RunArgs};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::signal_names;
use crate::terminal;
use crate::verbs::ended;

/// Refuses values that mean something which is not there yet.
pub(super) fn check(args: &RunArgs) -> Result<(), Failure> {
    if args.restart != "no" {
        return Err(Failure::new(
            format!("`--restart {}` is not there yet", args.restart),
            "leave it out; a Deployment of the cluster restarts its containers",
        ));
    }
    for option in &args.security_opt {
        if !["no-new-privileges", "no-new-privileges=true", "no-new-privileges:true"]
            .contains(&option.as_str())
        {
            return Err(Failure::new(
                format!("`--security-opt {option}` is not there yet"),
                "leave it out, or name the one there is: no-new-privileges",
            ));
        }
    }
    args.stop_signal.as_deref().map(signal_names::parse).transpose().map(drop)
}

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
        env: environment(args, image)?,
        cwd: args.workdir.clone().unwrap_or_else(|| image.working_dir.clone()),
        user: args.user.clone().unwrap_or_else(|| image.user.clone()),
        rootfs: Rootfs {
            lowers: snapshot.lowers.clone(),
            upper: snapshot.upper.clone(),
            work: snapshot.work.clone(),
            read_only: args.read_only,
            volatile: false,
        },
        network: match args.network {
            NetworkKind::Host => Network::Host,
            NetworkKind::None | NetworkKind::Bridge => Network::None,
        },
        mounts: mounts::of(args)?,
        resources: limits::of(&args.limits)?,
        limits: limits::of_processes(&args.ulimits)?,
        shm_size: limits::shm_size(args.shm_size.as_deref())?,
        cap_add: args.cap_add.clone(),
        cap_drop: args.cap_drop.clone(),
        no_new_privileges: !args.security_opt.is_empty(),
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
pub(super) fn document(args: &RunArgs, spec: &ContainerSpec, image: &ContainerConfig) -> Value {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    let own = args.labels.iter().map(pair);
    let labels: BTreeMap<String, String> = image.labels.clone().into_iter().chain(own).collect();
    json!({
        "Labels": labels,
        "StopSignal": args.stop_signal.as_ref().unwrap_or(&image.stop_signal),
        "Tty": args.tty,
        "Cmd": spec.args,
        "Env": spec.env,
        "AutoRemove": args.rm,
        "NetworkMode": args.network.name(),
        "Detached": args.detach,
        "OpenStdin": args.interactive,
        "ExtraHosts": args.add_host,
        "Dns": args.dns,
        "SecurityOpt": args.security_opt,
        "PublishAllPorts": args.publish_all,
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

/// Returns the variables of the image, of files and of the command line; a later one replaces an earlier one of its name.
fn environment(args: &RunArgs, image: &ContainerConfig) -> Result<Vec<String>, Failure> {
    let mut env = image.env.clone();
    let mut put = |line: String| {
        let name = |line: &str| line.split('=').next().unwrap_or_default().to_owned();
        match env.iter_mut().find(|known| name(known) == name(&line)) {
            Some(known) => *known = line,
            None => env.push(line),
        }
    };
    for file in &args.env_file {
        let text = fs_err::read_to_string(file).map_err(|error| {
            Failure::new(
                format!("could not read the variables: {error}"),
                "name another file: --env-file FILE",
            )
        })?;
        // Compat: docker, values are taken as they stand, quotes too.
        let lines =
            text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.filter_map(variable).for_each(&mut put);
    }
    args.env.iter().filter_map(|text| variable(text)).for_each(&mut put);
    Ok(env)
}

/// `NAME=value`, or `NAME` for the host's value if it has one.
fn variable(text: &str) -> Option<String> {
    if text.contains('=') {
        return Some(text.to_owned());
    }
    std::env::var(text).ok().map(|value| format!("{text}={value}"))
}
