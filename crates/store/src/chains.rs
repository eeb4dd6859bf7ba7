//! Which chains of layers there are, and what mends them.
//!
//! A chain is recorded link by link, each with a name for the links up to it, so that what is written of it, and the time that it
//! takes, grow with its length and no faster.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use shipway_oci::Digest;

use crate::{LayerId, Store, StoreError};

/// Version 7: chains by their links. Fix-ups of the older form are made again when their chain is used next.
pub(crate) const TABLE: &str = "
DROP TABLE fixups;
CREATE TABLE chains (
    key TEXT PRIMARY KEY,
    below TEXT,
    top TEXT NOT NULL,
    looked INTEGER NOT NULL,
    fixup TEXT
) STRICT;
";

/// Layers that lie on each other, base first, as far as they were put on it.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// The name of all of them; empty for none.
    key: String,
    /// Links that may not be recorded yet.
    pending: Vec<Link>,
}

#[derive(Clone, Debug)]
struct Link {
    key: String,
    below: Option<String>,
    top: LayerId,
    /// It was looked whether it needs a fix-up, and it needs none.
    needs_none: bool,
}

impl Chain {
    /// Puts a layer on it.
    pub fn push(&mut self, layer: &LayerId) {
        let key = Digest::of(format!("{}/{layer}", self.key).as_bytes()).hex();
        let below = std::mem::replace(&mut self.key, key.clone());
        let below = Some(below).filter(|below| !below.is_empty());
        self.pending.push(Link { key, below, top: layer.clone(), needs_none: false });
    }

    /// Notes that its last layer needs no fix-up. [`Store::record_chain`] records it.
    pub fn needs_none(&mut self) {
        if let Some(last) = self.pending.last_mut() {
            last.needs_none = true;
        }
    }
}

impl Store {
    /// Returns the fix-up of the last layer of a chain: `None` if nobody looked yet, `Some(None)` if it needs none.
    pub fn fixup(&self, chain: &Chain) -> Result<Option<Option<LayerId>>, StoreError> {
        self.read("find a fix-up", |connection| fixup_of(connection, &chain.key))
    }

    /// Records the fix-up of the last layer of a chain; returns the one that stands: another process may have been first.
    pub fn record_fixup(&self, chain: &mut Chain, fixup: &LayerId) -> Result<LayerId, StoreError> {
        let stands = self.write("record a fix-up", |transaction| {
            put_links(transaction, &chain.pending)?;
            if let Some(Some(known)) = fixup_of(transaction, &chain.key)? {
                return Ok(known);
            }
            let sql = "UPDATE chains SET looked = 1, fixup = ?2 WHERE key = ?1";
            transaction.execute(sql, params![chain.key, fixup.as_str()])?;
            Ok(fixup.clone())
        })?;
        chain.pending.clear();
        Ok(stands)
    }

    /// Records which layers of a chain need no fix-up. What is lost of that can be found out again.
    pub fn record_chain(&self, chain: &mut Chain) -> Result<(), StoreError> {
        let Some(last) = chain.pending.iter().rposition(|link| link.needs_none) else { return Ok(()) };
        self.write_lazily("record a chain", |transaction| put_links(transaction, &chain.pending[..=last]))?;
        chain.pending.drain(..=last);
        Ok(())
    }

    /// Forgets that a layer is the fix-up of a chain.
    pub(crate) fn forget_fixup(transaction: &Transaction<'_>, layer: &LayerId) -> rusqlite::Result<()> {
        let sql = "UPDATE chains SET looked = 0, fixup = NULL WHERE fixup = ?1";
        transaction.execute(sql, [layer.as_str()]).map(drop)
    }
}

/// A fix-up that was lost in a power cut counts as not looked for.
fn fixup_of(connection: &Connection, key: &str) -> rusqlite::Result<Option<Option<LayerId>>> {
    let sql = "SELECT fixup FROM chains WHERE key = ?1 AND looked = 1
               AND (fixup IS NULL OR fixup IN (SELECT id FROM layers))";
    let layer = |row: &Row<'_>| Ok(row.get::<_, Option<String>>(0)?.map(LayerId::from_database));
    connection.prepare_cached(sql)?.query_row([key], layer).optional()
}

fn put_links(transaction: &Transaction<'_>, links: &[Link]) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO chains (key, below, top, looked) VALUES (?1, ?2, ?3, 0)";
    let mut insert = transaction.prepare_cached(sql)?;
    let mut note = transaction.prepare_cached("UPDATE chains SET looked = 1, fixup = NULL WHERE key = ?1")?;
    for link in links {
        insert.execute(params![link.key, link.below, link.top.as_str()])?;
        if link.needs_none {
            note.execute([&link.key])?;
        }
    }
    Ok(())
}

/// All chains that are recorded.
#[derive(Debug, Default)]
pub(crate) struct Chains(HashMap<String, Recorded>);

#[derive(Debug)]
struct Recorded {
    below: Option<String>,
    top: String,
    fixup: Option<String>,
}

