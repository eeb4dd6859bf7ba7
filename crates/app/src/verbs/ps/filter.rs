//! Which containers are listed. Compat: docker, values of one key are alternatives, but for labels.

use std::collections::HashMap;

use shipway_oci::{Digest, ImageConfig};

use super::row::Row;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::label_filter::LabelFilter;
use crate::{filters, local_names};

const STATES: [&str; 7] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];

/// What all listed containers have.
#[derive(Debug, Default)]
pub(super) struct Filters {
    ids: Vec<String>,
    names: Vec<String>,
    labels: Vec<LabelFilter>,
    states: Vec<String>,
    exited: Vec<i32>,
    /// Images, and what is built on them.
    ancestors: Vec<(Digest, ImageConfig)>,
    /// The images of containers, if ancestors are asked for.
    images: HashMap<Digest, ImageConfig>,
    networks: Vec<String>,
    ports: Vec<u16>,
    /// Places in the list, which begins with the newest.
    before: Option<usize>,
    since: Option<usize>,
    order: Vec<String>,
}

impl Filters {
    /// Reads `--filter`.
    pub(super) fn parse(engine: &Engine, texts: &[String]) -> Result<Self, Failure> {
        let mut found = Self::default();
        if texts.is_empty() {
            return Ok(found);
        }
        found.order = engine.store.containers()?.into_iter().map(|row| row.id).collect();
        for filter in texts {
            let (key, value) = filters::parts(filter).ok_or_else(|| {
                Failure::of_flag(
                    format!("filter `{filter}` is no KEY=VALUE"),
                    "write it like `status=exited`",
                )
            })?;
            found.add(engine, &key, value)?;
        }
        Ok(found)
    }

    fn add(&mut self, engine: &Engine, key: &str, value: &str) -> Result<(), Failure> {
        let wrong = |what: &str, hint: &str| Failure::new(format!("filter `{key}={value}`: {what}"), hint);
        let place = |order: &[String]| -> Result<usize, Failure> {
            let row = engine.store.container(value)?;
            Ok(order.iter().position(|id| *id == row.id).unwrap_or(usize::MAX))
        };
        match key {
            "id" => self.ids.push(value.to_owned()),
            "name" => self.names.push(value.to_owned()),
            "label" => self.labels.push(LabelFilter::parse(value)),
            "status" if STATES.contains(&value) => self.states.push(value.to_owned()),
            "status" => {
                return Err(wrong("there is no such state", &format!("there are {}", STATES.join(", "))));
            }
            "exited" => {
                let code =
                    value.parse().map_err(|_error| wrong("it is a number", "write it like `exited=0`"))?;
                self.exited.push(code);
            }
            "ancestor" => {
                let image = local_names::resolve(engine, value)?.image_id;
                self.ancestors.push((image, engine.store.config(&image)?));
                for row in engine.store.containers()? {
                    let config = engine.store.config(&row.image_id).unwrap_or_default();
                    self.images.insert(row.image_id, config);
                }
            }
            "network" => self.networks.push(value.to_owned()),
            "publish" => {
                let port = value.split('/').next().and_then(|port| port.parse().ok());
                self.ports.push(port.ok_or_else(|| wrong("it is a port", "write it like `publish=8080`"))?);
            }
            "before" => self.before = Some(place(&self.order)?),
            "since" => self.since = Some(place(&self.order)?),
            _ => {
                return Err(Failure::new(
                    format!("there is no filter `{key}`"),
                    "there are id, name, label, status, exited, ancestor, network, publish, before and since",
                ));
            }
        }
        Ok(())
    }

    /// Whether containers that do not run are asked for. Compat: docker.
    pub(super) fn is_about_state(&self) -> bool {
        !self.states.is_empty() || !self.exited.is_empty()
    }

    /// Returns whether a container is listed.
    pub(super) fn accept(&self, row: &Row) -> bool {
        let labels = row.labels();
        let value_of = |key: &str| labels.get(key).copied();
        let place = || self.order.iter().position(|id| *id == row.row.id).unwrap_or(usize::MAX);
        let code = row.state.as_ref().filter(|_| row.status() == "exited").and_then(|state| state.exit_code);
        any(&self.ids, |id| row.row.id.starts_with(id.as_str()))
            && any(&self.names, |name| is_called(&row.row.name, name))
            && self.labels.iter().all(|label| label.accept(value_of))
            && any(&self.states, |state| state == row.status())
            && any(&self.exited, |wanted| code == Some(*wanted))
            && (self.ancestors.is_empty() || self.is_descendant(row))
            && any(&self.networks, |network| network == row.network())
            && any(&self.ports, |port| {
                row.state.iter().flat_map(|state| &state.ports).any(|mapping| mapping.host_port == *port)
            })
            && self.before.is_none_or(|before| place() > before)
            && self.since.is_none_or(|since| place() < since)
    }

    fn is_descendant(&self, row: &Row) -> bool {
        let own = self.images.get(&row.row.image_id);
        self.ancestors.iter().any(|(id, ancestor)| {
            let stands_on = |own: &ImageConfig| {
                own.history.len() > ancestor.history.len()
                    && own.history.starts_with(&ancestor.history)
                    && own.rootfs.diff_ids.starts_with(&ancestor.rootfs.diff_ids)
            };
            *id == row.row.image_id || own.is_some_and(stands_on)
        })
    }
}

fn any<T>(wanted: &[T], fits: impl Fn(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(fits)
}

/// Whether a name has a text in it; `^` and `$` hold it to the beginning and the end. Compat: docker, but for other patterns.
fn is_called(name: &str, wanted: &str) -> bool {
    let (start, text) = wanted.strip_prefix('^').map_or((false, wanted), |text| (true, text));
    let (end, text) = text.strip_suffix('$').map_or((false, text), |text| (true, text));
    let text = text.strip_prefix('/').unwrap_or(text);
    match (start, end) {
        (true, true) => name == text,
        (true, false) => name.starts_with(text),
        (false, true) => name.ends_with(text),
        (false, false) => name.contains(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_their_parts() {
        for (wanted, want) in [
            ("box", true),
            ("ox-1", true),
            ("^box-1$", true),
            ("^/box-1$", true),
            ("^ox", false),
            ("box$", false),
            ("-1$", true),
            ("", true),
        ] {
            assert_eq!(is_called("box-1", wanted), want, "{wanted}");
        }
    }
}
