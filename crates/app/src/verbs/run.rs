//! `shipway run`

mod files;
mod order;

use std::process::Stdio;

use shipway_layers::{LayerStore as _, Snapshot};
use shipway_oci::{ContainerConfig, Digest};
use shipway_runtime::{Container, ContainerSpec, Network, RuntimeError, StdIo};
use shipway_store::{ContainerRow, Found};

use crate::claim::Claim;
use crate::cli::{NetworkKind, RunArgs};
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::network::{self, OwnSandbox};
use crate::publish;
use crate::pulls;
use crate::sweep::sweep;
use crate::ui::Ui;

/// Exit code of a container that Docker itself could not start.
const DAEMON: u8 = 125;

/// A container that runs, and what goes with it.
struct Started {
    container: Container,
    sandbox: Option<OwnSandbox>,
    /// Ends last: until then nobody else cleans up.
    claim: Claim,
}

pub(crate) fn run(engine: &Engine, args: &RunArgs, ui: &mut Ui) -> Result<u8, Failure> {
    sweep(engine);
    let started = start(engine, args, ui).map_err(|failure| {
        let code = failure.code().max(DAEMON);
        failure.with_code(code)
    })?;
    let Started { container, sandbox, claim } = started;
    if args.detach {
        if let Some(sandbox) = sandbox {
            sandbox.leave();
        }
        drop(claim);
        ui.line(container.id());
        return Ok(0);
    }
    let code = container.wait()?;
    drop(sandbox);
    if args.rm {
        super::rm::remove(engine, container.id())?;
    }
    drop(claim);
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}

fn start(engine: &Engine, args: &RunArgs, ui: &mut Ui) -> Result<Started, Failure> {
    let publish = published(args, ui)?;
    let found = pulls::find_or_pull(engine, &args.image, ui)?;
    let config = engine.store.config(&found.image_id)?;
    let layers = engine.layers.resolve(&config.rootfs.diff_ids)?;
    let mut snapshot = engine.layers.prepare(&layers)?;
    let id = Digest::of(format!("{}/{}", engine.roots.id, snapshot.id).as_bytes()).hex();
    let claim = Claim::take(&engine.roots, &network::name_of(&id))?;
    let mut spec = order::spec_of(engine, args, &config.config, &snapshot, id)?;
    if args.network == NetworkKind::Bridge {
        spec.publish = publish;
        if args.publish_all {
            publish_exposed(&mut spec, &config.config, ui)?;
        }
    }
    record(engine, args, &spec, &found, &snapshot)?;
    match launch(engine, args, &mut spec, ui) {
        Ok((container, sandbox)) => {
            snapshot.keep()?;
            Ok(Started { container, sandbox, claim })
        }
        Err(failure) => {
            // The failure to start is what matters; the snapshot goes with its value.
            drop(engine.store.remove_container(&spec.id));
            Err(failure)
        }
    }
}

/// Makes the container's network and starts it.
fn launch(
    engine: &Engine,
    args: &RunArgs,
    spec: &mut ContainerSpec,
    ui: &mut Ui,
) -> Result<(Container, Option<OwnSandbox>), Failure> {
    let sandbox = match args.network {
        NetworkKind::Bridge => Some(OwnSandbox::create(&engine.roots, &network::name_of(&spec.id))?),
        NetworkKind::None | NetworkKind::Host => None,
    };
    let place = sandbox.as_ref().map(OwnSandbox::sandbox);
    if let Some(place) = place {
        spec.network = Network::Path(place.netns.clone());
        spec.address = Some(place.address);
    }
    spec.resolv_conf = files::resolv_conf(args, ui);
    spec.hosts = Some(files::hosts(args, &spec.hostname, place)?);
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
    let container = engine.containers.start(spec, stdio).map_err(|error| {
        let code = if let RuntimeError::Start { source, .. } = &error { source.exit_code() } else { DAEMON };
        Failure::from(error).with_code(code)
    })?;
    Ok((container, sandbox))
}

/// Returns what `-p` asks for. Compat: docker, without a network of its own the container's ports are published as they are.
fn published(args: &RunArgs, ui: &mut Ui) -> Result<Vec<shipway_runtime::PortMapping>, Failure> {
    let parsed: Result<Vec<_>, _> = args.publish.iter().map(|text| publish::parse(text)).collect();
    let wanted = parsed?.concat();
    if args.network != NetworkKind::Bridge && (args.publish_all || !wanted.is_empty()) {
        ui.note("note: published ports mean nothing without --network bridge; they are left out");
    }
    Ok(wanted)
}

fn publish_exposed(spec: &mut ContainerSpec, image: &ContainerConfig, ui: &mut Ui) -> Result<(), Failure> {
    let (mappings, left) = publish::of_exposed(image.exposed_ports.keys())?;
    for port in left {
        ui.note(format!("note: {port} is not published: only tcp is there yet"));
    }
    let named: Vec<u16> = spec.publish.iter().map(|mapping| mapping.container_port).collect();
    spec.publish.extend(mappings.into_iter().filter(|mapping| !named.contains(&mapping.container_port)));
    Ok(())
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
        document: order::document(args, spec).to_string(),
    };
    Ok(engine.store.add_container(&row)?)
}
