//! Results of build steps under their keys.

use rusqlite::{OptionalExtension as _, params};
use shipway_oci::Digest;

use crate::layer_rows::{COLUMNS, row_of};
use crate::{LayerId, LayerRow, Store, StoreError};

/// So many results of one step are kept.
const RESULTS: i64 = 4;

/// A finished step of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedStep {
    /// Digest over everything that can change the result.
    pub key: Digest,
    /// Tells results from each other that were found under one key.
    pub state: String,
    /// Where in which build the step stood; steps of one position explain each other's misses.
    pub position: String,
    /// What went into the key, as a JSON document.
    pub inputs: String,
    /// The result, as a JSON document that the builder reads.
    pub result: String,
    /// The layer that the step made, if it made one.
    pub layer: Option<LayerId>,
}

/// A layer in the build cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedLayer {
    /// The layer.
    pub row: LayerRow,
    /// The step that made it.
    pub step: CachedStep,
    /// When that was recorded or found last, in seconds since the epoch.
    pub used: i64,
}

impl Store {
    /// Remembers a finished step beside other results of it, of which the last ones are kept. `now` is seconds since the epoch. A power
    /// cut may make it forgotten.
    pub fn cache_put(&self, step: &CachedStep, now: i64) -> Result<(), StoreError> {
        self.cache_put_or_replace(step, false, now)
    }

    /// Like [`Store::cache_put`], instead of other results of it.
    pub fn cache_replace(&self, step: &CachedStep, now: i64) -> Result<(), StoreError> {
        self.cache_put_or_replace(step, true, now)
    }

    fn cache_put_or_replace(&self, step: &CachedStep, alone: bool, now: i64) -> Result<(), StoreError> {
        self.write_lazily("record a build step", |transaction| {
            let sql = "INSERT OR REPLACE INTO steps (key, state, position, inputs, result, layer, used)
                       VALUES (?1,?2,?3,?4,?5,?6,?7)";
            let (key, layer) = (step.key.to_string(), step.layer.as_ref().map(LayerId::as_str));
            let values = params![key, step.state, step.position, step.inputs, step.result, layer, now];
            transaction.execute(sql, values)?;
            let sql = "DELETE FROM steps WHERE key = ?1 AND state != ?2 AND state NOT IN
                       (SELECT state FROM steps WHERE key = ?1 ORDER BY layer IS NULL, rowid DESC LIMIT ?3)";
            let others = if alone { 0 } else { RESULTS };
            transaction.execute(sql, params![key, step.state, others]).map(drop)
        })
    }

