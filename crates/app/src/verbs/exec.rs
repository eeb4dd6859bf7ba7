//! `shipway exec`

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;

use shipway_runtime::{Container, ExecSpec};

use crate::cli::ExecArgs;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::signals::Forwarder;
use crate::terminal;
use crate::ui::Ui;

pub(crate) fn run(engine: &Engine, args: &ExecArgs, ui: &mut Ui) -> Result<u8, Failure> {
    terminal::check_input(args.tty && !args.detach, args.interactive)?;
    let row = engine.store.container(&args.container)?;
    let container = engine.containers.get(&row.id)?;
    let spec = ExecSpec {
        args: args.command.clone(),
        env: args.env.clone(),
        cwd: args.workdir.clone(),
        user: args.user.clone(),
    };
    if args.tty && !args.detach {
        return on_terminal(&container, &spec, args.interactive, ui);
    }
    let mut command = container.exec_command(&spec)?;
    command.stdin(if args.interactive { Stdio::inherit() } else { Stdio::null() });
    if args.detach {
        return in_background(command);
    }
    Ok(code(command.status().map_err(not_started)?))
}

/// Compat: docker, nobody waits for it, and its output is lost.
fn in_background(mut command: Command) -> Result<u8, Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    // It goes on without this process.
    drop(command.spawn().map_err(not_started)?);
    Ok(0)
}

fn on_terminal(container: &Container, spec: &ExecSpec, input: bool, ui: &mut Ui) -> Result<u8, Failure> {
    let forwarder = Forwarder::hold()?;
    let (mut command, socket) = container.exec_terminal(spec, terminal::size())?;
    let spawned = command.spawn();
    // It holds the other half of the socket.
    drop(command);
    let mut child = spawned.map_err(not_started)?;
    let process = shipway_linux::open_pidfd(i32::try_from(child.id()).unwrap_or(0)).map_err(not_started)?;
    let Ok(master) = socket.receive(&process) else {
        // It has said why.
        return Ok(code(child.wait().map_err(not_started)?));
    };
    let master = Arc::new(master);
    forwarder.each(Some(Arc::clone(&master)), move |signal, _interrupts| {
        // One that has just ended needs no signal.
        drop(shipway_linux::signal_pidfd(&process, signal));
    });
    let ended = terminal::attach(ui, &master, input, || child.wait()).and_then(|status| status);
    Ok(code(ended.map_err(not_started)?))
}

fn code(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

fn not_started(error: std::io::Error) -> Failure {
    Failure::new(
        format!("could not run the command: {error}"),
        "try again; the machine may be out of processes",
    )
}
