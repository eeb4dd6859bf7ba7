//! `shipway exec`

use std::process::Stdio;

use shipway_runtime::ExecSpec;

use crate::cli::ExecArgs;
use crate::engine::Engine;
use crate::failure::Failure;

pub(crate) fn run(engine: &Engine, args: &ExecArgs) -> Result<u8, Failure> {
    let row = engine.store.container(&args.container)?;
    let container = engine.containers.get(&row.id)?;
    let spec = ExecSpec {
        args: args.command.clone(),
        env: args.env.clone(),
        cwd: args.workdir.clone(),
        user: args.user.clone(),
    };
    let mut command = container.exec_command(&spec)?;
    command.stdin(if args.interactive { Stdio::inherit() } else { Stdio::null() });
    let status = command.status().map_err(|error| {
        Failure::new(
            format!("could not start the command: {error}"),
            "try again; the machine may be out of processes",
        )
    })?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}
