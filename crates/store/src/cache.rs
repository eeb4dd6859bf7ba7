//! Records of the build cache.

use rusqlite::{OptionalExtension as _, Row};
use serde_json::Value;
use shipway_oci::Digest;

use crate::database::Durable;
use crate::{LayerId, Store, StoreError, owner};

/// What a build step gave.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheRow {
    /// The result.
    pub value: Value,
    /// The layer that the step made.
    pub layer: Option<LayerId>,
    /// The key of the step before it.
    pub parent: Option<Digest>,
    /// What went into the key, for explaining a miss.
    pub inputs: String,
}

fn row_of(row: &Row<'_>) -> rusqlite::Result<(String, CacheRow)> {
    let (parent, value, layer) =
        (row.get::<_, Option<String>>(1)?, row.get::<_, String>(2)?, row.get::<_, Option<String>>(4)?);
    Ok((
        row.get(0)?,
        CacheRow {
            value: serde_json::from_str(&value).unwrap_or_default(),
            layer: layer.as_deref().and_then(LayerId::parse),
            parent: parent.and_then(|text| text.parse().ok()),
            inputs: row.get(3)?,
        },
    ))
}

const SELECT: &str = "SELECT key, parent, value, inputs, layer FROM cache";

impl Store {
    /// Returns the result of a step, and marks it and its layer as used. A result whose layer is gone is none.
    pub fn cache_get(&self, key: &Digest) -> Result<Option<CacheRow>, StoreError> {
        let key = key.to_string();
        let found = self.read("look into the build cache", |connection| {
            connection
                .prepare_cached(&format!("{SELECT} WHERE key = ?1"))?
                .query_row([&key], row_of)
                .optional()
        })?;
        let Some((_, row)) = found else { return Ok(None) };
        if let Some(layer) = &row.layer
            && self.layer(layer)?.is_none()
        {
            return Ok(None);
        }
        self.write("mark a cached step", Durable::Later, |transaction| {
            transaction.execute(
                "UPDATE cache SET used = unixepoch() WHERE key = ?1 AND used < unixepoch() - 60",
                [&key],
            )
        })?;
        Ok(Some(row))
    }

    /// Records the result of a step.
    pub fn cache_put(&self, key: &Digest, row: &CacheRow) -> Result<(), StoreError> {
        self.write("record a cached step", Durable::Later, |transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO cache (key, parent, value, inputs, layer, used)
                 VALUES (?1, ?2, ?3, ?4, ?5, unixepoch())",
                (
                    key.to_string(),
                    row.parent.map(|parent| parent.to_string()),
                    row.value.to_string(),
                    &row.inputs,
                    row.layer.as_ref().map(LayerId::as_str),
                ),
            )
        })?;
        Ok(())
    }

    /// Returns the results recorded after the step `parent`, last used first: what a missed step could have been.
    pub fn cache_children(&self, parent: Option<&Digest>) -> Result<Vec<CacheRow>, StoreError> {
        let parent = parent.map(ToString::to_string);
        self.read("look into the build cache", |connection| {
            connection
                .prepare_cached(&format!("{SELECT} WHERE parent IS ?1 ORDER BY used DESC LIMIT 64"))?
                .query_map([parent], |row| Ok(row_of(row)?.1))?
                .collect()
        })
    }

    /// Forgets the results that were not used for `seconds`, 0 for all; returns how many. [`Store::gc`] frees their layers.
    pub fn cache_prune(&self, seconds: u64) -> Result<usize, StoreError> {
        self.write("prune the build cache", Durable::Yes, |transaction| {
            transaction.execute(
                "DELETE FROM cache WHERE used <= unixepoch() - ?1
                 OR layer NOT IN (SELECT id FROM layers WHERE synced = 1 OR boot = ?2)",
                (seconds.cast_signed(), owner::boot()),
            )
        })
    }
}
