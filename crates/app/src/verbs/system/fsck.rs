//! `shipway system fsck`: is everything in the store what it says, and making it so.

mod repair;

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use shipway_layers::Checked;
use shipway_store::{Fault, LayerRow, Subject, on_all_cores};

use crate::cli::FsckArgs;
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::listing::Listing;
use crate::ui::Ui;

/// So often a person who watches is told how far it is.
const PAUSE: Duration = Duration::from_millis(200);

/// What is lost hides what else is: an image whose config has been pulled again tells which layers it is made of.
const ROUNDS: usize = 3;

pub(super) fn run(engine: &Engine, args: &FsckArgs, ui: &mut Ui) -> Result<u8, Failure> {
    let listing = Listing::new(args.format.as_deref(), None, "{{.Kind}}\t{{.Name}}\t{{.Reason}}", &[])?;
    let mut faults = check(engine, ui)?;
    let mut done = Vec::new();
    let rounds = if args.repair { ROUNDS } else { 0 };
    for _ in 0..rounds {
        if faults.is_empty() {
            break;
        }
        let mended = repair::repair(engine, &faults, ui)?;
        if mended.is_empty() {
            break;
        }
        done.extend(mended);
        faults = check(engine, ui)?;
    }
    if args.format.is_none() {
        done.iter().for_each(|line| ui.line(line));
        faults.iter().for_each(|fault| ui.line(fault));
    } else {
        let values: Vec<_> = faults.iter().map(|fault| json!(fault)).collect();
        listing.lines(&values)?.into_iter().for_each(|line| ui.line(line));
    }
    match (faults.len(), args.repair) {
        (0, _) => Ok(0),
        (count, true) => Err(Failure::new(
            format!("{count} of what was found could not be mended"),
            "end what uses it (`shipway ps`, `kubectl get pods -A`), then run `shipway system fsck --repair` again",
        )),
        (count, false) => Err(Failure::new(
            format!("the store is damaged: {count} found"),
            "`shipway system fsck --repair` makes it again, pulls it again, or removes it where neither can be",
        )),
    }
}

/// Returns everything that is wrong, records and blobs first.
fn check(engine: &Engine, ui: &mut Ui) -> Result<Vec<Fault>, Failure> {
    // What is checked must not be collected meanwhile.
    let _lease = engine.store.lease()?;
    let usage = engine.store.usage()?;
    let total = usage.blob_bytes.saturating_add(usage.layer_bytes);
    let meter = Meter::new(total);
    let mut faults = engine.store.fsck(&|bytes| meter.heard(bytes))?;
    let is_gone = |row: &LayerRow| faults.iter().any(|fault| fault.subject == Subject::Layer(row.id.clone()));
    let rows: Vec<LayerRow> = engine.store.layers()?.into_iter().filter(|row| !is_gone(row)).collect();
    let checked = on_all_cores(&rows, |row| {
        let checked = engine.layers.check(row).map(|checked| (row.id.clone(), checked));
        meter.heard(row.size);
        Some(checked)
    });
    meter.end();
    let mut skipped = 0;
    for checked in checked {
        match checked? {
            (_, Checked::Sound) => {}
            (id, Checked::Faulty(reason)) => faults.push(Fault { subject: Subject::Layer(id), reason }),
            (_, Checked::NotCompared) => skipped += 1,
        }
    }
    if skipped > 0 {
        ui.note(format!(
            "layers that were not compared with their archives, which are unpacked for that, as nothing can be written here: {skipped}"
        ));
    }
    ui.note(format!(
        "checked {} blobs and {} layers ({}), {} images",
        usage.blobs,
        usage.layers,
        clock::size(total),
        usage.images
    ));
    Ok(faults)
}

/// A line on a terminal that says how far it is.
#[derive(Debug)]
struct Meter {
    total: u64,
    done: AtomicU64,
    /// When the line was written last; `None` where nobody watches.
    written: Option<Mutex<Instant>>,
}

impl Meter {
    fn new(total: u64) -> Self {
        let watched = std::io::stderr().is_terminal();
        Self { total, done: AtomicU64::new(0), written: watched.then(|| Mutex::new(Instant::now())) }
    }

    fn heard(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // Whoever finds the line being written leaves it to the other.
        let Some(Ok(mut written)) = self.written.as_ref().map(Mutex::try_lock) else { return };
        if written.elapsed() >= PAUSE {
            *written = Instant::now();
            self.write(&format!(
                "checking {} of {}",
                clock::size(done.min(self.total)),
                clock::size(self.total)
            ));
        }
    }

    fn end(&self) {
        if self.written.is_some() {
            self.write("");
        }
    }

    fn write(&self, text: &str) {
        let mut stream = std::io::stderr().lock();
        // A terminal that went away does not stop the check.
        drop(write!(stream, "\r\x1b[2K{text}").and_then(|()| stream.flush()));
    }
}
