//! `--filter` of `ps`. Compat: docker; of several for the same thing one is enough, but of labels all hold.

use super::row::Row;
use crate::failure::Failure;
use shipway_runtime::MountKind;

const THERE: &str =
    "there are ancestor, before, exited, id, label, name, network, publish, since, status and volume";

/// What all listed containers have.
#[derive(Debug, Default)]
pub(super) struct Filters {
    ids: Vec<String>,
    names: Vec<String>,
    images: Vec<String>,
    networks: Vec<String>,
    statuses: Vec<String>,
    volumes: Vec<String>,
    codes: Vec<i32>,
    ports: Vec<u16>,
    labels: Vec<(String, Option<String>)>,
    /// Made before, and after, the one at a place in the list.
    before: Option<usize>,
    since: Option<usize>,
}

impl Filters {
    /// Reads what was typed; `rows` are the containers that it may speak of.
    pub(super) fn parse(texts: &[String], rows: &[Row]) -> Result<Self, Failure> {
        let mut found = Self::default();
        for text in texts {
            let refuse = |what: String| Failure::new(what, THERE);
            let (key, value) =
                text.split_once('=').ok_or_else(|| refuse(format!("filter `{text}` is no KEY=VALUE")))?;
            let own = value.to_owned();
            match key {
                "id" => found.ids.push(own),
                "name" => found.names.push(own.trim_start_matches('/').to_owned()),
                "ancestor" => found.images.push(own),
                "network" => found.networks.push(own),
                "volume" => found.volumes.push(own),
                "status" => found.statuses.push(status(value)?),
                "exited" => {
                    let code = value.parse().map_err(|_none| refuse(format!("`{value}` is no exit code")))?;
                    found.codes.push(code);
                }
                "publish" => {
                    let port = value.split('/').next().and_then(|port| port.parse().ok());
                    found.ports.push(port.ok_or_else(|| refuse(format!("`{value}` is no port")))?);
                }
                "label" => found.labels.push(match value.split_once('=') {
                    Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                    None => (own, None),
                }),
                "before" => found.before = Some(place(value, rows)?),
                "since" => found.since = Some(place(value, rows)?),
                _ => return Err(refuse(format!("there is no filter `{key}`"))),
            }
        }
        Ok(found)
    }

    /// Returns whether they ask for what only containers have that have stopped, or may have.
    pub(super) fn ask_for_state(&self) -> bool {
        !self.statuses.is_empty() || !self.codes.is_empty() || self.before.is_some() || self.since.is_some()
    }