    /// Returns the results of a step under a key: those whose layer is here first, and of these the one that was recorded last.
    pub fn cache_get(&self, key: &Digest) -> Result<Vec<CachedStep>, StoreError> {
        self.read("find a build step", |connection| {
            let sql = "SELECT position, inputs, result, layer, state FROM steps WHERE key = ?1
                       AND (layer IS NULL OR layer IN (SELECT id FROM layers)) ORDER BY layer IS NULL, rowid DESC";
            let step = |row: &rusqlite::Row<'_>| {
                Ok(CachedStep {
                    key: *key,
                    state: row.get(4)?,
                    position: row.get(0)?,
                    inputs: row.get(1)?,
                    result: row.get(2)?,
                    layer: row.get::<_, Option<String>>(3)?.map(LayerId::from_database),
                })
            };
            connection.prepare_cached(sql)?.query_map([key.to_string()], step)?.collect()
        })
    }

    /// Returns the inputs of the newest step at a position, to explain why another one missed.
    pub fn cache_last_inputs(&self, position: &str) -> Result<Option<String>, StoreError> {
        self.read("find a build step", |connection| {
            let sql = "SELECT inputs FROM steps WHERE position = ?1 ORDER BY used DESC, rowid DESC LIMIT 1";
            connection.query_row(sql, [position], |row| row.get(0)).optional()
        })
    }

    /// Returns the layer of the newest step at a position that has one: much of it may be the same again.
    pub fn cache_last_layer(&self, position: &str) -> Result<Option<LayerId>, StoreError> {
        self.read("find a build step", |connection| {
            let sql = "SELECT layer FROM steps WHERE position = ?1 AND layer IN (SELECT id FROM layers)
                       ORDER BY used DESC, rowid DESC LIMIT 1";
            connection.query_row(sql, [position], |row| row.get(0).map(LayerId::from_database)).optional()
        })
    }

    /// Forgets the steps recorded or used before `until`, seconds since the epoch; returns how many. [`Store::gc`] frees their
    /// layers.
    pub fn cache_prune(&self, until: i64) -> Result<usize, StoreError> {
        self.free("prune the build cache", |transaction| {
            transaction.execute("DELETE FROM steps WHERE used < ?1", [until])
        })
    }

    /// Returns the layers that steps have made, those that were used longest ago first; of those that one build used, those that were
    /// made last, which are of no use without the others.
    pub fn cached_layers(&self) -> Result<Vec<LayerRow>, StoreError> {
        self.read("list cached layers", |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM layers JOIN
                 (SELECT layer, max(used) AS used FROM steps GROUP BY layer) ON layer = id ORDER BY used, id DESC"
            );
            connection.prepare_cached(&sql)?.query_map([], row_of)?.collect()
        })
    }

    /// Returns the layers that steps have made, each with the step that was used last, in the order of [`Store::cached_layers`].
    pub fn cache_list(&self) -> Result<Vec<CachedLayer>, StoreError> {
        self.read("list cached layers", |connection| {
            // Of several steps of a layer SQLite takes the one that has the maximum.
            let sql = format!(
                "SELECT {COLUMNS}, key, position, inputs, result, max(used) AS newest, state FROM layers
                 JOIN steps ON layer = id GROUP BY id ORDER BY newest, id DESC"
            );
            let cached = |row: &rusqlite::Row<'_>| {
                let layer = row_of(row)?;
                let key: String = row.get(4)?;
                Ok(CachedLayer {
                    step: CachedStep {
                        key: key.parse().unwrap_or_else(|_damaged| Digest::of(key.as_bytes())),
                        state: row.get(9)?,
                        position: row.get(5)?,
                        inputs: row.get(6)?,
                        result: row.get(7)?,
                        layer: Some(layer.id.clone()),
                    },
                    row: layer,
                    used: row.get(8)?,
                })
            };
            connection.prepare_cached(&sql)?.query_map([], cached)?.collect()
        })
    }

    /// Returns those layers that are in no image, neither of this store nor of the registry on it.
    pub fn outside_images(&self, mut layers: Vec<LayerRow>) -> Result<Vec<LayerRow>, StoreError> {
        let mut in_images = self.needed()?.diff_ids;
        // Such a layer stands for its archive.
        in_images.extend(self.hosted_bytes()?);
        layers.retain(|row| !row.diff_id.is_some_and(|id| in_images.contains(&id.to_string())));
        Ok(layers)
    }

    /// Forgets the steps that made some layers. [`Store::gc`] frees those.
    pub fn cache_forget(&self, layers: &[LayerId]) -> Result<(), StoreError> {
        self.free("prune the build cache", |transaction| {
            let mut statement = transaction.prepare("DELETE FROM steps WHERE layer = ?1")?;
            layers.iter().try_for_each(|layer| statement.execute([layer.as_str()]).map(drop))
        })
    }

    /// Forgets the steps whose layer is in no image; returns how many. [`Store::gc`] frees their layers.
    pub fn cache_prune_unused(&self) -> Result<usize, StoreError> {
        let in_images = self.needed()?.diff_ids;
        self.free("prune the build cache", |transaction| {
            let sql =
                "SELECT steps.rowid, layers.diff_id FROM steps LEFT JOIN layers ON layers.id = steps.layer
                       WHERE steps.layer IS NOT NULL OR instr(steps.result, '\"diffID\"')";
            let steps: Vec<(i64, Option<String>)> = transaction
                .prepare(sql)?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            let unused = steps
                .iter()
                .filter(|(_, diff_id)| !diff_id.as_ref().is_some_and(|id| in_images.contains(id)));
            let mut forgotten = 0;
            for (row, _) in unused {
                forgotten += transaction.execute("DELETE FROM steps WHERE rowid = ?1", [row])?;
            }
            Ok(forgotten)
        })
    }

    /// Forgets results without a layer here that nobody has used since `before`, in seconds since the epoch. Returns how many.
    pub fn cache_forget_without_layer(&self, before: i64) -> Result<usize, StoreError> {
        const OLD: &str = "FROM steps WHERE layer IS NULL AND used < ?1";
        let there_are = self.read("find old build steps", |connection| {
            connection.query_row(&format!("SELECT EXISTS (SELECT 1 {OLD})"), [before], |row| row.get(0))
        })?;
        match there_are {
            true => self.write_lazily("forget old build steps", |transaction| {
                transaction.execute(&format!("DELETE {OLD}"), [before])
            }),
            false => Ok(0),
        }
    }

    /// Notes that results of steps, by key and state, were used together at `now`, seconds since the epoch.
    pub fn cache_used(&self, steps: &[(Digest, String)], now: i64) -> Result<(), StoreError> {
        if steps.is_empty() {
            return Ok(());
        }
        self.write_lazily("mark build steps", |transaction| {
            let sql = "UPDATE steps SET used = ?3 WHERE key = ?1 AND state = ?2 AND used < ?3";
            let mut statement = transaction.prepare_cached(sql)?;
            steps.iter().try_for_each(|(key, state)| {
                statement.execute(params![key.to_string(), state, now]).map(drop)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_back_and_the_newest_inputs_explain() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let step = |text: &str| CachedStep {
            key: Digest::of(text.as_bytes()),
            state: String::new(),
            position: "web/0/3".to_owned(),
            inputs: text.to_owned(),
            result: "{}".to_owned(),
            layer: None,
        };
        let (old, new) = (step("old"), step("new"));
        store.cache_put(&old, 1).unwrap();
        store.cache_put(&new, 2).unwrap();
        assert_eq!(store.cache_get(&old.key).unwrap(), std::slice::from_ref(&old));
        assert_eq!(store.cache_last_inputs("web/0/3").unwrap().unwrap(), "new");
        let lost = CachedStep { layer: Some(LayerId::unique(1)), ..step("lost") };
        store.cache_put(&lost, 3).unwrap();
        assert_eq!(store.cache_get(&lost.key).unwrap(), [], "its layer is gone");
        assert_eq!(store.cache_last_layer("web/0/3").unwrap(), None);
        assert_eq!(store.cache_prune(3).unwrap(), 2);
        assert_eq!(store.cache_get(&Digest::of(b"no")).unwrap(), []);
    }

    #[test]
    fn a_step_has_several_results_until_it_is_done_anew() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let layer = LayerId::unique(1);
        let notes = crate::LayerNotes::default();
        store.record_layer(&LayerRow { id: layer.clone(), diff_id: None, size: 3, notes }).unwrap();
        let result = |state: &str, layer: Option<&LayerId>| CachedStep {
            key: Digest::of(b"key"),
            state: state.to_owned(),
            position: "web/0/3".to_owned(),
            inputs: "[]".to_owned(),
            result: "{}".to_owned(),
            layer: layer.cloned(),
        };
        let states = || -> Vec<String> {
            let found = store.cache_get(&Digest::of(b"key")).unwrap();
            found.into_iter().map(|step| step.state).collect()
        };
        store.cache_put(&result("own", Some(&layer)), 1).unwrap();
        for state in ["a", "b", "c", "d", "e"] {
            store.cache_put(&result(state, None), 2).unwrap();
        }
        assert_eq!(states(), ["own", "e", "d", "c"]);
        store.cache_put(&result("c", Some(&layer)), 2).unwrap();
        assert_eq!(states(), ["c", "own", "e", "d"], "its layer has come");
        store.cache_used(&[(Digest::of(b"key"), "d".to_owned())], 9).unwrap();
        assert_eq!((store.cache_prune(9).unwrap(), states()), (3, vec!["d".to_owned()]));
        store.cache_put(&result("e", None), 9).unwrap();
        assert_eq!((store.cache_forget_without_layer(9).unwrap(), states().len()), (0, 2));
        assert_eq!((store.cache_forget_without_layer(10).unwrap(), states().len()), (2, 0));
        store.cache_replace(&result("new", Some(&layer)), 10).unwrap();
        assert_eq!(states(), ["new"]);
    }

    #[test]
    fn layers_are_listed_with_their_newest_step() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let ids = [LayerId::unique(1), LayerId::unique(1)];
        let row = |id: &LayerId| LayerRow {
            id: id.clone(),
            diff_id: None,
            size: 3,
            notes: crate::LayerNotes::default(),
        };
        ids.iter().for_each(|id| store.record_layer(&row(id)).unwrap());
        let step = |text: &str, layer: Option<&LayerId>| CachedStep {
            key: Digest::of(text.as_bytes()),
            state: String::new(),
            position: "web/0/3".to_owned(),
            inputs: text.to_owned(),
            result: "{}".to_owned(),
            layer: layer.cloned(),
        };
        for (text, layer, used) in [
            ("new", Some(&ids[0]), 9),
            ("old", Some(&ids[0]), 1),
            ("other", Some(&ids[1]), 5),
            ("none", None, 7),
        ] {
            store.cache_put(&step(text, layer), used).unwrap();
        }
        let listed = store.cache_list().unwrap();
        let told: Vec<_> = listed.iter().map(|cached| (&cached.row, &cached.step, cached.used)).collect();
        let (other, new) = (step("other", Some(&ids[1])), step("new", Some(&ids[0])));
        assert_eq!(told, [(&row(&ids[1]), &other, 5), (&row(&ids[0]), &new, 9)]);
    }
}
