//! A document per event, as tools that watch BuildKit read them.
//!
//! Compat: BuildKit, `client.SolveStatus` in `client/graph.go`, and `--progress=rawjson` of buildx: one on each line.

mod document;

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use shipway_build::{CACHE_NOT_USED, Event, NOT_BUILT_BEFORE, Source, Span, StepInfo, StepKind};
use shipway_oci::Digest;

use self::document::{Document, Log, Place, Range, SourceInfo, Status, Vertex, Warning};
use super::board::{End, Key};
use crate::clock;

/// It is not said more often how far something is.
const PAUSE: Duration = Duration::from_millis(100);

/// How BuildKit's own displays know that something did not fail itself.
const CANCELLED: &str = "context canceled";

/// Writes documents to the standard error.
pub(crate) struct RawJson {
    state: Mutex<State>,
}

struct State {
    out: Box<dyn Write + Send>,
    /// What was told of, oldest first; a key can come again.
    vertices: Vec<(Key, Vertex)>,
    /// What was begun last.
    newest: Option<Digest>,
    /// The Dockerfile, and the vertex that reads it.
    source: Option<(Source, Option<Digest>)>,
    /// When it was said last how far something is.
    shared: HashMap<(Digest, String), Instant>,
}

/// How a vertex ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ended<'a> {
    Well,
    Cached,
    Failed(&'a str),
    Cancelled,
}

impl From<End> for Ended<'_> {
    /// Why is told where the failure leads to.
    fn from(end: End) -> Self {
        if end == End::Well { Self::Well } else { Self::Failed("it failed") }
    }
}

/// How far a part of a vertex is: bytes of a layer, say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Share<'a> {
    /// Tells it from others of its vertex, and is shown.
    pub(crate) id: &'a str,
    pub(crate) done: u64,
    /// 0 where it is not known.
    pub(crate) total: u64,
    pub(crate) is_over: bool,
}

impl std::fmt::Debug for RawJson {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawJson").finish_non_exhaustive()
    }
}

impl RawJson {
    /// Writes to a stream.
    pub(crate) fn new(out: Box<dyn Write + Send>) -> Self {
        let state = State { out, vertices: Vec::new(), newest: None, source: None, shared: HashMap::new() };
        Self { state: Mutex::new(state) }
    }

    /// Takes an event of a build.
    pub(crate) fn build(&self, event: &Event<'_>) {
        let shown = |step: &StepInfo| step.kind != StepKind::Metadata;
        match event {
            Event::Loaded { source } => self.change(|state| state.source = Some(((*source).clone(), None))),
            Event::Planned { steps } => self.change(|state| state.plan(steps)),
            Event::Started { step } if shown(step) => self.change(|state| state.step(step)),
            Event::Cached { step, .. } => self.end(&key(step), Ended::Cached),
            Event::Done { step, .. } => self.end(&key(step), Ended::Well),
            Event::Failed { step, cancelled: true, .. } => self.end(&key(step), Ended::Cancelled),
            Event::Failed { step, error, .. } => self.end(&key(step), Ended::Failed(error)),
            Event::Output { step, bytes } => self.log(&key(step), bytes),
            // No news.
            Event::Missed { why, .. } if [NOT_BUILT_BEFORE, CACHE_NOT_USED].contains(why) => {}
            Event::Missed { step, why } => self.remark(Some(&key(step)), &format!("not cached: {why}")),
            Event::Written { image_id, .. } => self.remark(None, &format!("writing image {image_id}")),
            Event::Listed { index } => self.remark(None, &format!("exporting manifest list {index}")),
            Event::Named { name } => self.remark(None, &format!("naming to {name}")),
            Event::Warning { message, span, rule } => {
                let url = rule.map(|rule| rule.url()).unwrap_or_default();
                self.change(|state| state.warn(message, *span, url));
            }
            _ => {}
        }
    }

    /// Begins a vertex.
    pub(crate) fn begin(&self, key: Key, name: String) {
        self.change(|state| {
            state.add(key.clone(), name, Vec::new());
            state.start(&key);
        });
    }

    /// Ends a vertex.
    pub(crate) fn end(&self, key: &Key, how: Ended<'_>) {
        self.change(|state| state.end(key, how));
    }

    /// Passes output on.
    pub(crate) fn log(&self, key: &Key, bytes: &[u8]) {
        self.change(|state| {
            let Some(vertex) = state.find(key).map(|vertex| vertex.digest) else { return };
            let logs = vec![Log { vertex, stream: 1, data: bytes.into(), timestamp: now() }];
            state.write(&Document { logs, ..Document::default() });
        });
    }

    /// Says how far a part of a vertex is.
    pub(crate) fn share(&self, key: &Key, share: Share<'_>) {
        self.change(|state| {
            let Some(vertex) = state.find(key) else { return };
            let (digest, began) = (vertex.digest, vertex.started.clone());
            state.share(digest, share, began.unwrap_or_else(now));
        });
    }

