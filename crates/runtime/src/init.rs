//! The container's first process, until it becomes the program.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::Path;

use shipway_linux::{self as linux, OpenFlags, Root};

use crate::defaults::{PATH, capabilities_of};
use crate::error::{Stage, StartFailure};
use crate::mounts::{mount_all, mount_root, seal_root};
use crate::terminal::{NewTerminal, with_term};
use crate::user::{User, resolve_user};
use crate::{ContainerSpec, Network, ProcessLimit};

/// Turns this process, which is alone in new namespaces and in its control group, into the container's program. Returns why it could not.
pub(crate) fn run(spec: &ContainerSpec, dir: &Path) -> StartFailure {
    let (user, terminal) = match prepare(spec, dir) {
        Ok(prepared) => prepared,
        Err(failure) => return failure,
    };
    let capabilities = match capabilities_of(spec) {
        Ok(capabilities) => capabilities,
        Err(failure) => return failure,
    };
    let env = if terminal.is_some() { with_term(&spec.env) } else { spec.env.clone() };
    execute(
        Program { args: &spec.args, env: &env, cwd: &spec.cwd, create_cwd: true, terminal },
        &user,
        &Confinement {
            limits: &spec.limits,
            capabilities,
            filters_calls: !spec.privileged,
            no_new_privileges: spec.no_new_privileges,
            die_with_parent: false,
        },
    )
}

fn prepare(spec: &ContainerSpec, dir: &Path) -> Result<(User, Option<NewTerminal>), StartFailure> {
    let fail = |stage, subject: &str| {
        let subject = subject.to_owned();
        move |error: io::Error| StartFailure::new(stage, subject, &error)
    };
    linux::make_all_private().map_err(fail(Stage::Rootfs, &spec.id))?;
    if let Network::Path(path) = &spec.network {
        let subject = path.display().to_string();
        let namespace = File::open(path).map_err(fail(Stage::Network, &subject))?;
        linux::join_namespace(namespace, 0).map_err(fail(Stage::Network, &subject))?;
    }
    linux::new_cgroup_namespace().map_err(fail(Stage::Cgroup, &spec.id))?;
    prepare_network(&spec.network).map_err(fail(Stage::Network, &spec.id))?;
    linux::set_hostname(&spec.hostname).map_err(fail(Stage::Clone, &spec.hostname))?;
    let root = mount_root(spec, &dir.join("rootfs"))?;
    mount_all(spec, &root, dir)?;
    let terminal = spec.terminal.map(|size| NewTerminal::open(&root, size)).transpose()?;
    terminal.as_ref().map_or(Ok(()), |terminal| terminal.show_as_console(&root))?;
    let user =
        resolve_user(&root, &spec.user).map_err(|why| StartFailure::rule(Stage::User, &spec.user, why))?;
    if spec.rootfs.read_only {
        seal_root(&root).map_err(fail(Stage::Rootfs, &spec.id))?;
    }
    linux::pivot_into(&root).map_err(fail(Stage::Rootfs, &spec.id))?;
    Ok((user, terminal))
}

/// Compat: docker, every user may listen on every port and ping. The namespace is the container's own.
fn prepare_network(network: &Network) -> io::Result<()> {
    match network {
        Network::Host => return Ok(()),
        Network::None => linux::enable_loopback()?,
        Network::Path(_) => {}
    }
    // `/proc` is still the host's, which nothing in the image could replace; it shows the network of who looks.
    for (name, value) in [("ip_unprivileged_port_start", "0"), ("ping_group_range", "0 2147483647")] {
        fs_err::OpenOptions::new()
            .write(true)
            .open(format!("/proc/sys/net/ipv4/{name}"))
            .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()))?;
    }
    Ok(())
}

/// A program and what surrounds it.
pub(crate) struct Program<'a> {
    pub(crate) args: &'a [String],
    pub(crate) env: &'a [String],
    pub(crate) cwd: &'a str,
    pub(crate) create_cwd: bool,
    /// What it becomes the owner of.
    pub(crate) terminal: Option<NewTerminal>,
}

/// What a program may not do.
pub(crate) struct Confinement<'a> {
    pub(crate) limits: &'a [ProcessLimit],
    pub(crate) capabilities: linux::Capabilities,
    /// The filter of system calls holds.
    pub(crate) filters_calls: bool,
    pub(crate) no_new_privileges: bool,
    /// For a process whose end somebody waits for; the first one of a container lives on without its shim.
    pub(crate) die_with_parent: bool,
}

