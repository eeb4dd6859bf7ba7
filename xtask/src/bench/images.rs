//! How long images take to registries and back, and what memory the registries need for it.

mod changed;
mod client;
mod context;
mod registry;
mod usr;

use std::process::Command;

use anyhow::Context as _;

use super::inputs::Scratch;
use super::program::{self, Side, in_turn};
use super::rounds::Rows;
use super::samples::{Samples, Unit};
use super::table::Table;
use super::volume::Volume;
use client::{Client, Kind};
use context::{Content, Context};
pub(crate) use registry::Registry;
use registry::{Memory, Server};

const MIB: u64 = 1 << 20;

/// An image on its way to a registry and back.
struct Load {
    /// What its directory is called.
    name: &'static str,
    what: &'static str,
    content: Content,
}

const ONE: Load = Load {
    name: "one",
    what: "one layer of 1 GiB that does not compress",
    content: Content::Random { layers: 1, size: 1024 * MIB },
};
const MANY: Load =
    Load { name: "many", what: "40 layers of 5 MiB", content: Content::Random { layers: 40, size: 5 * MIB } };
const USR: Load = Load { name: "usr", what: "one layer, a real `/usr`", content: Content::Usr };

/// What all rows share.
struct Bench<'a> {
    scratch: &'a Scratch,
    runs: usize,
    kinds: Vec<Kind>,
}

/// Measures push and pull beside skopeo and Docker, with our registry and, where it is installed, `docker-registry`.
pub(crate) fn measure(scratch: &Scratch, runs: usize) -> anyhow::Result<Table> {
    let mut table = Table::default();
    let bench = Bench { scratch, runs, kinds: Kind::installed(&mut table) };
    let registries = registry::Kind::installed();
    if !registries.contains(&registry::Kind::Theirs) {
        table.note("`docker-registry` was left out: it is not installed.");
    }
    for load in [ONE, MANY, USR] {
        let context = Context::new(load.content, &scratch.path(load.name))?;
        let mut memory = Vec::new();
        for kind in &registries {
            memory.push(bench.push_and_pull(&load, &context, *kind, &mut table)?);
        }
        show_memory(&format!("push and pull, {}", load.what), &memory, &mut table);
        if let Some(packed) = &context.packed {
            table.note(format!("The real `/usr` is of this machine's {packed}."));
        }
        bench.clear(load.name)?;
    }
    let mut memory = Vec::new();
    for kind in &registries {
        memory.push(changed::measure(&bench, *kind, &mut table)?);
        bench.clear("changed")?;
    }
    show_memory("two pushes, one of 40 layers changed", &memory, &mut table);
    for load in [ONE, MANY] {
        bench.push_to_same_store(&load, &mut table)?;
        bench.clear("own")?;
    }
    let pushed = bench.pushed_by().name();
    table.note(format!(
        "Each run has an image that nobody has seen: random bytes, or real files and a small one of random bytes. Each client and each registry has a new \
         file system in a loop file, and what was written before is on the disk when a command begins. Shipway and Docker push from their stores, skopeo \
         from a docker-archive; none has a compressed form of a layer. All pull what {pushed} pushed, into a store that has nothing: Shipway and Docker \
         until containers can run, skopeo into an OCI layout. The wire is the loopback device."
    ));
    Ok(table)
}