impl Chains {
    pub(crate) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let recorded = |row: &Row<'_>| {
            Ok((row.get(0)?, Recorded { below: row.get(1)?, top: row.get(2)?, fixup: row.get(3)? }))
        };
        let sql = "SELECT key, below, top, fixup FROM chains";
        connection.prepare(sql)?.query_map([], recorded)?.collect::<Result<_, _>>().map(Self)
    }

    /// Returns for each fix-up what `of` says of its layers, put together by `and`; `missing` is said of those that are not there.
    pub(crate) fn fixups<T: Copy>(
        &self,
        missing: T,
        of: impl Fn(&str) -> T,
        and: impl Fn(T, T) -> T,
    ) -> Vec<(String, T)> {
        let known = self.judge(missing, of, and);
        let fixups = self.0.iter().filter_map(|(key, link)| Some((link.fixup.clone()?, *known.get(key)?)));
        fixups.collect()
    }

    /// Judges each chain by its layers.
    fn judge<T: Copy>(
        &self,
        missing: T,
        of: impl Fn(&str) -> T,
        and: impl Fn(T, T) -> T,
    ) -> HashMap<&String, T> {
        let mut known: HashMap<&String, T> = HashMap::new();
        for start in self.0.keys() {
            // Down to what is known, and up again: a chain may be longer than the stack is deep.
            let mut way: Vec<(&String, &Recorded)> = Vec::new();
            let mut judged = None;
            let mut next = Some(start);
            while let Some(key) = next {
                let Some((key, link)) = self.0.get_key_value(key) else {
                    judged = Some(missing);
                    break;
                };
                if let Some(found) = known.get(key) {
                    judged = Some(*found);
                    break;
                }
                way.push((key, link));
                next = link.below.as_ref();
            }
            for (key, link) in way.into_iter().rev() {
                let own = of(&link.top);
                let all = judged.map_or(own, |below| and(below, own));
                known.insert(key, all);
                judged = Some(all);
            }
        }
        known
    }
}

/// Drops chains of which a layer is not `kept`, with what mends them, unless it is `needed` itself; what mends others is kept.
pub(crate) fn drop_chains(
    connection: &Connection,
    needed: &HashSet<String>,
    kept: &mut HashSet<String>,
) -> rusqlite::Result<()> {
    let chains = Chains::load(connection)?;
    let whole = chains.judge(false, |layer| kept.contains(layer), |below, own| below && own);
    let mut mending = Vec::new();
    let mut drop_chain = connection.prepare("DELETE FROM chains WHERE key = ?1")?;
    let mut drop_layer = connection.prepare("DELETE FROM layers WHERE id = ?1")?;
    for (key, is_whole) in whole {
        let fixup = &chains.0[key].fixup;
        if is_whole {
            mending.extend(fixup);
            continue;
        }
        drop_chain.execute([key])?;
        match fixup {
            Some(fixup) if needed.contains(fixup) => mending.push(fixup),
            Some(fixup) => drop(drop_layer.execute([fixup])?),
            None => {}
        }
    }
    kept.extend(mending.into_iter().cloned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LayerNotes, LayerRow};

    fn chain(layers: &[&LayerId]) -> Chain {
        let mut chain = Chain::default();
        layers.iter().for_each(|layer| chain.push(layer));
        chain
    }

    #[test]
    fn a_chain_is_known_by_all_its_layers_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let [a, b, fixup] = [(); 3].map(|()| LayerId::unique(1));
        store
            .record_layer(&LayerRow {
                id: fixup.clone(),
                diff_id: None,
                size: 0,
                notes: LayerNotes::default(),
            })
            .unwrap();
        assert_eq!(store.record_fixup(&mut chain(&[&a, &b]), &fixup).unwrap(), fixup);
        // Another process was first.
        assert_eq!(store.record_fixup(&mut chain(&[&a, &b]), &a).unwrap(), fixup);
        let mut plain = chain(&[&b, &a]);
        plain.needs_none();
        store.record_chain(&mut plain).unwrap();
        for (name, layers, want) in [
            ("with a fix-up", &[&a, &b][..], Some(Some(fixup.clone()))),
            ("that needs none", &[&b, &a], Some(None)),
            ("the beginning of one", &[&a], None),
            ("another one", &[&a, &a], None),
            ("a longer one", &[&a, &b, &a], None),
        ] {
            assert_eq!(store.fixup(&chain(layers)).unwrap(), want, "case {name}");
        }
        store.write("test", |transaction| Store::forget_fixup(transaction, &fixup)).unwrap();
        assert_eq!(store.fixup(&chain(&[&a, &b])).unwrap(), None);
    }

    #[test]
    fn what_is_recorded_of_a_chain_grows_with_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut long = Chain::default();
        for number in 0..20_000 {
            long.push(&LayerId::unique(number));
            long.needs_none();
        }
        store.record_chain(&mut long).unwrap();
        let size = |name: &str| fs_err::metadata(dir.path().join(name)).map_or(0, |found| found.len());
        assert!(size("store.db") + size("store.db-wal") < 32 << 20);
        assert_eq!(store.fixup(&long).unwrap(), Some(None));
        store.gc(0).unwrap().unwrap();
        assert_eq!(store.fixup(&long).unwrap(), None);
    }
}
