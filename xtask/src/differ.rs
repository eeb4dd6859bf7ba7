//! `cargo xtask differ [FILTER]`: Dockerfiles built by Shipway and by Docker (BuildKit), and compared.
//!
//! The cases are `xtask/differ/*.toml`. Compared are success, the image's configuration, and its files: kind, mode, owner,
//! content, extended attributes, names, and times that the context gave. A difference that the case does not explain
//! is a failure. So is an explained one that is not there, as long as the daemon is of the release that the cases were
//! written for. `--corpus DIR` takes all Dockerfiles below a directory in place of the cases; each image that they name is a busybox.
//! Needs root, `dockerd` and `docker`, a static busybox, `setfattr`; `DOCKERD`, `DOCKER` and `SHIPWAY` name other programs.

mod build;
mod case;
mod compare;
mod corpus;
mod image;
mod tree;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};

use build::Builders;
use case::Case;
use compare::Difference;

use crate::bench::docker::{Docker, Network, Programs};
use crate::bench::inputs::{Scratch, pack};
use crate::bench::shipway::Shipway;
use crate::bench::{program, set_up_loopback};

const USAGE: &str = "usage: cargo xtask differ [--corpus DIR] [FILTER]: only cases whose names contain FILTER; with --corpus, those are the
Dockerfiles below DIR, each with the directory that it lies in";

/// Release of Docker that the cases' differences were seen with.
const RECORDED: u32 = 20;
/// First release that words histories as BuildKit does today.
const CURRENT: u32 = 28;
/// Cases at one time.
const WORKERS: usize = 2;

/// Compares the cases that the arguments name, or all.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let (inside, rest) = match args {
        [flag, rest @ ..] if flag == "--inside" => (true, rest),
        rest => (false, rest),
    };
    let (corpus, filter) = match rest {
        [flag, directory, rest @ ..] if flag == "--corpus" => (Some(corpus::directory(directory)?), rest),
        rest => (None, rest),
    };
    let filter = match filter {
        [] => "",
        [filter] if !filter.starts_with('-') => filter.as_str(),
        _ => bail!(USAGE),
    };
    if inside {
        return compare_all(corpus.as_deref(), filter);
    }
    let shipway = match std::env::var_os("SHIPWAY") {
        Some(named) => PathBuf::from(named),
        None => built()?,
    };
    // Mounts, bridges and rules of both sides end with these namespaces.
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--"]).arg(std::env::current_exe()?);
    command.args(["differ", "--inside"]).args(rest).env("SHIPWAY", shipway);
    let status = command.status().context("could not start `unshare`")?;
    ensure!(status.success(), "the builders differ, or could not be compared");
    Ok(())
}

/// Builds the program and returns where it is: beside this one.
fn built() -> anyhow::Result<PathBuf> {
    let status = Command::new("cargo").args(["build", "--quiet", "--locked"]).status();
    ensure!(status.context("could not start cargo")?.success(), "`cargo build` failed");
    Ok(std::env::current_exe()?.with_file_name("shipway"))
}

