//! Builds beside other builders: nothing changed, many files, large files, many stages; the push of what was built.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::builders::{Builder, Kind, installed};
use super::images::Registry;
use super::inputs::{Scratch, busybox_root, pack};
use super::program::{Side, in_turn};
use super::rounds::{Rows, turn};
use super::samples::Unit;
use super::shipway::Shipway;
use super::table::Table;
use super::volume::Volume;

const MIB: u64 = 1 << 20;
/// Directories of the context of many files, and files in each.
const MANY: (usize, usize) = (500, 100);
/// Stages that do not depend on each other.
const STAGES: usize = 8;
/// How often the quick builds are measured for each of the slow ones.
const QUICK: usize = 4;

/// What the builds are of.
struct Inputs {
    /// The archive of the base image's files.
    root: PathBuf,
    steps: PathBuf,
    many: PathBuf,
    large: PathBuf,
    stages: PathBuf,
}

/// Measures all sides; each slow build has a store of its own, which has seen nothing before.
pub(crate) fn measure(scratch: &Scratch, runs: usize) -> anyhow::Result<Table> {
    let mut table = Table::default();
    let kinds = installed(&mut table);
    let inputs = Inputs::make(&scratch.path("inputs"))?;
    let place = scratch.path("sides");
    quick(&inputs, &place, (&kinds, runs), &mut table)?;
    many_files(&inputs, scratch, (&kinds, runs), &mut table)?;
    large_files(&inputs, &place, (&kinds, runs), &mut table)?;
    table.note(format!(
        "Each side has a new file system in a loop file, with a static busybox as base image. 50,000 files: {} directories of {} \
         files of 100 to 2,000 bytes. 2 GiB: one file of text that repeats, one of random bytes. Memory is the \
         greatest resident size of the builder's process; of Docker, that of daemon and client together. Builds of many and of large \
         files begin with an empty store each time; the contexts were read before.",
        MANY.0, MANY.1
    ));
    Ok(table)
}

/// Builds that need no new store each: without a change, and of stages that can run at the same time.
fn quick(
    inputs: &Inputs,
    place: &Path,
    (kinds, runs): (&[Kind], usize),
    table: &mut Table,
) -> anyhow::Result<()> {
    let make = |kind: &Kind| Ok((*kind, Builder::new(*kind, &place.join(kind.short()), &inputs.root)?));
    let builders = kinds.iter().map(make).collect::<anyhow::Result<Vec<_>>>()?;
    let mut again = sides(&builders, &inputs.steps, false);
    table.row("10 steps, nothing changed", in_turn(&mut again, 1, runs * QUICK)?);
    let what =
        format!("{STAGES} stages that need nothing of each other, joined by COPY --from (`--no-cache`)");
    table.row(&what, in_turn(&mut sides(&builders, &inputs.stages, true), 0, runs)?);
    Ok(())
}

fn sides<'a>(builders: &'a [(Kind, Builder)], context: &'a Path, no_cache: bool) -> Vec<Side<'a>> {
    let mut sides = Vec::new();
    for (kind, builder) in builders {
        sides.push(Side::command(kind.name(), move |_run| Ok(builder.build(context, "quick", no_cache))));
    }
    sides
}

/// COPY of many files into a new store, then with one of them changed, then a push.
fn many_files(
    inputs: &Inputs,
    scratch: &Scratch,
    (kinds, runs): (&[Kind], usize),
    table: &mut Table,
) -> anyhow::Result<()> {
    let server = Volume::new(&scratch.path("server"))?;
    let ours = Shipway::new(&server.dir)?;
    let theirs = Registry::theirs(&server.dir.join("registry"), table)?;
    let registry = match theirs {
        Some(registry) => registry,
        None => Registry::ours(&ours)?,
    };
    let mut rows = Rows::new(kinds.iter().map(|kind| kind.name()));
    for run in 0..runs {
        for kind in turn(kinds.len(), run).map(|at| kinds[at]) {
            let builder = Builder::new(kind, &scratch.path("sides").join(kind.short()), &inputs.root)?;
            let build = || builder.measure(builder.build(&inputs.many, "many", false));
            let (seconds, peak) = build()?;
            rows.add("copy", kind.name(), seconds);
            rows.add("memory", kind.name(), peak);
            fs_err::write(inputs.many.join("d7/f7"), format!("run {run} of {}\n", kind.name()))?;
            rows.add("changed", kind.name(), build()?.0);
            let push = builder.push("many", &registry.address, &format!("{}-{run}", kind.short()))?;
            rows.add("push", kind.name(), builder.measure(push)?.0);
        }
    }
    let push = format!("push of that image to {} on loopback", registry.name);
    rows.show("COPY of 50,000 files, then RUN, empty store", "copy", Unit::Seconds, table);
    rows.show("the same after one of the files changed", "changed", Unit::Seconds, table);
    rows.show(&push, "push", Unit::Seconds, table);
    rows.show("memory at its peak, 50,000 files", "memory", Unit::Megabytes, table);
    Ok(())
}

