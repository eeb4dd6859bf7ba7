//! Another program in a running container.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shipway_linux::{self as linux, Forked, Namespaces, Root};

use crate::error::{Stage, StartFailure};
use crate::init::{Confinement, Program, execute};
use crate::state::ContainerState;
use crate::terminal::{NewTerminal, close_standard_input, with_term};
use crate::user::resolve_user;
use crate::{Container, ContainerSpec, RuntimeError, TerminalSize, TerminalSocket};

/// A program to run in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Program and arguments.
    pub args: Vec<String>,
    /// Environment beside the container's own.
    pub env: Vec<String>,
    /// Working directory; the container's if not given.
    pub cwd: Option<String>,
    /// User; the container's if not given.
    pub user: Option<String>,
}

impl Container {
    /// Returns the command that runs a program in the container, with the caller's choice of streams.
    ///
    /// Its exit code is the program's, or 126 and 127 as shells give them.
    pub fn exec_command(&self, spec: &ExecSpec) -> Result<Command, RuntimeError> {
        drop(self.pidfd()?);
        let text = serde_json::to_string(spec)
            .map_err(|error| RuntimeError::io("describe", self.dir())(error.into()))?;
        let mut command = Command::new(self.program());
        command.arg("__exec").arg(self.dir()).arg(text);
        Ok(command)
    }

    /// Returns the command that runs a program in the container on a terminal of its own, and where the controlling end of
    /// that arrives once the command has been started. Its standard input is taken; what it writes to its standard error was
    /// said before there was a terminal.
    pub fn exec_terminal(
        &self,
        spec: &ExecSpec,
        size: TerminalSize,
    ) -> Result<(Command, TerminalSocket), RuntimeError> {
        let mut command = self.exec_command(spec)?;
        let (socket, theirs) =
            TerminalSocket::pair().map_err(RuntimeError::io("make a terminal for", self.dir()))?;
        command.arg(format!("{}x{}", size.rows, size.columns)).stdin(theirs).stdout(Stdio::null());
        Ok((command, socket))
    }
}

/// `SIGCHLD`. Spec: signal(7).
const ENDED: i32 = 17;
/// `SIGHUP`, `SIGINT`, `SIGQUIT`, `SIGUSR1`, `SIGUSR2`, `SIGTERM` are passed on. Spec: signal(7).
const HELD: [i32; 7] = [1, 2, 3, 10, 12, 15, ENDED];

/// Runs as `DIR SPEC [ROWSxCOLUMNS]`: joins the container and becomes the program, and passes on how it ends. With a size, the
/// program has a terminal, and standard input is where the other end of it is sent to.
pub fn exec_main(arguments: &[OsString]) -> ExitCode {
    linux::take_signals();
    linux::hear_of_children();
    linux::forget_caller();
    let sealed =
        linux::ensure_sealed().map_err(|error| StartFailure::new(Stage::Seal, "the program", &error));
    match sealed.and_then(|()| join(arguments)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            use std::io::Write as _;
            // The only place where this can be said is the program's own standard error.
            drop(writeln!(io::stderr(), "error: {failure}"));
            ExitCode::from(failure.exit_code())
        }
    }
}

