//! Whose the layers and blobs of the store are.

use std::collections::HashSet;

use shipway_oci::Digest;
use shipway_store::{Holders, Ledger};

use super::Share;
use crate::budget;
use crate::clock;
use crate::disk::tree;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::in_use;

/// Each layer and blob counts once, for the first of these that has it.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    pub(super) images: Share,
    /// What repositories have and no image.
    pub(super) registry: Share,
    /// Bytes of layers that only containers stand on.
    pub(super) of_containers: u64,
    /// Layers of steps that are in nothing else.
    pub(super) cache: Share,
    /// What nobody needs: removed with the next collection.
    pub(super) leftovers: Share,
}

impl Holdings {
    pub(super) fn find(engine: &Engine) -> Result<Self, Failure> {
        let used = in_use::images(engine)?;
        let ledger = engine.store.ledger(&used, engine.store.steady(clock::now()))?;
        let ids: HashSet<Digest> = engine.store.images()?.into_iter().map(|image| image.image_id).collect();
        let mut holdings = Self::default();
        holdings.images.total = ids.len();
        holdings.images.active = ids.intersection(&used).count();
        holdings.registry.total = ledger.repositories;
        holdings.registry.active = ledger.repositories;
        holdings.cache.total = ledger.steps;
        holdings.add_all(engine, &ledger);
        Ok(holdings)
    }

    fn add_all(&mut self, engine: &Engine, ledger: &Ledger) {
        for (row, holders) in &ledger.layers {
            self.add(*holders, budget::size(engine, row));
        }
        for (_, bytes, holders) in &ledger.blobs {
            self.add(*holders, *bytes);
        }
        for path in &ledger.unfinished {
            let bytes =
                if path.is_dir() { tree(path).1 } else { fs_err::metadata(path).map_or(0, |it| it.len()) };
            self.add(Holders::default(), bytes);
        }
    }

    fn add(&mut self, holders: Holders, bytes: u64) {
        let is_kept = holders.in_use || holders.registry;
        match holders {
            Holders { image: true, .. } => self.images.add(bytes, !is_kept),
            Holders { registry: true, .. } => self.registry.add(bytes, false),
            Holders { in_use: true, .. } => self.of_containers += bytes,
            Holders { step: true, .. } => self.cache.add(bytes, true),
            Holders { .. } => {
                self.leftovers.total += 1;
                self.leftovers.add(bytes, true);
            }
        }
    }
}

impl Share {
    fn add(&mut self, bytes: u64, is_reclaimable: bool) {
        self.bytes += bytes;
        self.reclaimable += if is_reclaimable { bytes } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_counts_once_and_for_who_keeps_it_longest() {
        let mut holdings = Holdings::default();
        let none = Holders::default();
        for (holders, bytes) in [
            (Holders { image: true, step: true, ..none }, 1),
            (Holders { image: true, in_use: true, ..none }, 10),
            (Holders { image: true, registry: true, ..none }, 100),
            (Holders { registry: true, step: true, ..none }, 1_000),
            (Holders { in_use: true, ..none }, 10_000),
            (Holders { step: true, ..none }, 100_000),
            (none, 1_000_000),
        ] {
            holdings.add(holders, bytes);
        }
        let sums = |share: Share| (share.bytes, share.reclaimable);
        assert_eq!(sums(holdings.images), (111, 1));
        assert_eq!(sums(holdings.registry), (1_000, 0));
        assert_eq!(holdings.of_containers, 10_000);
        assert_eq!(sums(holdings.cache), (100_000, 100_000));
        assert_eq!((holdings.leftovers.total, sums(holdings.leftovers)), (1, (1_000_000, 1_000_000)));
    }
}
