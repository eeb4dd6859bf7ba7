//! From the diff IDs of an image to the layers that are mounted: its own, and those that mend the chain.
//!
//! A fix-up goes right on top of the layer that needs it. So it depends on the layers up to that one only, and every image that
//! begins with the same layers shares it. It is made when the chain is first asked for, is on the disk before it is recorded,
//! and goes when a layer of its chain goes. That none is needed is recorded too.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use shipway_linux::{MAX_LOWERS, Overlay, Root};
use shipway_oci::DiffId;
use shipway_store::{Chain, LayerId, LayerNotes, LayerRow};

use crate::chain::{Repair, plan};
use crate::fixup::{Mending, Mounts};
use crate::refusal::Refusal;
use crate::stack::Stack;
use crate::tidy::tidy;
use crate::unpacked::Unpacked;
use crate::whole::unpack_whole;
use crate::{LayerError, LayerStore as _, Snapshot};

impl Unpacked {
    /// Finds the layers of a chain, base first, each followed by its fix-up where it needs one.
    pub(crate) fn resolve_chain(&self, diff_ids: &[DiffId]) -> Result<Vec<LayerId>, LayerError> {
        // What is found must not be collected before it is used; callers hold a lease of their own for longer.
        let _lease = self.store.lease().map_err(|source| LayerError::LookUp { source })?;
        let mut chain = Chain::default();
        let mut mounted: Vec<LayerId> = Vec::new();
        let mut pile = Pile::default();
        let mut opened = Opened { all_plain: true, ..Opened::new(self) };
        let mut last: Option<(DiffId, LayerId)> = None;
        for diff_id in diff_ids {
            // What lies on itself changes nothing.
            if let Some((_, id)) = last.as_ref().filter(|(last, _)| last == diff_id) {
                mounted.push(id.clone());
                continue;
            }
            let row = self.store.layer_of(*diff_id).map_err(|source| LayerError::LookUp { source })?;
            let row = row.ok_or_else(|| LayerError::NoLayer(diff_id.to_string()))?;
            chain.push(&row.id);
            let fixup = self.fixup(&mut chain, &pile, &row, &mut opened)?;
            opened.all_plain &= is_plain(&row) && fixup.is_none();
            last = fixup.is_none().then(|| (*diff_id, row.id.clone()));
            for id in [row.id].into_iter().chain(fixup) {
                pile.push(&id);
                mounted.push(id);
            }
        }
        if let Some(top) = mounted.last() {
            self.record_chain(&mut chain, top)?;
        }
        Ok(mounted)
    }

    fn record_chain(&self, chain: &mut Chain, top: &LayerId) -> Result<(), LayerError> {
        // It is found out again each time.
        if self.store.is_read_only() {
            return Ok(());
        }
        let recorded = self.store.record_chain(chain);
        recorded.map_err(|source| LayerError::Record { id: top.clone(), source })
    }

    /// Puts one more layer on a chain that is mounted as it is, with its fix-up where it needs one.
    pub(crate) fn stack_layer(&self, below: &[LayerId], layer: &LayerId) -> Result<Vec<LayerId>, LayerError> {
        let _lease = self.store.lease().map_err(|source| LayerError::LookUp { source })?;
        let row = self.row(layer)?;
        let (mut chain, mut pile) = (Chain::default(), Pile::default());
        self.own_layers(below)?.iter().for_each(|own| chain.push(own));
        chain.push(layer);
        below.iter().for_each(|id| pile.push(id));
        let fixup = self.fixup(&mut chain, &pile, &row, &mut Opened::new(self))?;
        self.record_chain(&mut chain, layer)?;
        Ok(below.iter().cloned().chain([row.id]).chain(fixup).collect())
    }

    /// Returns those of the layers that are an image's own.
    pub(crate) fn own_layers(&self, layers: &[LayerId]) -> Result<Vec<LayerId>, LayerError> {
        let mut own = Vec::new();
        for id in layers {
            if !self.row(id)?.notes.fixup {
                own.push(id.clone());
            }
        }
        Ok(own)
    }