fn join(arguments: &[OsString]) -> Result<u8, StartFailure> {
    let fail = |stage| move |error: io::Error| StartFailure::new(stage, "the container", &error);
    let (dir, text, size) = match arguments {
        [dir, text] => (dir, text, None),
        [dir, text, size] => (dir, text, size.to_str().and_then(parse_size)),
        _ => return Err(StartFailure::rule(Stage::Spec, "exec", "wrong arguments")),
    };
    let dir = PathBuf::from(dir);
    let spec: ExecSpec =
        serde_json::from_str(&text.to_string_lossy()).map_err(|error| fail(Stage::Spec)(error.into()))?;
    let container = fs_err::read(dir.join("spec.json")).map_err(fail(Stage::Spec))?;
    let container: ContainerSpec =
        serde_json::from_slice(&container).map_err(|error| fail(Stage::Spec)(error.into()))?;
    let state = ContainerState::load(&dir).map_err(fail(Stage::Spec))?;
    let pidfd = linux::open_pidfd(state.pid).map_err(fail(Stage::Clone))?;
    if !state.is_alive() {
        return Err(StartFailure::rule(Stage::Clone, &container.id, "the container is not running"));
    }
    linux::join_namespace(&pidfd, linux::PROCESS_NAMESPACE).map_err(fail(Stage::Clone))?;
    // The program is told what this process is told; it takes them again when it is executed.
    let signals = linux::Signals::hold(&HELD).map_err(fail(Stage::Clone))?;
    // Only the child enters the group: this process is no part of the container, and would keep it from being removed.
    let group = crate::mounts::cgroup_of(&container);
    let forked = linux::fork_into(Namespaces::Inherited, &group).map_err(fail(Stage::Clone))?;
    let (child, process) = match forked {
        Forked::Parent { pid, pidfd } => (pid, pidfd),
        Forked::Child(placed) => {
            placed.map_err(fail(Stage::Cgroup))?;
            return Err(become_program(pidfd, &container, &spec, size));
        }
    };
    if size.is_some() {
        close_standard_input().map_err(fail(Stage::Terminal))?;
    }
    // Not in a thread: there can be none in a process whose children are in another namespace.
    while let Ok(signal) = signals.wait() {
        if signal != ENDED {
            // One that has just ended needs none.
            drop(linux::signal_pidfd(&process, signal));
        } else if linux::wait_pidfd(&process, Duration::ZERO).unwrap_or(true) {
            break;
        }
    }
    let ended = linux::wait_for(child).map_err(fail(Stage::Clone))?;
    Ok(u8::try_from(ended.code()).unwrap_or(255))
}

/// Joins the container and becomes the program. Returns why it could not.
fn become_program(
    member: OwnedFd,
    container: &ContainerSpec,
    spec: &ExecSpec,
    size: Option<TerminalSize>,
) -> StartFailure {
    let fail = |stage| move |error: io::Error| StartFailure::new(stage, "the container", &error);
    let inside = || -> Result<_, StartFailure> {
        let others = linux::CONTAINER_NAMESPACES & !linux::PROCESS_NAMESPACE;
        linux::join_namespace(member, others).map_err(fail(Stage::Clone))?;
        let root = Root::open(Path::new("/")).map_err(fail(Stage::Rootfs))?;
        let name = spec.user.as_deref().unwrap_or(&container.user);
        let user = resolve_user(&root, name).map_err(|why| StartFailure::rule(Stage::User, name, why))?;
        let terminal = size.map(|size| NewTerminal::open(&root, size)).transpose()?;
        Ok((user, terminal, crate::defaults::capabilities_of(container)?))
    };
    let (user, terminal, capabilities) = match inside() {
        Ok(inside) => inside,
        Err(failure) => return failure,
    };
    let env = overlaid(&container.env, &spec.env);
    let env = if terminal.is_some() { with_term(&env) } else { env };
    let cwd = spec.cwd.as_deref().unwrap_or(&container.cwd);
    execute(
        Program { args: &spec.args, env: &env, cwd, create_cwd: false, terminal },
        &user,
        &Confinement {
            limits: &container.limits,
            capabilities,
            filters_calls: !container.privileged,
            no_new_privileges: container.no_new_privileges,
            die_with_parent: true,
        },
    )
}

fn parse_size(text: &str) -> Option<TerminalSize> {
    let (rows, columns) = text.split_once('x')?;
    Some(TerminalSize { rows: rows.parse().ok()?, columns: columns.parse().ok()? })
}

/// Returns `env` with the lines of `more` in place of those with the same name.
fn overlaid(env: &[String], more: &[String]) -> Vec<String> {
    let name = |line: &str| line.split('=').next().unwrap_or_default().to_owned();
    let kept = env.iter().filter(|line| !more.iter().any(|other| name(other) == name(line)));
    kept.chain(more).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_of_the_exec_replaces_the_containers() {
        let lines = |text: &str| text.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>();
        assert_eq!(overlaid(&lines("A=1 AB=2 C=3"), &lines("A=9 D=4")), lines("AB=2 C=3 A=9 D=4"));
    }
}
