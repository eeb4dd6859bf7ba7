//! The embedded cluster: how fast it starts, what it costs while it idles, how fast pods and changes come.

use std::time::Duration;

use super::inputs::{Scratch, busybox_root, pack, web_app};
use super::machine::{Memory, idle_percent};
use super::pods::Api;
use super::program;
use super::samples::{Samples, Unit};
use super::shipway::Shipway;
use super::table::Table;

/// How long an idle daemon is watched.
const IDLE: Duration = Duration::from_secs(30);

/// Measures starts and stops, then an idle cluster, then pods.
pub(crate) fn measure(scratch: &Scratch, runs: usize) -> anyhow::Result<Table> {
    let mut table = Table::default();
    starts(scratch, &mut table, runs)?;

    let (rootfs, archive) = (scratch.path("rootfs"), scratch.path("box.tar"));
    busybox_root(&rootfs)?;
    pack(&rootfs, &archive)?;
    let shipway = Shipway::new(&scratch.path("shipway"))?;
    program::output(shipway.command(&["import"]).arg(&archive).arg("box"))?;
    shipway.ok(&["cluster", "start"])?;
    idle(&shipway, "no pods", &mut table)?;
    pods(scratch, &shipway, &mut table, runs)?;
    up(scratch, &shipway, &mut table, runs)?;
    idle(&shipway, "one pod with a readiness probe", &mut table)?;
    table
        .alone("`cluster stop` with a pod", Samples::one(Unit::Seconds, shipway.time(&["cluster", "stop"])?));
    table.note("No peer: other clusters on one machine are images that must be pulled.");
    Ok(table)
}

fn starts(scratch: &Scratch, table: &mut Table, runs: usize) -> anyhow::Result<()> {
    let [mut cold, mut stop, mut warm] = [(); 3].map(|()| Samples::new(Unit::Seconds));
    for run in 0..runs {
        let shipway = Shipway::new(&scratch.path(&format!("start-{run}")))?;
        cold.figures.push(shipway.time(&["cluster", "start"])?);
        stop.figures.push(shipway.time(&["cluster", "stop"])?);
        warm.figures.push(shipway.time(&["cluster", "start"])?);
    }
    table.alone("`cluster start` until the node is ready, new root", cold);
    table.alone("`cluster start`, root that had a cluster", warm);
    table.alone("`cluster stop`, no pods", stop);
    Ok(())
}

fn idle(shipway: &Shipway, with: &str, table: &mut Table) -> anyhow::Result<()> {
    let daemon = shipway.daemon()?;
    let percent = idle_percent(daemon, IDLE)?;
    let memory = Memory::of(daemon)?;
    table.alone(
        &format!("idle daemon, {with}: processor over {} s, of one core", IDLE.as_secs()),
        Samples::one(Unit::Percent, percent),
    );
    for (what, figure) in [
        ("resident", memory.resident),
        ("proportional", memory.proportional),
        ("anonymous", memory.anonymous),
    ] {
        let what = format!("idle daemon, {with}: memory, {what}");
        table.alone(&what, Samples::one(Unit::Megabytes, figure));
    }
    Ok(())
}

fn pods(scratch: &Scratch, shipway: &Shipway, table: &mut Table, runs: usize) -> anyhow::Result<()> {
    let api = Api::new(shipway, &scratch.path("access"))?;
    let mut ready = Samples::new(Unit::Seconds);
    for run in 0..=runs * 2 {
        let took = api.pod_ready(&format!("pod-{run}"), "box")?;
        // The first one is the warm-up.
        ready.figures.extend((run > 0).then_some(took));
    }
    table.alone("pod posted (by `curl`, its start included) until a watch shows it ready", ready);
    Ok(())
}

fn up(scratch: &Scratch, shipway: &Shipway, table: &mut Table, runs: usize) -> anyhow::Result<()> {
    let app = scratch.path("app");
    web_app(&app)?;
    let time = || program::time(shipway.command(&["up", "-d"]).arg(&app));
    let first = Samples::one(Unit::Seconds, time()?);
    let (mut again, mut changed) = (Samples::new(Unit::Seconds), Samples::new(Unit::Seconds));
    for run in 0..runs {
        again.figures.push(time()?);
        fs_err::write(app.join("page"), format!("page {run}\n"))?;
        changed.figures.push(time()?);
    }
    table.alone("`up -d` of a small web server, first time, cluster running", first);
    table.alone("`up -d` again, nothing changed", again);
    table.alone("`up -d`, one file changed, until the new pod is ready", changed);
    Ok(())
}