    /// Says something that happened at once, of a vertex or of the newest one.
    fn remark(&self, key: Option<&Key>, text: &str) {
        self.change(|state| {
            let vertex = key.map_or(state.newest, |key| state.find(key).map(|vertex| vertex.digest));
            let share = Share { id: text, is_over: true, ..Share::default() };
            if let Some(vertex) = vertex {
                state.share(vertex, share, now());
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl State {
    /// Tells of all that is to come, as BuildKit does.
    fn plan(&mut self, steps: &[StepInfo]) {
        let known = self.vertices.len();
        for step in steps {
            self.know(step);
        }
        let vertexes = self.vertices[known..].iter().map(|(_, vertex)| vertex.clone()).collect();
        self.write(&Document { vertexes, ..Document::default() });
    }

    fn step(&mut self, step: &StepInfo) {
        self.know(step);
        self.start(&key(step));
    }

    /// Adds a step that is not told of yet.
    fn know(&mut self, step: &StepInfo) {
        if self.find(&key(step)).is_none() {
            let inputs = self.inputs(step);
            self.add(key(step), step.name.clone(), inputs);
        }
    }

    fn inputs(&mut self, step: &StepInfo) -> Vec<Digest> {
        let inputs = step.inputs.iter();
        inputs.filter_map(|id| self.find(&Key::Step(*id)).map(|vertex| vertex.digest)).collect()
    }

    fn add(&mut self, key: Key, name: String, inputs: Vec<Digest>) {
        // Only has to be another one for each.
        let digest = Digest::of(format!("{} {name}", self.vertices.len()).as_bytes());
        self.vertices.push((key, Vertex::new(digest, name, inputs)));
    }

    fn start(&mut self, key: &Key) {
        let Some(vertex) = self.find(key) else { return };
        vertex.started = Some(now());
        let vertex = vertex.clone();
        self.newest = Some(vertex.digest);
        if let Some((_, reads @ None)) = &mut self.source {
            *reads = Some(vertex.digest);
        }
        self.write(&Document { vertexes: vec![vertex], ..Document::default() });
    }

    fn end(&mut self, key: &Key, how: Ended<'_>) {
        let Some(vertex) = self.find(key) else { return };
        vertex.completed = Some(now());
        vertex.cached = matches!(how, Ended::Cached);
        vertex.error = match how {
            Ended::Well | Ended::Cached => String::new(),
            Ended::Failed(error) => error.to_owned(),
            Ended::Cancelled => CANCELLED.to_owned(),
        };
        let vertex = vertex.clone();
        self.write(&Document { vertexes: vec![vertex], ..Document::default() });
    }

    fn share(&mut self, vertex: Digest, share: Share<'_>, began: String) {
        let said = self.shared.get(&(vertex, share.id.to_owned()));
        if !share.is_over && said.is_some_and(|said| said.elapsed() < PAUSE) {
            return;
        }
        self.shared.insert((vertex, share.id.to_owned()), Instant::now());
        let timestamp = now();
        let statuses = vec![Status {
            id: share.id.to_owned(),
            vertex,
            total: share.total,
            current: share.done,
            started: began,
            completed: share.is_over.then(|| timestamp.clone()),
            timestamp,
        }];
        self.write(&Document { statuses, ..Document::default() });
    }

    /// Compat: BuildKit, a rule's finding is of the vertex that reads the Dockerfile, with all of its text.
    fn warn(&mut self, message: &str, span: Option<Span>, url: String) {
        let Some((source, Some(vertex))) = &self.source else { return };
        let place = |offset| Place { line: source.position(offset).line, character: 0 };
        let ends = |span: Span| Range {
            start: place(span.start),
            end: place(span.end.saturating_sub(1).max(span.start)),
        };
        let info = SourceInfo {
            filename: source.name().to_owned(),
            data: source.text().as_bytes().into(),
            language: "Dockerfile",
        };
        let warnings = vec![Warning {
            vertex: *vertex,
            level: 1,
            short: message.as_bytes().into(),
            url,
            source_info: span.is_some().then_some(info),
            range: span.map(ends).into_iter().collect(),
        }];
        self.write(&Document { warnings, ..Document::default() });
    }

    /// The newest one.
    fn find(&mut self, key: &Key) -> Option<&mut Vertex> {
        self.vertices.iter_mut().rev().find(|(known, _)| known == key).map(|(_, vertex)| vertex)
    }

    fn write(&mut self, document: &Document) {
        let mut line = serde_json::to_vec(document).expect("texts and numbers are always JSON");
        line.push(b'\n');
        // A reader that went away does not stop the build. One write for each line: others write to the same stream.
        drop(self.out.write_all(&line).and_then(|()| self.out.flush()));
    }
}

fn key(step: &StepInfo) -> Key {
    Key::Step(step.id)
}

fn now() -> String {
    clock::date(clock::nanoseconds())
}

#[cfg(test)]
mod tests;
