//! A line per event, in BuildKit's plain form or the legacy one.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Write as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use shipway_build::{Event, StepInfo, StepKind};
use shipway_oci::Digest;

use super::board::Key;
use super::plain::Plain;

/// How often the plain form looks whether somebody has been silent.
const INTERVAL: Duration = Duration::from_secs(1);

/// Writes events to the standard error.
#[derive(Debug)]
pub(crate) enum Lines {
    /// BuildKit's plain form.
    Plain(Numbered),
    /// `Step 1/9 : …`
    Legacy(Classic),
}

impl Lines {
    /// Writes BuildKit's plain form.
    pub(crate) fn plain() -> Self {
        Self::Plain(Numbered::open())
    }

    /// Writes `Step 1/9 : …`.
    pub(crate) fn legacy() -> Self {
        Self::Legacy(Classic::default())
    }

    /// Takes an event of a build.
    pub(crate) fn build(&self, event: &Event<'_>) {
        match self {
            Self::Plain(numbered) => numbered.build(event),
            Self::Legacy(classic) => classic.build(event),
        }
    }

    /// Writes a line that is about no part of the work.
    pub(crate) fn say(&self, line: &str) {
        match self {
            Self::Plain(numbered) => numbered.change(|all, _| all.plain.say(line)),
            Self::Legacy(_) => write(&format!("{line}\n")),
        }
    }

    /// A part of the work begins that is no step; its first line says what it is.
    pub(crate) fn begin(&self, key: Key, line: &str) {
        match self {
            Self::Plain(numbered) => numbered.change(|all, now| all.plain.begin(key, line.to_owned(), now)),
            Self::Legacy(_) => self.say(line),
        }
    }

    /// A part of the work that is no step ends well; the line says what came of it.
    pub(crate) fn end(&self, key: &Key, line: &str, took: Duration) {
        match self {
            Self::Plain(numbered) => numbered.change(|all, now| {
                all.plain.line(Some(key), line.to_owned(), now);
                all.plain.end(key, done(took), now);
            }),
            Self::Legacy(_) => self.say(line),
        }
    }

    /// A part of the work that is no step ends badly. The failure itself is told where it leads to.
    pub(crate) fn give_up(&self, key: &Key, error: &dyn Display) {
        if let Self::Plain(numbered) = self {
            numbered.change(|all, now| all.plain.end(key, format!("ERROR: {error}"), now));
        }
    }

    /// Says how the work ended; nothing is written from then on that waits for something.
    pub(crate) fn close(&self) {
        if let Self::Plain(numbered) = self {
            numbered.close();
        }
    }
}

/// Writes text at once. A reader that went away does not stop the build.
fn write(text: &str) {
    if !text.is_empty() {
        drop(std::io::stderr().lock().write_all(text.as_bytes()));
    }
}

fn done(took: Duration) -> String {
    format!("DONE {:.1}s", took.as_secs_f64())
}

/// BuildKit's plain form.
#[derive(Debug)]
pub(crate) struct Numbered {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    began: Instant,
    all: Mutex<All>,
    closed: Condvar,
}

#[derive(Debug, Default)]
struct All {
    plain: Plain,
    /// Parts that no instruction asks for and that go on, the newest last.
    internal: Vec<(Key, String)>,
    /// The part that reads the Dockerfile.
    reading: Option<Key>,
    is_closed: bool,
}

impl Numbered {
    fn open() -> Self {
        let shared =
            Arc::new(Shared { began: Instant::now(), all: Mutex::default(), closed: Condvar::new() });
        let looking = Arc::clone(&shared);
        let thread = std::thread::spawn(move || looking.look());
        Self { shared, thread: Mutex::new(Some(thread)) }
    }

    fn change(&self, change: impl FnOnce(&mut All, Duration)) {
        self.shared.change(change);
    }

    fn close(&self) {
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        self.change(|all, now| {
            all.plain.close(now);
            all.is_closed = true;
        });
        self.shared.closed.notify_all();
        if thread.join().is_err() {
            tracing::warn!("the progress could not be told");
        }
    }

    fn build(&self, event: &Event<'_>) {
        self.change(|all, now| all.build(event, now));
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut All, Duration)) {
        let mut all = self.all();
        change(&mut all, self.began.elapsed());
        // Under the lock: texts stay in their order.
        write(&all.plain.take());
    }

    fn look(&self) {
        loop {
            let (all, _) = self
                .closed
                .wait_timeout_while(self.all(), INTERVAL, |all| !all.is_closed)
                .unwrap_or_else(PoisonError::into_inner);
            let is_closed = all.is_closed;
            drop(all);
            if is_closed {
                return;
            }
            self.change(|all, now| all.plain.tick(now));
        }
    }
}