    /// Returns the fix-up of the last layer of `chain`, which lies on `below`.
    fn fixup(
        &self,
        chain: &mut Chain,
        below: &Pile,
        layer: &LayerRow,
        opened: &mut Opened<'_>,
    ) -> Result<Option<LayerId>, LayerError> {
        let LayerNotes { implied, links, hiding, empties_root, .. } = &layer.notes;
        let speaks_of_lower = !implied.is_empty() || !links.is_empty() || *empties_root;
        if hiding.is_empty() && (!speaks_of_lower || below.is_empty() && links.is_empty()) {
            return Ok(None);
        }
        if let (true, Some((name, _))) = (below.is_empty(), links.first()) {
            let reason = Refusal::Reason("a hard link to a file that no layer has");
            return Err(reason.of(&name.0.to_string_lossy()));
        }
        if let Some(known) = self.store.fixup(chain).map_err(|source| LayerError::LookUp { source })? {
            return Ok(known);
        }
        // No kernel mounts what it would mend.
        if below.len() >= MAX_LOWERS {
            return Ok(None);
        }
        let needs_none = opened.all_plain && says_nothing_else(layer);
        let made = if needs_none { None } else { self.make_fixup(below, layer, opened)? };
        let Some(made) = made else {
            chain.needs_none();
            return Ok(None);
        };
        let record = self.store.record_fixup(chain, &made);
        record.map(Some).map_err(|source| LayerError::Record { id: made, source })
    }

    fn make_fixup(
        &self,
        below: &Pile,
        layer: &LayerRow,
        opened: &mut Opened<'_>,
    ) -> Result<Option<LayerId>, LayerError> {
        let path = self.path(&layer.id);
        let tree = opened.get(&layer.id)?;
        let stack = Stack::new(below.iter().rev().map(|id| opened.get(id)).collect::<Result<_, _>>()?);
        let repairs = plan(&stack, &tree, &layer.notes).map_err(LayerError::io("compare", &path))?;
        if repairs.is_empty() {
            return Ok(None);
        }
        let below: Vec<LayerId> = below.iter().cloned().collect();
        let lowers: Vec<LayerId> = below.iter().chain([&layer.id]).cloned().collect();
        let mut snapshot = self.prepare(&lowers)?;
        // Names of one file are told by its inode's number, which is not the same in each mount if an index is among what is mounted.
        let moves_names =
            repairs.iter().any(|repair| matches!(repair, Repair::Link { .. } | Repair::Follow { .. }));
        let trees = Trees::new(self, &lowers, moves_names)?;
        snapshot.lowers = trees.view(&lowers);
        let tree = match trees.unpacked.get(&layer.id) {
            Some(own) => Rc::new(Root::open(&own.upper).map_err(LayerError::io("open", &own.upper))?),
            None => tree,
        };
        let upper = Root::open(&snapshot.upper).map_err(LayerError::io("open", &snapshot.upper))?;
        for repair in &repairs {
            if let Repair::Hide(name) = repair {
                let made = upper.make_node(name, 0o020_000, 0);
                made.map_err(LayerError::io("hide", name))?;
            }
        }
        let mount = |overlay: &Overlay| {
            let mounted = overlay.mount_detached().map(Root::from_fd);
            mounted.map_err(LayerError::io("mount the layers up to", &path))
        };
        let read_only = |lowers| Overlay { lowers, ..Overlay::default() };
        let under = mount(&read_only(trees.view(&below)))?;
        let before = mount(&read_only(snapshot.lowers.clone()))?;
        let after = mount(&snapshot.overlay())?;
        let mounts = Mounts { below: &under, before: &before, after: &after };
        let implied: HashSet<&Path> = layer.notes.implied.iter().map(|path| path.0.as_path()).collect();
        let mended = Mending::new(&tree, implied, mounts).run(&repairs);
        mended.map_err(|(path, refusal)| refusal.of(&path.to_string_lossy()))?;
        drop((under, before, after, tree));
        tidy(&snapshot.upper, &snapshot.lowers, None).map_err(LayerError::io("tidy", &snapshot.upper))?;
        let id = self.adopt(&snapshot.upper)?;
        let notes = LayerNotes { fixup: true, ..LayerNotes::default() };
        self.record(&LayerRow { id: id.clone(), diff_id: None, size: 0, notes })?;
        self.sync()?;
        tracing::debug!(layer = %layer.id, fixup = %id, repairs = repairs.len(), "mended a chain");
        Ok(Some(id))
    }
}

