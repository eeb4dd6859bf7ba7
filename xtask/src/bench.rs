//! `cargo xtask bench [NAME…] [--runs N]`: Shipway beside its peers, in turn, in one run on one machine.
//!
//! Prints Markdown tables with medians, ranges and ratios; progress goes to the standard error. Machines differ and
//! are shared, so the ratios are what counts. Needs root. `docs/benchmarks.md` holds what was measured.
//!
//! Programs are found on `PATH`; `SHIPWAY`, `DOCKERD`, `DOCKER`, `BUILDAH`, `PODMAN`, `CRUN`, `RUNC`, `SKOPEO`,
//! `DOCKER_REGISTRY` and `MMDEBSTRAP` name others, and an empty value leaves a peer out. Everything is made below the temporary directory (`TMPDIR`), with
//! daemons of its own and in a mount namespace of its own, and removed at the end. What needs no way out runs in a
//! network namespace of its own too.

mod apps;
mod bare;
mod bootstrap;
mod build;
mod builders;
mod cluster;
mod containers;
pub(crate) mod docker;
mod growth;
mod images;
pub(crate) mod inputs;
mod machine;
mod pods;
pub(crate) mod program;
mod rounds;
mod samples;
pub(crate) mod shipway;
mod table;
mod volume;

use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use inputs::Scratch;
use table::Table;

const USAGE: &str =
    "usage: cargo xtask bench [containers|images|build|growth|cluster|flask|express|bootstrap]… [--runs N]";

/// A set of rows that share what they need.
struct Group {
    name: &'static str,
    /// Whether it downloads something. The others get a network namespace of their own.
    downloads: bool,
    /// How often each command is measured.
    runs: usize,
    measure: fn(&Scratch, usize) -> anyhow::Result<Table>,
}

const GROUPS: &[Group] = &[
    Group { name: "containers", downloads: false, runs: 20, measure: containers::measure },
    Group { name: "images", downloads: false, runs: 3, measure: images::measure },
    Group { name: "build", downloads: false, runs: 3, measure: build::measure },
    Group { name: "growth", downloads: false, runs: 2, measure: growth::measure },
    Group { name: "cluster", downloads: false, runs: 7, measure: cluster::measure },
    Group { name: "flask", downloads: true, runs: 5, measure: apps::flask },
    Group { name: "express", downloads: true, runs: 3, measure: apps::express },
    Group { name: "bootstrap", downloads: true, runs: 5, measure: bootstrap::measure },
];

/// Measures the groups that `args` name, or all.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let options = Options::parse(args)?;
    if !options.inside {
        println!("{}\n", machine::describe()?);
    }
    for group in GROUPS.iter().filter(|group| options.wants(group.name)) {
        if !options.inside {
            run_inside(group, options.runs)?;
            continue;
        }
        if !group.downloads {
            set_up_loopback()?;
        }
        let scratch = Scratch::new()?;
        let table = (group.measure)(&scratch, options.runs.unwrap_or(group.runs))
            .with_context(|| format!("could not measure `{}`", group.name))?;
        println!("## {}\n\n{table}", group.name);
    }
    Ok(())
}

struct Options {
    names: Vec<String>,
    runs: Option<usize>,
    /// Whether this process is in the namespaces that [`run_inside`] made.
    inside: bool,
}

impl Options {
    fn parse(args: &[String]) -> anyhow::Result<Self> {
        let mut options = Self { names: Vec::new(), runs: None, inside: false };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--runs" => {
                    let runs: usize = args.next().and_then(|runs| runs.parse().ok()).context(USAGE)?;
                    ensure!(runs > 0, "one run at least");
                    options.runs = Some(runs);
                }
                "--inside" => options.inside = true,
                name if GROUPS.iter().any(|group| group.name == name) => options.names.push(name.to_owned()),
                other => bail!("there is no `{other}`\n{USAGE}"),
            }
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }
}

/// Measures a group by this program in namespaces of its own: mounts, bridges and rules of all sides end with it.
fn run_inside(group: &Group, runs: Option<usize>) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("this program has no path")?;
    let mut command = Command::new("unshare");
    command.arg("--mount").args((!group.downloads).then_some("--net")).arg("--").arg(program);
    command.args(["bench", "--inside", group.name]);
    command.args(runs.iter().flat_map(|runs| ["--runs".to_owned(), runs.to_string()]));
    let status = command.status().context("could not start `unshare`")?;
    ensure!(status.success(), "`{}` was not measured", group.name);
    Ok(())
}

/// Sets up the loopback device of the network namespace that this process is in.
pub(crate) fn set_up_loopback() -> anyhow::Result<()> {
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    ensure!(status.context("could not start `ip`")?.success(), "could not set up the loopback device");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> anyhow::Result<Options> {
        Options::parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn without_names_all_groups_are_measured() {
        let all = parse(&["--runs", "2"]).unwrap();
        assert!(all.wants("flask") && all.runs == Some(2));
        let one = parse(&["cluster"]).unwrap();
        assert!(one.wants("cluster") && !one.wants("flask") && one.runs.is_none());
    }

    #[test]
    fn a_group_that_is_not_there_is_named() {
        assert!(parse(&["flsk"]).err().unwrap().to_string().contains("`flsk`"));
        assert!(parse(&["--runs", "0"]).is_err() && parse(&["--runs"]).is_err());
    }
}
