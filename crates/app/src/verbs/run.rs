//! `shipway run`

mod files;
pub(crate) mod limits;
mod mounts;
mod order;

pub(crate) use self::files::extra as extra_host;

use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use shipway_layers::{LayerStore as _, Snapshot};
use shipway_oci::{ContainerConfig, Digest};
use shipway_runtime::{Container, ContainerSpec, Network, RuntimeError, StdIo, TerminalSocket};
use shipway_store::{ContainerRow, Found};

use crate::claim::Claim;
use crate::cli::{NetworkKind, RunArgs};
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::network::{self, OwnSandbox};
use crate::publish;
use crate::pulls;
use crate::signals::Forwarder;
use crate::sweep::sweep;
use crate::terminal;
use crate::ui::Ui;

/// Exit code of a container that Docker itself could not start.
const DAEMON: u8 = 125;
/// `SIGKILL`
const KILL: i32 = 9;

/// A container that runs, and what goes with it.
struct Started {
    container: Container,
    sandbox: Option<OwnSandbox>,
    /// The controlling end of its terminal, where this process has it.
    terminal: Option<OwnedFd>,
    /// Ends last: until then nobody else cleans up.
    claim: Claim,
}

pub(crate) fn run(engine: &Engine, args: &RunArgs, ui: &mut Ui) -> Result<u8, Failure> {
    terminal::check_input(args.tty && !args.detach, args.interactive)?;
    let forwarder = if args.detach { None } else { Some(Forwarder::hold()?) };
    sweep(engine);
    let started = start(engine, args, forwarder.as_ref(), ui).map_err(|failure| {
        let code = failure.code().max(DAEMON);
        failure.with_code(code)
    })?;
    let Started { container, sandbox, terminal, claim } = started;
    let Some(forwarder) = forwarder else {
        if let Some(sandbox) = sandbox {
            sandbox.leave();
        }
        drop(claim);
        ui.line(container.id());
        return Ok(0);
    };
    let terminal = terminal.map(Arc::new);
    forwarder.forward(container.clone(), terminal.clone());
    let code = attend(&container, terminal.as_deref(), args, ui);
    if code.is_err() {
        // Nobody would see what it does.
        end(&container);
    }
    drop(sandbox);
    if args.rm {
        super::rm::remove(engine, container.id())?;
    }
    drop(claim);
    Ok(u8::try_from(code?).unwrap_or(u8::MAX))
}

/// Waits for the end of a container; its terminal, if it has one, is this process's meanwhile.
fn attend(
    container: &Container,
    terminal: Option<&OwnedFd>,
    args: &RunArgs,
    ui: &mut Ui,
) -> Result<i32, Failure> {
    let Some(master) = terminal else { return Ok(container.wait()?) };
    let attached = terminal::attach(ui, master, args.interactive, || container.wait());
    let unusable = |error| {
        let hint = "leave -t out, or use another terminal";
        Failure::new(format!("could not use the terminal: {error}"), hint)
    };
    Ok(attached.map_err(unusable)??)
}

/// Ends a container on the way out of a failure, which is what matters.
fn end(container: &Container) {
    if let Err(error) = container.stop(KILL, Duration::ZERO) {
        tracing::warn!(container = container.id(), %error, "could not end a container");
    }
}

fn start(
    engine: &Engine,
    args: &RunArgs,
    forwarder: Option<&Forwarder>,
    ui: &mut Ui,
) -> Result<Started, Failure> {
    order::check(args)?;
    let publish = published(args, ui)?;
    // The image must be here still when the container is recorded.
    let _lease = engine.store.lease()?;
    let mut find = || pulls::find(engine, &args.image, args.pull, ui);
    let found = match forwarder {
        Some(forwarder) => forwarder.ending(find),
        None => find(),
    }?;
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
    let document = order::document(args, &spec, &config.config).to_string();
    record(engine, args, &found, &snapshot, (&spec.id, document))?;
    let launched = launch(engine, args, &mut spec, ui).and_then(|launched| match snapshot.keep() {
        Ok(()) => Ok(launched),
        Err(error) => {
            end(&launched.container);
            drop(launched.container.delete());
            Err(error.into())
        }
    });
    match launched {
        Ok(Launched { container, sandbox, terminal }) => Ok(Started { container, sandbox, terminal, claim }),
        Err(failure) => {
            // The failure to start is what matters; the snapshot goes with its value.
            drop(engine.store.remove_container(&spec.id, super::rm::durability_of(args.rm)));
            Err(failure)
        }
    }
}

struct Launched {
    container: Container,
    sandbox: Option<OwnSandbox>,
    terminal: Option<OwnedFd>,
}

/// Makes the container's network and starts it.
fn launch(
    engine: &Engine,
    args: &RunArgs,
    spec: &mut ContainerSpec,
    ui: &mut Ui,
) -> Result<Launched, Failure> {
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
    let (stdio, socket) = stdio(args)?;
    let container = engine.containers.start(spec, stdio).map_err(|error| {
        let code = if let RuntimeError::Start { source, .. } = &error { source.exit_code() } else { DAEMON };
        Failure::from(error).with_code(code)
    })?;
    let terminal = socket.map(|socket| socket.received()).transpose().map_err(|error| {
        Failure::new(format!("the container's terminal did not arrive: {error}"), "leave -t out")
    })?;
    Ok(Launched { container, sandbox, terminal })
}

/// Returns the container's streams, and where its terminal arrives if this process is to have it.
fn stdio(args: &RunArgs) -> Result<(StdIo, Option<TerminalSocket>), Failure> {
    if args.detach {
        return Ok((StdIo::Log, None));
    }
    if args.tty {
        let (socket, theirs) = TerminalSocket::pair()
            .map_err(|error| Failure::new(format!("could not make a terminal: {error}"), "leave -t out"))?;
        return Ok((StdIo::Terminal(theirs), Some(socket)));
    }
    let stdin = if args.interactive { Stdio::inherit() } else { Stdio::null() };
    Ok((StdIo::Streams { stdin, stdout: Stdio::inherit(), stderr: Stdio::inherit() }, None))
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
    found: &Found,
    snapshot: &Snapshot,
    (id, document): (&str, String),
) -> Result<(), Failure> {
    let row = ContainerRow {
        id: id.to_owned(),
        name: args.name.clone().unwrap_or_else(|| format!("c{}", &id[..12])),
        image_id: found.image_id,
        image: args.image.clone(),
        created: clock::now(),
        snapshot: Some(snapshot.id.clone()),
        document,
    };
    Ok(engine.store.add_container(&row, super::rm::durability_of(args.rm))?)
}