/// Returns whether a layer's root is as an index has it whose archive does not name it.
fn is_plain(layer: &LayerRow) -> bool {
    let implies_root = layer.notes.implied.first().is_some_and(|path| path.0.as_os_str().is_empty());
    layer.id.is_indexed() && layer.notes.root.is_none() && implies_root
}

/// Returns whether a layer is one of those, and implies nothing but its root.
fn says_nothing_else(layer: &LayerRow) -> bool {
    let LayerNotes { implied, links, hiding, empties_root, .. } = &layer.notes;
    is_plain(layer) && implied.len() == 1 && links.is_empty() && hiding.is_empty() && !empties_root
}

/// Layers that lie on each other, each once: of one that comes again only the upper place counts.
#[derive(Debug, Default)]
struct Pile {
    by_place: BTreeMap<usize, LayerId>,
    places: HashMap<LayerId, usize>,
    height: usize,
}

impl Pile {
    fn push(&mut self, id: &LayerId) {
        if let Some(before) = self.places.insert(id.clone(), self.height) {
            self.by_place.remove(&before);
        }
        self.by_place.insert(self.height, id.clone());
        self.height += 1;
    }

    fn len(&self) -> usize {
        self.places.len()
    }

    fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns them, base first.
    fn iter(&self) -> impl DoubleEndedIterator<Item = &LayerId> {
        self.by_place.values()
    }
}

/// Layers that are open, each once: to open an index is to mount it.
struct Opened<'a> {
    layers: &'a Unpacked,
    roots: HashMap<LayerId, Rc<Root>>,
    /// The roots of all layers up to here are as an index has them that says nothing of its root.
    all_plain: bool,
}

impl<'a> Opened<'a> {
    fn new(layers: &'a Unpacked) -> Self {
        Self { layers, roots: HashMap::new(), all_plain: false }
    }

    fn get(&mut self, id: &LayerId) -> Result<Rc<Root>, LayerError> {
        if let Some(root) = self.roots.get(id) {
            return Ok(Rc::clone(root));
        }
        let root = Rc::new(self.layers.open_layer(id)?);
        self.roots.insert(id.clone(), Rc::clone(&root));
        Ok(root)
    }
}

/// Layers for the time that it takes to mend them.
struct Trees<'a> {
    layers: &'a Unpacked,
    /// Those that are unpacked for that time.
    unpacked: HashMap<LayerId, Snapshot>,
}

impl<'a> Trees<'a> {
    fn new(layers: &'a Unpacked, ids: &[LayerId], unpacks: bool) -> Result<Self, LayerError> {
        let mut unpacked = HashMap::new();
        for id in ids.iter().filter(|id| unpacks && id.is_indexed()) {
            let snapshot = layers.prepare_empty()?;
            unpack_whole(&snapshot.upper, &mut layers.open_archive(id)?, None, None)?;
            unpacked.insert(id.clone(), snapshot);
        }
        Ok(Self { layers, unpacked })
    }

    fn lower(&self, id: &LayerId) -> PathBuf {
        self.unpacked.get(id).map_or_else(|| self.layers.lower(id), |snapshot| snapshot.upper.clone())
    }

    /// Returns what [`crate::LayerStore::view`] does.
    fn view(&self, ids: &[LayerId]) -> Vec<PathBuf> {
        self.layers.view_of(ids, &|id| self.lower(id))
    }
}