/// Gives up everything that the program should not have and becomes it. Returns why it could not.
pub(crate) fn execute(program: Program<'_>, user: &User, confinement: &Confinement<'_>) -> StartFailure {
    match confined(program, user, confinement) {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

fn confined(
    mut program: Program<'_>,
    user: &User,
    confinement: &Confinement<'_>,
) -> Result<std::convert::Infallible, StartFailure> {
    linux::set_umask(0o022);
    // A lower limit than ours is one that we cannot raise.
    drop(linux::limit_open_files(1024, 524_288));
    for limit in confinement.limits {
        let failed = |error: io::Error| StartFailure::new(Stage::Limits, limit.name.clone(), &error);
        linux::limit(&limit.name, limit.soft, limit.hard).map_err(failed)?;
    }
    enter(&program)?;
    program.terminal.take().map_or(Ok(()), |terminal| terminal.take(user.uid))?;
    let name = program.args.first().map_or("", String::as_str);
    let privileges = |error: io::Error| StartFailure::new(Stage::Privileges, name, &error);
    let allowed = confinement.capabilities;
    // Before the capabilities go: loading needs one of them. The few calls below are allowed.
    if confinement.filters_calls {
        crate::seccomp_profile::filter(allowed).load().map_err(privileges)?;
    }
    allowed.bound().map_err(privileges)?;
    linux::set_ids(user.uid, user.gid, &user.groups).map_err(privileges)?;
    // Changing to another user has taken everything away but what is inheritable.
    let allowed = if user.uid == 0 { allowed } else { linux::Capabilities::default() };
    allowed.apply().map_err(privileges)?;
    // Not earlier: a change of user undoes it.
    if confinement.die_with_parent {
        linux::die_with_parent().map_err(privileges)?;
    }
    if confinement.no_new_privileges {
        linux::no_new_privileges().map_err(privileges)?;
    }
    let env = environment(program.env, user);
    let path = env.iter().find_map(|line| line.strip_prefix("PATH=")).unwrap_or(PATH).to_owned();
    let strings = |lines: &[String]| {
        lines.iter().map(|line| CString::new(line.as_str())).collect::<Result<Vec<_>, _>>()
    };
    let nul = |_| StartFailure::rule(Stage::Execute, name, "an argument or variable has a NUL byte");
    let (args, env) = (strings(program.args).map_err(nul)?, strings(&env).map_err(nul)?);
    linux::reset_signals();
    linux::close_others_on_exec().map_err(privileges)?;
    let mut failed = io::Error::from_raw_os_error(2);
    for candidate in candidates(name, &path) {
        let Ok(candidate) = CString::new(candidate) else { continue };
        let error = linux::execute(&candidate, &args, &env);
        // A file that is there and cannot be run says more than the ones that are not there.
        if error.kind() != io::ErrorKind::NotFound {
            failed = error;
        }
    }
    Err(StartFailure::new(Stage::Execute, name, &failed))
}

/// Enters the working directory, and sees that it is one of the container's (SECURITY row 2).
fn enter(program: &Program<'_>) -> Result<(), StartFailure> {
    let cwd = if program.cwd.is_empty() { "/" } else { program.cwd };
    let fail = |error: io::Error| StartFailure::new(Stage::WorkingDirectory, cwd, &error);
    if !cwd.starts_with('/') {
        return Err(StartFailure::rule(Stage::WorkingDirectory, cwd, "it is not an absolute path"));
    }
    let root = Root::open(Path::new("/")).map_err(fail)?;
    if program.create_cwd {
        root.create_dir_all(cwd, 0o755).map_err(fail)?;
    }
    // Opened without magic links, so `/proc/self/fd/N` leads nowhere.
    let dir = root.open_with(cwd, OpenFlags::RDONLY | OpenFlags::DIRECTORY, 0).map_err(fail)?;
    linux::change_directory(dir).map_err(fail)?;
    let seen = linux::kernel_working_directory().map_err(fail)?;
    if seen.starts_with(b"/") {
        return Ok(());
    }
    Err(StartFailure::rule(Stage::WorkingDirectory, cwd, "it is outside the container"))
}

/// Adds what every program expects to find.
fn environment(env: &[String], user: &User) -> Vec<String> {
    let mut env = env.to_vec();
    let home = user.home.clone().filter(|home| !home.is_empty());
    let home = home.unwrap_or_else(|| if user.uid == 0 { "/root" } else { "/" }.to_owned());
    for (name, value) in [("PATH", PATH), ("HOME", home.as_str())] {
        if !env.iter().any(|line| line.split_once('=').is_some_and(|(found, _)| found == name)) {
            env.push(format!("{name}={value}"));
        }
    }
    env
}

fn candidates(name: &str, path: &str) -> Vec<String> {
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    path.split(':')
        .filter(|dir| !dir.is_empty() && !name.is_empty())
        .map(|dir| format!("{dir}/{name}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_up_in_the_path() {
        assert_eq!(candidates("sh", "/a:/b"), ["/a/sh", "/b/sh"]);
        assert_eq!(candidates("./sh", "/a"), ["./sh"]);
        assert!(candidates("", "/a").is_empty());
    }

    #[test]
    fn what_programs_expect_is_added_and_nothing_overridden() {
        let env = environment(&["PATH=/mine".to_owned()], &User::default());
        assert_eq!(env, ["PATH=/mine", "HOME=/root"]);
    }
}
