//! Who keeps what: for every layer, blob and unfinished file, what has to go before it does.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use shipway_oci::Digest;

use crate::chains::Chains;
use crate::gc::Needed;
use crate::{LayerRow, Store, StoreError};

/// Who has a layer or a blob. Without any, [`Store::gc`] removes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// An image.
    pub image: bool,
    /// An image that is in use, or a container's snapshot.
    pub in_use: bool,
    /// A repository of our own registry, also one that caches another registry's.
    pub registry: bool,
    /// A step of the build cache.
    pub step: bool,
}

/// What the store has and who keeps it.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Unpacked layers.
    pub layers: Vec<(LayerRow, Holders)>,
    /// Manifests, configs and compressed layers, with their bytes.
    pub blobs: Vec<(Digest, u64, Holders)>,
    /// Files and directories of work that is going on, or that was interrupted.
    pub unfinished: Vec<PathBuf>,
    /// How many repositories our own registry has.
    pub repositories: usize,
    /// How many steps the build cache has.
    pub steps: usize,
}

impl Holders {
    fn with(self, other: Self) -> Self {
        Self {
            image: self.image || other.image,
            in_use: self.in_use || other.in_use,
            registry: self.registry || other.registry,
            step: self.step || other.step,
        }
    }

    fn least(self, other: Self) -> Self {
        Self {
            image: self.image && other.image,
            in_use: self.in_use && other.in_use,
            registry: self.registry && other.registry,
            step: self.step && other.step,
        }
    }
}

impl Store {
    /// Returns who keeps what. `used` are the IDs of images that nobody may remove now, `now` is seconds since the epoch.
    pub fn ledger(&self, used: &HashSet<Digest>, now: i64) -> Result<Ledger, StoreError> {
        let needed = self.needed()?;
        let in_use = self.needed_by(|id| used.contains(id), StoreError::is_of_document)?;
        let hosted = self.hosted_now(now)?;
        let on_steps: HashSet<String> = self.read("list the build cache", |connection| {
            let mut statement =
                connection.prepare("SELECT DISTINCT layer FROM steps WHERE layer IS NOT NULL")?;
            statement.query_map([], |row| row.get(0))?.collect()
        })?;
        let of_blob = |hex: &str| Holders {
            image: needed.blobs.contains(hex),
            in_use: in_use.blobs.contains(hex),
            registry: hosted.contains(hex),
            step: false,
        };
        let of_layer = |row: &LayerRow| {
            let diff_id = row.diff_id.map(|diff_id| diff_id.to_string());
            let needs = |needed: &Needed| diff_id.as_ref().is_some_and(|id| needed.diff_ids.contains(id));
            Holders {
                image: needs(&needed),
                in_use: needs(&in_use) || in_use.layers.contains(row.id.as_str()),
                registry: row.diff_id.is_some_and(|id| hosted.contains(&id.0.hex())),
                step: on_steps.contains(row.id.as_str()),
            }
        };
        let mut layers: Vec<(LayerRow, Holders)> = self
            .layers()?
            .into_iter()
            .map(|row| {
                let holders = of_layer(&row);
                (row, holders)
            })
            .collect();
        self.add_fixups(&mut layers)?;
        let packed = self.packed_of(&layers)?;
        let blobs = self.blobs()?.into_iter().map(|(digest, size)| {
            let hex = digest.hex();
            // A compressed layer stays as long as its files.
            let holders = of_blob(&hex).with(packed.get(&hex).copied().unwrap_or_default());
            (digest, size, holders)
        });
        let (repositories, steps) = self.read("count what is kept", |connection| {
            let count = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
            Ok((
                count("SELECT count(DISTINCT repository) FROM hosted_manifests")?,
                count("SELECT count(*) FROM steps")?,
            ))
        })?;
        Ok(Ledger {
            blobs: blobs.collect(),
            layers,
            unfinished: self.strangers("tmp", |_| false)?,
            repositories: usize::try_from(repositories).unwrap_or_default(),
            steps: usize::try_from(steps).unwrap_or_default(),
        })
    }

    /// A fix-up stays as long as every layer of its chain: whoever keeps the least kept of them keeps it.
    fn add_fixups(&self, layers: &mut [(LayerRow, Holders)]) -> Result<(), StoreError> {
        let chains = self.read("list chains", Chains::load)?;
        let places: HashMap<String, usize> =
            layers.iter().enumerate().map(|(place, (row, _))| (row.id.to_string(), place)).collect();
        let of_layer = |id: &str| places.get(id).map(|place| layers[*place].1).unwrap_or_default();
        for (fixup, holders) in chains.fixups(Holders::default(), of_layer, Holders::least) {
            if let Some(place) = places.get(&fixup) {
                layers[*place].1 = layers[*place].1.with(holders);
            }
        }
        Ok(())
    }

    /// Returns who keeps the layers that compressed ones are of, by the hex digests of these.
    fn packed_of(&self, layers: &[(LayerRow, Holders)]) -> Result<HashMap<String, Holders>, StoreError> {
        let known: HashMap<String, Holders> =
            layers.iter().filter_map(|(row, holders)| Some((row.diff_id?.to_string(), *holders))).collect();
        let packed: Vec<(String, String)> = self.read("list compressed layers", |connection| {
            let mut statement = connection.prepare("SELECT diff_id, digest FROM packed")?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })?;
        let mut found: HashMap<String, Holders> = HashMap::new();
        for (diff_id, digest) in packed {
            let hex = digest.strip_prefix("sha256:").unwrap_or(&digest).to_owned();
            let holders = found.entry(hex).or_default();
            *holders = holders.with(known.get(&diff_id).copied().unwrap_or_default());
        }
        Ok(found)
    }
}