    /// Returns whether a container is listed.
    pub(super) fn accept(&self, container: &Row) -> bool {
        let row = &container.row;
        let state = container.state.as_ref();
        let has_label = |(key, value): &(String, Option<String>)| {
            let found = container.labels.get(key);
            found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        let has_volume = |wanted: &String| {
            container.mounts.iter().any(|mount| {
                let is_source =
                    matches!(&mount.kind, MountKind::Bind(source) if source.to_str() == Some(wanted));
                is_source || mount.target.to_str() == Some(wanted)
            })
        };
        one_of(&self.ids, |id| row.id.starts_with(id))
            && one_of(&self.names, |name| row.name.contains(name.as_str()))
            && one_of(&self.images, |image| is_of(container, image))
            && one_of(&self.networks, |network| container.network == *network)
            && one_of(&self.statuses, |status| container.status() == status)
            && one_of(&self.volumes, has_volume)
            && one_of(&self.codes, |code| {
                !container.is_running() && state.and_then(|state| state.exit_code) == Some(*code)
            })
            && one_of(&self.ports, |port| container.ports().iter().any(|mapping| mapping.host_port == *port))
            && self.labels.iter().all(has_label)
            && self.before.is_none_or(|place| container.place > place)
            && self.since.is_none_or(|place| container.place < place)
    }
}

fn one_of<T>(wanted: &[T], has: impl FnMut(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(has)
}

/// Returns whether a container is of an image, by its name with or without the tag, or by the beginning of its id.
fn is_of(container: &Row, image: &str) -> bool {
    let row = &container.row;
    let id = row.image_id.to_string();
    let hex = row.image_id.hex();
    let without_tag = row.image.rsplit_once(':').map_or(row.image.as_str(), |(name, _)| name);
    let latest = format!("{}:latest", row.image);
    [row.image.as_str(), without_tag, latest.as_str()].contains(&image)
        || (image.len() >= 4 && (id.starts_with(image) || hex.starts_with(image)))
}

fn status(text: &str) -> Result<String, Failure> {
    const KNOWN: [&str; 7] = ["created", "restarting", "running", "removing", "paused", "exited", "dead"];
    if KNOWN.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(Failure::new(
        format!("`{text}` is no state of a container"),
        format!("there are {}", KNOWN.join(", ")),
    ))
}

/// Returns where the container stands that is named by its name or the beginning of its id.
fn place(name: &str, rows: &[Row]) -> Result<usize, Failure> {
    let found = rows.iter().find(|row| row.row.name == name).or_else(|| {
        let mut fitting = rows.iter().filter(|row| !name.is_empty() && row.row.id.starts_with(name));
        fitting.next().filter(|_| fitting.next().is_none())
    });
    let row = found.ok_or_else(|| {
        Failure::new(format!("no such container: {name}"), "see `shipway ps -a` for those that there are")
    })?;
    Ok(row.place)
}

#[cfg(test)]
mod tests {
    use shipway_oci::Digest;
    use shipway_runtime::ContainerState;
    use shipway_store::ContainerRow;

    use super::*;

    fn row(name: &str, place: usize) -> Row {
        let row = ContainerRow {
            id: Digest::of(name.as_bytes()).hex(),
            name: name.to_owned(),
            image_id: Digest::of(b"image"),
            image: "web:1".to_owned(),
            created: 7,
            snapshot: None,
            document: r#"{"Labels":{"team":"a"},"NetworkMode":"none"}"#.to_owned(),
        };
        Row::of(place, row, None::<ContainerState>, Vec::new())
    }

    #[test]
    fn filters_let_through_what_has_one_of_each_kind() {
        let (one, two) = (row("one", 1), row("two", 0));
        let id = one.row.id.clone();
        for (texts, want) in [
            (vec![], (true, true)),
            (vec!["name=on"], (true, false)),
            (vec!["name=/one", "name=two"], (true, true)),
            (vec![&format!("id={}", &id[..12])], (true, false)),
            (vec!["ancestor=web"], (true, true)),
            (vec!["ancestor=web:2"], (false, false)),
            (vec!["label=team"], (true, true)),
            (vec!["label=team=a", "label=other"], (false, false)),
            (vec!["network=none"], (true, true)),
            (vec!["status=running"], (false, false)),
            (vec!["status=dead", "name=two"], (false, true)),
            (vec!["exited=0"], (false, false)),
            (vec!["before=two"], (true, false)),
            (vec!["since=one"], (false, true)),
        ] {
            let texts: Vec<String> = texts.into_iter().map(str::to_owned).collect();
            let rows = [row("one", 1), row("two", 0)];
            let filters = Filters::parse(&texts, &rows).unwrap();
            assert_eq!((filters.accept(&one), filters.accept(&two)), want, "{texts:?}");
        }
    }

    #[test]
    fn filters_that_there_are_not_are_refused() {
        for (text, want) in [
            ("name", "no KEY=VALUE"),
            ("size=3", "there is no filter `size`"),
            ("exited=x", "no exit code"),
            ("status=ended", "no state of a container"),
            ("before=nobody", "no such container: nobody"),
            ("publish=http", "no port"),
        ] {
            let failure = Filters::parse(&[text.to_owned()], &[]).unwrap_err();
            assert!(failure.text().contains(want) && failure.text().contains("hint: "), "{}", failure.text());
        }
    }
}
