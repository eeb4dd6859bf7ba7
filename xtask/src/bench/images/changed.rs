//! The second push of an image of which one layer has changed.

use super::client::Client;
use super::context::{Content, Context};
use super::registry::{self, Memory, Server};
use super::{Bench, MIB};
use crate::bench::machine;
use crate::bench::rounds::Rows;
use crate::bench::samples::Unit;
use crate::bench::table::Table;

const LAYERS: usize = 40;
const SIZE: u64 = 5 * MIB;

/// Measures it with a registry that is new.
pub(super) fn measure(bench: &Bench<'_>, kind: registry::Kind, table: &mut Table) -> anyhow::Result<Memory> {
    let place = bench.scratch.path("changed");
    let server = Server::start(kind, &place.join("server"), table)?;
    let context = Context::new(Content::Random { layers: LAYERS, size: SIZE }, &place)?;
    let mut rows = Rows::new(bench.kinds.iter().map(|kind| kind.name()));
    for run in 0..bench.runs {
        context.renew()?;
        let mut clients = Client::all(&bench.kinds, &place, &context)?;
        for client in &clients {
            let repository = client.kind.repository(&server.registry.address);
            client.push(&format!("{repository}:{run}-first"))?;
        }
        context.change()?;
        clients.iter().try_for_each(|client| client.take_in(&context))?;
        let first = run % clients.len();
        clients.rotate_left(first);
        for client in &clients {
            let repository = client.kind.repository(&server.registry.address);
            bench.settle(clients.iter().map(|client| &client.volume).chain([&server.volume]))?;
            let before = machine::loopback_megabytes()?;
            rows.add("push", client.kind.name(), client.push(&format!("{repository}:{run}-second"))?);
            rows.add("wire", client.kind.name(), machine::loopback_megabytes()? - before);
        }
    }
    let what = format!("second push, one of {LAYERS} layers of 5 MiB changed, {}", server.registry.name);
    rows.show(&what, "push", Unit::Seconds, table);
    rows.show(&format!("{what}: over the wire, both ways"), "wire", Unit::Megabytes, table);
    server.memory()
}