fn compare_all(corpus: Option<&Path>, filter: &str) -> anyhow::Result<()> {
    let begin = Instant::now();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut cases = match corpus {
        Some(corpus) => corpus::load(corpus)?,
        None => case::load(&root.join("differ"), &root.join("../docs/compatibility.md"))?,
    };
    cases.retain(|case| case.name.contains(filter));
    let programs = Programs::find()
        .context("`dockerd` or `docker` is not installed: try `apt-get install docker.io`")?;
    set_up_loopback()?;
    let scratch = Scratch::new()?;
    println!("{}, {} cases", programs.version, cases.len());
    let shipway = Shipway::new(&scratch.path("shipway"))?;
    let docker = Docker::start_at(&programs, &scratch.path("docker"), Network::Untouched)?;
    let builders = Builders { shipway, docker, with_words: programs.major() >= CURRENT };
    import_base(&scratch, &builders)?;
    for name in if corpus.is_some() { corpus::images(&cases) } else { <_>::default() } {
        program::output(&mut builders.docker.command(&["tag", "box", &name]))?;
        program::output(&mut builders.shipway.command(&["tag", "box", &name]))?;
    }

    let next = AtomicUsize::new(0);
    let report = Mutex::new(Report { is_recorded: programs.major() == RECORDED, ..Report::default() });
    let work = || {
        while let Some((number, case)) = {
            let number = next.fetch_add(1, Ordering::Relaxed);
            cases.get(number).map(|case| (number, case))
        } {
            let is_too_new = case.needs.is_some_and(|needs| needs > programs.major());
            let found = (!is_too_new).then(|| {
                builders.differences(
                    case,
                    &scratch.path(&format!("case-{number}")),
                    &format!("case-{number}"),
                )
            });
            if let Ok(mut report) = report.lock() {
                report.add(case, found);
            }
        }
    };
    std::thread::scope(|scope| (0..WORKERS).for_each(|_| drop(scope.spawn(work))));
    let report = report.into_inner().map_err(|_poisoned| anyhow::anyhow!("a worker panicked"))?;
    println!(
        "{} alike, {} differ as known, {} need a newer docker, {} wrong, in {:.0} s",
        report.alike,
        report.known,
        report.skipped,
        report.wrong,
        begin.elapsed().as_secs_f64()
    );
    ensure!(report.wrong == 0, "{} cases are wrong", report.wrong);
    Ok(())
}

/// Gives both builders the image `box`: all of busybox, two users, three groups, what runtimes mount over.
fn import_base(scratch: &Scratch, builders: &Builders) -> anyhow::Result<()> {
    let busybox = program::find("BUSYBOX", "busybox").context("no static `busybox`: set BUSYBOX to one")?;
    let root = scratch.path("box");
    for name in ["bin", "dev", "etc", "home/user", "proc", "root", "sys", "tmp"] {
        fs_err::create_dir_all(root.join(name))?;
    }
    fs_err::copy(busybox, root.join("bin/busybox"))?;
    let script = "for name in $(bin/busybox --list); do test -e bin/$name || ln -s busybox bin/$name; done\n\
        chmod 1777 tmp\n: >etc/hosts\n: >etc/resolv.conf\n\
        printf 'root:x:0:0:root:/root:/bin/sh\\nuser:x:1000:1001::/home/user:/bin/sh\\n' >etc/passwd\n\
        printf 'root:x:0:\\nusers:x:1001:\\nstaff:x:50:user\\n' >etc/group\n\
        find . -exec touch -hd 2001-01-01T00:00:00Z {} +";
    program::output(Command::new("sh").args(["-euc", script]).current_dir(&root))?;
    let archive = scratch.path("box.tar");
    pack(&root, &archive)?;
    builders.docker.import(&archive, "box")?;
    program::output(builders.shipway.command(&["import"]).arg(&archive).arg("box"))?;
    Ok(())
}

/// What was found so far.
#[derive(Debug, Default)]
struct Report {
    is_recorded: bool,
    alike: usize,
    known: usize,
    skipped: usize,
    wrong: usize,
}

impl Report {
    fn add(&mut self, case: &Case, found: Option<anyhow::Result<Vec<Difference>>>) {
        let name = &case.name;
        let found = match found {
            None => {
                self.skipped += 1;
                return;
            }
            Some(Err(error)) => {
                self.wrong += 1;
                println!("WRONG {name}: {error:#}");
                return;
            }
            Some(Ok(found)) => found,
        };
        let unknown: Vec<String> = found
            .iter()
            .filter(|found| !case.explains(&found.place))
            .map(|found| format!("\n   {found}"))
            .collect();
        if !unknown.is_empty() {
            self.wrong += 1;
            println!("WRONG {name}:{}", unknown.concat());
        } else if !found.is_empty() {
            self.known += 1;
            let places: Vec<&str> = found.iter().map(|found| found.place.as_str()).collect();
            println!("known {name}: {} ({})", case.known.as_deref().unwrap_or_default(), places.join(", "));
        } else if case.known.is_some() && self.is_recorded {
            self.wrong += 1;
            println!("WRONG {name}: the difference that it tells of is not there");
        } else {
            self.alike += 1;
        }
    }
}
