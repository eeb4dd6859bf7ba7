//! How cost grows: builds with the files of their context and with their steps, a store with its images.

use std::path::Path;

use super::builders::{Builder, Kind, installed};
use super::inputs::{Scratch, busybox_root, pack};
use super::program;
use super::rounds::turn;
use super::samples::{Samples, Unit, median};
use super::shipway::Shipway;
use super::table::Table;
use super::volume::Volume;

/// Files of a context.
const FILES: [usize; 4] = [1_000, 10_000, 100_000, 500_000];
/// The most files that peers are given too: they take minutes for more.
const PEER_FILES: usize = 100_000;
/// Files of one directory.
const DIRECTORY: usize = 1_000;
/// Steps that make a layer each.
const STEPS: [usize; 4] = [1, 10, 50, 200];
/// Images in a store.
const IMAGES: [usize; 4] = [10, 100, 1_000, 10_000];

/// Measures one curve after the other.
pub(crate) fn measure(scratch: &Scratch, runs: usize) -> anyhow::Result<Table> {
    let mut table = Table::default();
    let mut kinds = installed(&mut table);
    kinds.retain(|kind| *kind != Kind::Buildah);
    let archive = scratch.path("box.tar");
    busybox_root(&scratch.path("box"))?;
    pack(&scratch.path("box"), &archive)?;
    files(scratch, &archive, (&kinds, runs), &mut table)?;
    steps(scratch, &archive, (&kinds, runs), &mut table)?;
    images(scratch, runs, &mut table)?;
    table.note(
        "Each count has a new store in a file system of its own. Times of Shipway grow as told below the table: `n` times as many, `m` times as \
         long. Files have one line each, a thousand in a directory. Each step is a COPY of one file. Each image has a layer of its own.",
    );
    Ok(table)
}

/// Figures of one thing at several counts.
#[derive(Debug)]
struct Curve {
    what: &'static str,
    points: Vec<(usize, Vec<(String, Samples)>)>,
}

impl Curve {
    fn new(what: &'static str) -> Self {
        Self { what, points: Vec::new() }
    }

    /// Adds the figure of one side.
    fn add(&mut self, count: usize, side: &str, seconds: f64) {
        eprintln!("   {}, {count}, {side}: {seconds:.4}", self.what);
        if self.points.last().is_none_or(|(last, _)| *last != count) {
            self.points.push((count, Vec::new()));
        }
        let Some((_, sides)) = self.points.last_mut() else { return };
        match sides.iter_mut().find(|(name, _)| name == side) {
            Some((_, samples)) => samples.figures.push(seconds),
            None => sides.push((side.to_owned(), Samples::one(Unit::Seconds, seconds))),
        }
    }

    /// Makes a row of each count and a note of how the first side grows from the least to the greatest.
    fn show(mut self, of: &str, table: &mut Table) {
        for (_, sides) in &mut self.points {
            sides.sort_by_key(|(name, _)| name != Kind::Shipway.name());
        }
        if let Some(growth) = self.growth() {
            table.note(format!("{}: {growth}", self.what));
        }
        for (count, sides) in self.points {
            table.row(&format!("{}, {count} {of}", self.what), sides);
        }
    }

    fn growth(&self) -> Option<String> {
        let (first, last) = (self.points.first()?, self.points.last()?);
        let seconds =
            |sides: &[(String, Samples)]| sides.first().map(|(_, samples)| median(&samples.figures));
        let times = seconds(&last.1)? / seconds(&first.1)?;
        Some(format!("{} times as many, {times:.1} times as long.", last.0 / first.0))
    }
}

/// COPY of a whole context into a new store, again unchanged, and with one file changed.
fn files(
    scratch: &Scratch,
    archive: &Path,
    (kinds, runs): (&[Kind], usize),
    table: &mut Table,
) -> anyhow::Result<()> {
    let mut copy = Curve::new("COPY into an empty store");
    let mut again = Curve::new("the same, nothing changed");
    let mut changed = Curve::new("the same, one file changed");
    let context = Volume::new(&scratch.path("context"))?;
    fs_err::write(context.dir.join("Dockerfile"), "FROM box\nCOPY tree /tree\n")?;
    let mut made = 0;
    for count in FILES {
        for file in made..count {
            let directory = context.dir.join(format!("tree/d{}", file / DIRECTORY));
            if file % DIRECTORY == 0 {
                fs_err::create_dir_all(&directory)?;
            }
            fs_err::write(directory.join(format!("f{file}")), format!("line of file {file}\n"))?;
        }
        made = count;
        let kinds = if count > PEER_FILES { &kinds[..1] } else { kinds };
        for run in 0..runs {
            for kind in turn(kinds.len(), run).map(|at| kinds[at]) {
                let builder = Builder::new(kind, &scratch.path("side"), archive)?;
                let build = || program::time(&mut builder.build(&context.dir, "many", false));
                copy.add(count, kind.name(), build()?);
                again.add(count, kind.name(), build()?);
                fs_err::write(context.dir.join("tree/d0/f7"), format!("run {run} of {}\n", kind.name()))?;
                changed.add(count, kind.name(), build()?);
            }
        }
    }
    [copy, again, changed].into_iter().for_each(|curve| curve.show("files", table));
    Ok(())
}