/// COPY of two large files into a new store.
fn large_files(
    inputs: &Inputs,
    place: &Path,
    (kinds, runs): (&[Kind], usize),
    table: &mut Table,
) -> anyhow::Result<()> {
    let mut rows = Rows::new(kinds.iter().map(|kind| kind.name()));
    for run in 0..runs {
        for kind in turn(kinds.len(), run).map(|at| kinds[at]) {
            let builder = Builder::new(kind, &place.join(kind.short()), &inputs.root)?;
            let (seconds, peak) = builder.measure(builder.build(&inputs.large, "large", false))?;
            rows.add("copy", kind.name(), seconds);
            rows.add("memory", kind.name(), peak);
        }
    }
    rows.show(
        "COPY of 1 GiB that compresses and 1 GiB that does not, empty store",
        "copy",
        Unit::Seconds,
        table,
    );
    rows.show("memory at its peak, 2 GiB", "memory", Unit::Megabytes, table);
    Ok(())
}

impl Inputs {
    fn make(dir: &Path) -> anyhow::Result<Self> {
        fs_err::create_dir_all(dir)?;
        let at = |name: &str| dir.join(name);
        busybox_root(&at("box"))?;
        pack(&at("box"), &at("box.tar"))?;
        let inputs = Self {
            root: at("box.tar"),
            steps: at("steps"),
            many: at("many"),
            large: at("large"),
            stages: at("stages"),
        };
        inputs.steps()?;
        inputs.many()?;
        inputs.large()?;
        inputs.stages()?;
        Ok(inputs)
    }

    fn steps(&self) -> anyhow::Result<()> {
        let mut dockerfile = "FROM box\n".to_owned();
        fs_err::create_dir_all(&self.steps)?;
        for step in 0..5 {
            fs_err::write(self.steps.join(format!("f{step}")), "file\n")?;
            dockerfile.push_str(&format!("COPY f{step} /f{step}\nRUN echo {step} >/r{step}\n"));
        }
        Ok(fs_err::write(self.steps.join("Dockerfile"), dockerfile)?)
    }

    fn many(&self) -> anyhow::Result<()> {
        for directory in 0..MANY.0 {
            let directory = self.many.join(format!("d{directory}"));
            fs_err::create_dir_all(&directory)?;
            for file in 0..MANY.1 {
                let line = format!("{} {file}\n", directory.display());
                fs_err::write(directory.join(format!("f{file}")), line.repeat(1 + file % 40))?;
            }
        }
        Ok(fs_err::write(self.many.join("Dockerfile"), "FROM box\nCOPY . /many\nRUN echo done >/done\n")?)
    }

    fn large(&self) -> anyhow::Result<()> {
        fs_err::create_dir_all(&self.large)?;
        let mut text = fs_err::File::create(self.large.join("text"))?;
        for line in 0..1024 {
            text.write_all(format!("line {line} of a text that repeats itself\n").repeat(26_000).as_bytes())?;
        }
        text.set_len(1024 * MIB)?;
        let mut random = fs_err::File::open("/dev/urandom")?.take(1024 * MIB);
        std::io::copy(&mut random, &mut fs_err::File::create(self.large.join("random"))?)?;
        Ok(fs_err::write(self.large.join("Dockerfile"), "FROM scratch\nCOPY text random /\n")?)
    }

    /// Each stage computes for about a second, as commands of builds do.
    fn stages(&self) -> anyhow::Result<()> {
        fs_err::create_dir_all(&self.stages)?;
        let mut dockerfile = String::new();
        for stage in 0..STAGES {
            dockerfile.push_str(&format!(
                "FROM box AS s{stage}\nRUN i=0; while test $i -lt 300000; do i=$((i+1)); done; echo {stage} >/out\n"
            ));
        }
        dockerfile.push_str("FROM box\n");
        for stage in 0..STAGES {
            dockerfile.push_str(&format!("COPY --from=s{stage} /out /out{stage}\n"));
        }
        Ok(fs_err::write(self.stages.join("Dockerfile"), dockerfile)?)
    }
}
