//! One container, as it is listed.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shipway_runtime::{ContainerState, Mount, MountKind, PortMapping, Status};
use shipway_store::ContainerRow;

use crate::clock;
use crate::disk::tree;
use crate::engine::Engine;
use crate::publish;

/// So much of a command, and of a mount's source, is shown. Compat: docker.
const COMMAND: usize = 20;
const SOURCE: usize = 15;

/// What is known of it.
#[derive(Debug)]
pub(super) struct Row {
    /// Where it stands among all; the newest is the first.
    pub(super) place: usize,
    pub(super) row: ContainerRow,
    /// `None` for one whose state cannot be read.
    pub(super) state: Option<ContainerState>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) network: String,
    /// Where files of the host are mounted.
    pub(super) mounts: Vec<Mount>,
    command: String,
}

impl Row {
    pub(super) fn find(engine: &Engine, place: usize, row: ContainerRow) -> Self {
        let container = engine.containers.get(&row.id).ok();
        let state = container.as_ref().and_then(|container| container.state().ok());
        let spec = container.and_then(|container| container.spec().ok());
        Self::of(place, row, state, spec.map(|spec| spec.mounts).unwrap_or_default())
    }

    pub(super) fn of(
        place: usize,
        row: ContainerRow,
        state: Option<ContainerState>,
        mounts: Vec<Mount>,
    ) -> Self {
        let document: Value = serde_json::from_str(&row.document).unwrap_or_default();
        let words = document["Cmd"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let labels = document["Labels"].as_object().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            place,
            state,
            labels: labels.map(|(key, value)| (key.clone(), text(value))).collect(),
            network: text(&document["NetworkMode"]),
            mounts,
            command: words.collect::<Vec<_>>().join(" "),
            row,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.status() == "running"
    }

    /// Compat: docker, a container whose state is lost is dead.
    pub(super) fn status(&self) -> &'static str {
        match self.state.as_ref().map(|state| state.status) {
            Some(Status::Running) => "running",
            Some(Status::Exited) => "exited",
            None => "dead",
        }
    }

    pub(super) fn ports(&self) -> &[PortMapping] {
        self.state
            .as_ref()
            .filter(|_| self.is_running())
            .map(|state| state.ports.as_slice())
            .unwrap_or_default()
    }

    /// Returns its fields; what it has written is added up only where that is wanted.
    pub(super) fn value(&self, engine: &Engine, whole: bool, with_size: bool) -> Value {
        let row = &self.row;
        let labels: Vec<String> = self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let created = clock::ago(clock::now() - row.created);
        json!({
            "Command": format!("\"{}\"", shortened(&self.command, COMMAND, whole)),
            "CreatedAt": clock::moment(row.created),
            "ID": if whole { row.id.clone() } else { row.id.chars().take(12).collect() },
            "Image": row.image,
            "Labels": labels.join(","),
            "LocalVolumes": "0",
            "Mounts": self.sources(whole).join(","),
            "Names": row.name,
            "Networks": self.network,
            "Ports": publish::render(self.ports()),
            "RunningFor": format!("{created} ago"),
            "Size": if with_size { self.size(engine) } else { "0B".to_owned() },
            "State": self.status(),
            "Status": status(self.state.as_ref()),
        })
    }

    /// Returns what it has written, and that with its image.
    fn size(&self, engine: &Engine) -> String {
        let snapshot = self.row.snapshot.as_ref();
        let written = snapshot.map_or(0, |id| tree(&engine.store.snapshot_path(id).join("upper")).1);
        // An image that is gone takes nothing.
        let image = engine.store.image_size(&self.row.image_id).unwrap_or_default();
        format!("{} (virtual {})", clock::size(written), clock::size(written + image))
    }

    fn sources(&self, whole: bool) -> Vec<String> {
        let one = |mount: &Mount| match &mount.kind {
            MountKind::Bind(source) => Some(shortened(&source.to_string_lossy(), SOURCE, whole)),
            MountKind::Tmpfs | MountKind::Detached { .. } => None,
        };
        self.mounts.iter().filter_map(one).collect()
    }
}

fn shortened(text: &str, most: usize, whole: bool) -> String {
    if whole || text.chars().count() <= most {
        text.to_owned()
    } else {
        text.chars().take(most - 1).chain(['…']).collect()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_commands_are_cut() {
        assert_eq!(shortened("sleep 600", 20, false), "sleep 600");
        assert_eq!(shortened("/bin/sh -c 'sleep 600'", 20, false), "/bin/sh -c 'sleep 6…");
        assert_eq!(shortened("/bin/sh -c 'sleep 600'", 20, true), "/bin/sh -c 'sleep 600'");
    }
}