impl Bench<'_> {
    /// Measures an image with a registry that is new, and returns the registry's memory.
    fn push_and_pull(
        &self,
        load: &Load,
        context: &Context,
        kind: registry::Kind,
        table: &mut Table,
    ) -> anyhow::Result<Memory> {
        let place = self.scratch.path(load.name);
        let server = Server::start(kind, &place.join("server"), table)?;
        let address = &server.registry.address;
        let is_real = matches!(load.content, Content::Usr);
        let mut rows = Rows::new(self.kinds.iter().map(|kind| kind.name()));
        for run in 0..self.runs {
            context.renew()?;
            let mut clients = Client::all(&self.kinds, &place, context)?;
            let first = run % clients.len();
            clients.rotate_left(first);
            for client in &clients {
                self.settle(clients.iter().map(|client| &client.volume).chain([&server.volume]))?;
                let name = format!("{}:{run}", client.kind.repository(address));
                rows.add("push", client.kind.name(), client.push(&name)?);
            }
            let name = format!("{}:{run}", self.pushed_by().repository(address));
            for client in clients.into_iter().filter(|client| client.kind.unpacks() || !is_real) {
                self.settle([&client.volume, &server.volume])?;
                let kind = client.kind.name();
                if is_real && let Some(seconds) = client.pull_archives(&name)? {
                    rows.add("archives", kind, seconds);
                    self.settle([&client.volume, &server.volume])?;
                }
                let seconds = client.pull(&name)?;
                rows.add("pull", kind, seconds);
                if is_real && kind != Kind::Shipway.name() {
                    rows.add("archives", kind, seconds);
                }
            }
        }
        let (push, pull) = if is_real {
            ("push from the store, compressing", "pull until runnable")
        } else {
            ("push", "pull")
        };
        rows.show(&format!("{push}, {}, {}", load.what, kind.name()), "push", Unit::Seconds, table);
        rows.show(&format!("{pull}, {}, {}", load.what, kind.name()), "pull", Unit::Seconds, table);
        if is_real {
            let what = format!("the same with `SHIPWAY_LAYERS=archives`, {}", kind.name());
            rows.show(&what, "archives", Unit::Seconds, table);
        }
        server.memory()
    }

    /// Measures a push to a registry from the store that it serves.
    fn push_to_same_store(&self, load: &Load, table: &mut Table) -> anyhow::Result<()> {
        let place = self.scratch.path("own");
        let server = Server::start(registry::Kind::Ours, &place.join("server"), table)?;
        let shipway = server.shipway.as_ref().context("the registry has no store")?;
        let context = Context::new(load.content, &place)?;
        let mut sides = [Side {
            name: Kind::Shipway.name().to_owned(),
            run: Box::new(|run| {
                context.renew()?;
                let name = format!("{}/own/image:{run}", server.registry.address);
                program::output(shipway.command(&["build", "-q", "-t", &name]).arg(&context.dir))?;
                shipway.time(&["push", "-q", &name])
            }),
        }];
        let what = format!("push, {}, our registry on the same store", load.what);
        table.row(&what, in_turn(&mut sides, 0, self.runs)?);
        Ok(())
    }

    /// Returns whose image all of them pull: another one's, if there is another one.
    fn pushed_by(&self) -> Kind {
        self.kinds.last().copied().unwrap_or(Kind::Shipway)
    }

    /// Writes out what waits for the disk, so that no command pays for what came before.
    fn settle<'a>(&self, volumes: impl IntoIterator<Item = &'a Volume>) -> anyhow::Result<()> {
        let mut sync = Command::new("sync");
        sync.arg("--file-system").args(volumes.into_iter().map(|volume| &volume.dir));
        // The disk that the volumes are files of goes last.
        program::output(sync.arg(self.scratch.path(""))).map(drop)
    }

    /// Gives the room back that a part of the bench used.
    fn clear(&self, name: &str) -> anyhow::Result<()> {
        let place = self.scratch.path(name);
        if place.exists() {
            fs_err::remove_dir_all(place)?;
        }
        Ok(())
    }
}

/// Makes a row of the registries' memory, ours first.
fn show_memory(what: &str, memory: &[Memory], table: &mut Table) {
    let names = [Kind::Shipway.name(), registry::Kind::Theirs.name()];
    let peaks = names.iter().zip(memory).map(|(name, memory)| {
        let samples = Samples::one(Unit::Megabytes, memory.peak);
        ((*name).to_owned(), samples)
    });
    table.row(&format!("the registry's memory at its peak: {what}"), peaks.collect());
    let anonymous: Vec<String> =
        names.iter().zip(memory).map(|(name, memory)| format!("{name} {:.1} MB", memory.anonymous)).collect();
    table.note(format!("The registry's anonymous memory after that ({what}): {}.", anonymous.join(", ")));
}