impl All {
    fn build(&mut self, event: &Event<'_>, now: Duration) {
        match event {
            Event::Started { step } if step.kind != StepKind::Metadata => self.begin(step, now),
            Event::Cached { step, .. } => self.end(step, "CACHED".to_owned(), now),
            Event::Missed { step, why } => {
                self.plain.line(Some(&key(step)), format!("not cached: {why}"), now);
            }
            Event::Output { step, bytes } => self.plain.output(&key(step), bytes, now),
            Event::Done { step, elapsed, .. } => self.end(step, done(*elapsed), now),
            // Compat: BuildKit's word.
            Event::Failed { step, cancelled: true, .. } => self.end(step, "CANCELED".to_owned(), now),
            Event::Failed { step, error, .. } => self.plain.fail(&key(step), format!("ERROR: {error}"), now),
            Event::Written { image_id, .. } => {
                self.export("exporting layers done".to_owned(), now);
                self.export(format!("writing image {image_id} done"), now);
            }
            Event::Listed { index } => self.export(format!("exporting manifest list {index} done"), now),
            Event::Named { name } => self.export(format!("naming to {name} done"), now),
            Event::Warning { message, rule, .. } => match &self.reading {
                // Compat: BuildKit, what a rule says is about the Dockerfile.
                Some(reading) if rule.is_some() => self.plain.aside(reading, &format!("WARN: {message}")),
                _ => self.plain.say(&format!("warning: {message}")),
            },
            _ => {}
        }
    }

    fn begin(&mut self, step: &StepInfo, now: Duration) {
        if step.kind == StepKind::Internal {
            self.reading.get_or_insert_with(|| key(step));
            self.internal.push((key(step), step.name.clone()));
        }
        self.plain.begin(key(step), step.name.clone(), now);
    }

    fn end(&mut self, step: &StepInfo, line: String, now: Duration) {
        self.internal.retain(|(known, _)| *known != key(step));
        self.plain.end(&key(step), line, now);
    }

    /// Tells something of the part that writes the result.
    fn export(&mut self, line: String, now: Duration) {
        let exporting = self.internal.iter().rev().find(|(_, name)| name.contains("exporting"));
        self.plain.line(exporting.map(|(key, _)| key), line, now);
    }
}

fn key(step: &StepInfo) -> Key {
    Key::Step(step.id)
}

/// The form of docker's classic builder.
#[derive(Debug, Default)]
pub(crate) struct Classic {
    /// Output of a step since its last line break, by the step's number.
    rest: Mutex<BTreeMap<usize, Vec<u8>>>,
    /// What the containers of commands that run are called, by the step's number.
    containers: Mutex<BTreeMap<usize, String>>,
}

impl Classic {
    fn containers(&self) -> MutexGuard<'_, BTreeMap<usize, String>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn output(&self, step: &StepInfo, bytes: &[u8]) {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        let text = rest.entry(step.id).or_default();
        text.extend_from_slice(bytes);
        if let Some(end) = text.iter().rposition(|byte| *byte == b'\n') {
            let lines: Vec<u8> = text.drain(..=end).collect();
            write(&String::from_utf8_lossy(&lines));
        }
    }

    fn finish_output(&self, step: &StepInfo) {
        let left = self.rest.lock().unwrap_or_else(PoisonError::into_inner).remove(&step.id);
        if let Some(mut left) = left.filter(|left| !left.is_empty()) {
            left.push(b'\n');
            self.output(step, &left);
        }
    }

    fn build(&self, event: &Event<'_>) {
        let say = |line: String| write(&format!("{line}\n"));
        let numbered = |step: &StepInfo| {
            step.legacy.map(|(number, all)| format!("Step {number}/{all} : {}", step.instruction))
        };
        match event {
            Event::Output { step, bytes } => return self.output(step, bytes),
            Event::Done { step, .. } | Event::Failed { step, .. } => self.finish_output(step),
            _ => {}
        }
        match event {
            Event::Started { step } => numbered(step).into_iter().for_each(say),
            // Compat: docker, an image is no result.
            Event::Cached { step, key } if step.legacy.is_some() && step.kind == StepKind::Base => {
                say(format!(" ---> {}", key.short()));
            }
            Event::Missed { step, .. } if is_run(step) => {
                let id = container_of(step);
                say(format!(" ---> Running in {id}"));
                self.containers().insert(step.id, id);
            }
            Event::Cached { step, key } if step.legacy.is_some() => {
                say(format!(" ---> Using cache\n ---> {}", key.short()));
            }
            Event::Done { step, key: Some(key), .. } if step.legacy.is_some() => {
                say(format!(" ---> {}", key.short()));
                if let Some(id) = self.containers().remove(&step.id) {
                    say(format!("Removing intermediate container {id}"));
                }
            }
            Event::Written { image_id, .. } => say(format!("Successfully built {}", image_id.short())),
            Event::Named { name } => say(format!("Successfully tagged {}", name.familiar())),
            Event::Warning { message, .. } => say(format!("[Warning] {message}")),
            _ => {}
        }
    }
}

fn is_run(step: &StepInfo) -> bool {
    let word = step.instruction.split_whitespace().next().unwrap_or_default();
    step.kind == StepKind::Layer && word.eq_ignore_ascii_case("RUN")
}

/// Returns what the container of a step is called. Nothing else is: it is gone with the step.
fn container_of(step: &StepInfo) -> String {
    Digest::of(format!("{} {} {}", std::process::id(), step.id, step.name).as_bytes()).short().to_string()
}
