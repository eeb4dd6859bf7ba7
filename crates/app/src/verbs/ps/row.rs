//! One container, as it is listed.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shipway_runtime::{ContainerState, MountKind, Status};
use shipway_store::ContainerRow;

use crate::clock;
use crate::disk::tree;
use crate::engine::Engine;
use crate::publish;

/// Where a command and a mount are cut. Compat: docker.
const COMMAND: usize = 20;
const MOUNT: usize = 15;

/// What is known of it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) row: ContainerRow,
    pub(super) state: Option<ContainerState>,
    /// How it was made.
    pub(super) document: Value,
}

impl Row {
    pub(super) fn find(engine: &Engine, row: ContainerRow) -> Self {
        let state = engine.containers.get(&row.id).and_then(|container| container.state()).ok();
        Self { document: serde_json::from_str(&row.document).unwrap_or_default(), row, state }
    }

    pub(super) fn runs(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.status == Status::Running)
    }

    /// Returns `running`, `exited` or `dead`.
    pub(super) fn status(&self) -> &'static str {
        match &self.state {
            Some(state) if state.status == Status::Running => "running",
            Some(_) => "exited",
            None => "dead",
        }
    }

    pub(super) fn labels(&self) -> BTreeMap<&str, &str> {
        let labels = self.document["Labels"].as_object().into_iter().flatten();
        labels.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
    }

    pub(super) fn network(&self) -> &str {
        self.document["NetworkMode"].as_str().unwrap_or_default()
    }

    /// Returns its fields. Compat: docker 28.
    pub(super) fn value(&self, engine: &Engine, whole: bool, with_size: bool) -> Value {
        let labels = self.labels();
        let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let ports = self.state.as_ref().filter(|_| self.runs()).map(|state| publish::render(&state.ports));
        json!({
            "Command": command(&self.document, whole),
            "CreatedAt": clock::moment(self.row.created),
            "ID": if whole { self.row.id.clone() } else { self.row.id.chars().take(12).collect() },
            "Image": self.row.image,
            "Label": labels,
            "Labels": pairs.join(","),
            "LocalVolumes": "0",
            "Mounts": self.mounts(engine, whole),
            "Names": self.row.name,
            "Networks": self.network(),
            "Ports": ports.unwrap_or_default(),
            "RunningFor": format!("{} ago", clock::ago(clock::now() - self.row.created)),
            "Size": if with_size { self.size(engine) } else { "N/A".to_owned() },
            "State": self.status(),
            "Status": status(self.state.as_ref()),
        })
    }

    /// Returns what it has written, and that with its image.
    fn size(&self, engine: &Engine) -> String {
        let snapshot = self.row.snapshot.as_ref();
        let own = snapshot.map_or(0, |id| tree(&engine.store.snapshot_path(id).join("upper")).1);
        let image = engine.store.image_size(&self.row.image_id).unwrap_or(0);
        format!("{} (virtual {})", clock::size(own), clock::size(own + image))
    }

    fn mounts(&self, engine: &Engine, whole: bool) -> String {
        let spec = engine.containers.get(&self.row.id).and_then(|container| container.spec());
        let mounts = spec.map(|spec| spec.mounts).unwrap_or_default();
        let sources = mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::Bind(source) => Some(source.display().to_string()),
            MountKind::Tmpfs | MountKind::Detached { .. } => None,
        });
        let shown = sources.map(|source| if whole { source } else { cut(&source, MOUNT) });
        shown.collect::<Vec<_>>().join(",")
    }
}

fn cut(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length - 1).chain(['…']).collect()
}

fn command(document: &Value, whole: bool) -> String {
    let words = document["Cmd"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let text = words.collect::<Vec<_>>().join(" ");
    format!("\"{}\"", if whole { text } else { cut(&text, COMMAND) })
}

fn status(state: Option<&ContainerState>) -> String {
    let since = |nanoseconds: i128| {
        clock::ago(clock::now() - i64::try_from(nanoseconds / 1_000_000_000).unwrap_or(0))
    };
    match state {
        None => "Dead".to_owned(),
        Some(state) if state.status == Status::Running => format!("Up {}", since(state.started)),
        Some(state) => format!(
            "Exited ({}) {} ago",
            state.exit_code.unwrap_or(255),
            since(state.finished.unwrap_or(state.started))
        ),
    }
}