/// Builds of many steps, new and again; a container of what they made.
fn steps(
    scratch: &Scratch,
    archive: &Path,
    (kinds, runs): (&[Kind], usize),
    table: &mut Table,
) -> anyhow::Result<()> {
    // The layers of overlayfs and those of Docker's graph drivers end at 127 and 125 of them; these are ours alone.
    const PEER_STEPS: usize = 100;
    let mut build = Curve::new("a build of new steps");
    let mut again = Curve::new("the same steps, nothing changed");
    let mut start = Curve::new("`run --rm --network none IMAGE true` of that");
    for count in STEPS {
        let context = scratch.path(&format!("steps-{count}"));
        fs_err::create_dir_all(&context)?;
        let mut dockerfile = "FROM box\n".to_owned();
        for step in 0..count {
            fs_err::write(context.join(format!("f{step}")), format!("file {step}\n"))?;
            dockerfile.push_str(&format!("COPY f{step} /f{step}\n"));
        }
        fs_err::write(context.join("Dockerfile"), dockerfile)?;
        let kinds = if count > PEER_STEPS { &kinds[..1] } else { kinds };
        for run in 0..runs {
            for kind in turn(kinds.len(), run).map(|at| kinds[at]) {
                let builder = Builder::new(kind, &scratch.path("side"), archive)?;
                let one = || program::time(&mut builder.build(&context, "steps", false));
                build.add(count, kind.name(), one()?);
                again.add(count, kind.name(), one()?);
                if let Some(shipway) = builder.shipway() {
                    let run = ["run", "--rm", "--network", "none", "steps", "true"];
                    start.add(count, kind.name(), shipway.time(&run)?);
                }
            }
        }
    }
    [build, again, start].into_iter().for_each(|curve| curve.show("layers", table));
    Ok(())
}

/// What a store of many images costs commands that need one of them, or all.
fn images(scratch: &Scratch, runs: usize, table: &mut Table) -> anyhow::Result<()> {
    const NAME: &str = "image-7";
    let commands: [(&'static str, &[&str]); 6] = [
        ("`inspect` of one image", &["inspect", NAME]),
        ("`tag` of one image", &["tag", NAME, "other"]),
        ("`images`", &["images"]),
        ("`images -q` with a filter", &["images", "-q", "--filter", "reference=image-7"]),
        ("`system df`", &["system", "df"]),
        ("`system prune -f`, nothing to remove", &["system", "prune", "-f"]),
    ];
    let mut curves = commands.map(|(what, _)| Curve::new(what));
    let mut builds = Curve::new("a build of one layer");
    let mut all = Curve::new("`image prune -a -f`, all of them");
    let side = Kind::Shipway.name();
    for count in IMAGES {
        let volume = Volume::new(&scratch.path("images"))?;
        let shipway = Shipway::new(&volume.dir.join("builder"))?;
        let context = volume.dir.join("context");
        fs_err::create_dir_all(&context)?;
        fs_err::write(context.join("Dockerfile"), "FROM scratch\nCOPY file /\n")?;
        let build = |at: usize| {
            fs_err::write(context.join("file"), format!("file {at}\n"))?;
            let mut build = shipway.command(&["build", "-q", "-t", &format!("image-{at}")]);
            program::time(build.arg(&context))
        };
        (0..count).try_for_each(|at| build(at).map(drop))?;
        for run in 0..runs {
            builds.add(count, side, build(count + run)?);
        }
        // What it would remove is removed before it is measured.
        shipway.ok(&["system", "prune", "-f"])?;
        for ((_, args), curve) in commands.iter().zip(&mut curves) {
            for _run in 0..runs {
                curve.add(count, side, shipway.time(args)?);
            }
        }
        all.add(count, side, shipway.time(&["image", "prune", "-a", "-f"])?);
    }
    for curve in curves.into_iter().chain([builds, all]) {
        curve.show("images", table);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_has_a_row_for_each_count_and_tells_how_it_grows() {
        let mut curve = Curve::new("`images`");
        curve.add(10, "docker build (BuildKit)", 4.0);
        curve.add(10, "Shipway", 1.0);
        curve.add(10, "Shipway", 3.0);
        curve.add(100, "Shipway", 10.0);
        let mut table = Table::default();
        curve.show("images", &mut table);
        let text = table.to_string();
        assert!(
            text.contains("| `images`, 10 images | 2 | 2.00 s (1.00-3.00) | docker build (BuildKit) |"),
            "{text}"
        );
        assert!(text.contains("| `images`, 100 images | 1 | 10.00 s | | | |"), "{text}");
        assert!(text.contains("- `images`: 10 times as many, 5.0 times as long."), "{text}");
    }
}
