//! `shipway run`

use std::process::Stdio;

use shipway_layers::{LayerStore as _, Snapshot};
use shipway_oci::{ContainerConfig, Digest};
use shipway_runtime::{Container, ContainerSpec, Network, Rootfs, RuntimeError, StdIo};
use shipway_store::{ContainerRow, Found, StoreError};

use crate::cli::{NetworkKind, RunArgs};
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::Ui;

/// Exit code of a container that Docker itself could not start.
const DAEMON: u8 = 125;

pub(crate) fn run(engine: &Engine, args: &RunArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let container = start(engine, args)?;
    if args.detach {
        ui.line(container.id());
        return Ok(0);
    }
    let code = container.wait()?;
    if args.rm {
        super::rm::remove(engine, container.id())?;
    }
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}

fn start(engine: &Engine, args: &RunArgs) -> Result<Container, Failure> {
    let refused = |failure: Failure| failure.with_code(DAEMON);
    let found = engine.store.resolve(&args.image).map_err(|error| refused(no_image(&args.image, error)))?;
    let config = engine.store.config(&found.image_id).map_err(|error| refused(error.into()))?;
    let layers = engine.layers.resolve(&config.rootfs.diff_ids).map_err(|error| refused(error.into()))?;
    let mut snapshot = engine.layers.prepare(&layers).map_err(|error| refused(error.into()))?;
    let spec = spec_of(engine, args, &config.config, &snapshot).map_err(refused)?;
    record(engine, args, &spec, &found, &snapshot).map_err(refused)?;
    let null_or = |keep: bool| if keep { Stdio::inherit() } else { Stdio::null() };
    let stdio = if args.detach {
        StdIo::Log
    } else {
        StdIo::Streams {
            stdin: null_or(args.interactive),
            stdout: Stdio::inherit(),
            stderr: Stdio::inherit(),
        }
    };
    match engine.containers.start(&spec, stdio) {
        Ok(container) => {
            snapshot.keep()?;
            Ok(container)
        }
        Err(error) => {
            // The failure to start is what matters; the snapshot goes with this value.
            drop(engine.store.remove_container(&spec.id));
            let code =
                if let RuntimeError::Start { source, .. } = &error { source.exit_code() } else { DAEMON };
            Err(Failure::from(error).with_code(code))
        }
    }
}

fn no_image(name: &str, error: StoreError) -> Failure {
    match error {
        StoreError::NoImage(_) => Failure::new(
            format!("no image `{name}` in the local store, and pulling from registries is not there yet"),
            "`shipway images` lists what there is; `shipway import FILE.tar NAME` adds one",
        ),
        other => other.into(),
    }
}

fn record(
    engine: &Engine,
    args: &RunArgs,
    spec: &ContainerSpec,
    found: &Found,
    snapshot: &Snapshot,
) -> Result<(), Failure> {
    let row = ContainerRow {
        id: spec.id.clone(),
        name: args.name.clone().unwrap_or_else(|| format!("c{}", &spec.id[..12])),
        image_id: found.image_id,
        image: args.image.clone(),
        created: clock::now(),
        snapshot: Some(snapshot.id.clone()),
        document: serde_json::json!({ "Cmd": spec.args, "Env": spec.env, "AutoRemove": args.rm }).to_string(),
    };
    Ok(engine.store.add_container(&row)?)
}

fn spec_of(
    engine: &Engine,
    args: &RunArgs,
    image: &ContainerConfig,
    snapshot: &Snapshot,
) -> Result<ContainerSpec, Failure> {
    let id = Digest::of(format!("{}/{}", engine.roots.id, snapshot.id).as_bytes()).hex();
    let hostname = args.hostname.clone().unwrap_or_else(|| id[..12].to_owned());
    let resolv_conf = (args.network == NetworkKind::Host)
        .then(|| fs_err::read_to_string("/etc/resolv.conf").ok())
        .flatten();
    let command = command_of(args, image).ok_or_else(|| {
        Failure::new(
            "no command given, and the image has none",
            format!("say what to run: shipway run {} COMMAND", args.image),
        )
    })?;
    Ok(ContainerSpec {
        hosts: Some(format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n")),
        hostname,
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
            NetworkKind::None => Network::None,
            NetworkKind::Host => Network::Host,
        },
        resolv_conf,
        cgroup_parent: format!("shipway-{}", engine.roots.id),
        id,
        ..ContainerSpec::default()
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
