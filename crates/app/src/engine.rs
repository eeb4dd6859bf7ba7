//! The parts that image and container verbs share.

use std::path::Path;

use shipway_layers::Unpacked;
use shipway_runtime::Containers;
use shipway_store::Store;

use crate::failure::Failure;
use crate::roots::Roots;

/// Everything below one pair of roots.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    pub(crate) roots: Roots,
    pub(crate) store: Store,
    pub(crate) layers: Unpacked,
    pub(crate) containers: Containers,
}

impl Engine {
    /// Opens store, layers and containers. With `SHIPWAY_LAYERS=unpacked` archives are unpacked also where an index would do.
    pub(crate) fn open(roots: Roots) -> Result<Self, Failure> {
        let store = Store::open(&roots.data)?;
        let unpacks = std::env::var_os("SHIPWAY_LAYERS").is_some_and(|kept| kept == "unpacked");
        let open = if unpacks { Unpacked::open_unpacking } else { Unpacked::open };
        let layers = open(store.clone());
        let containers = Containers::open(&roots.state, Path::new("/proc/self/exe"))?;
        Ok(Self { roots, store, layers, containers })
    }
}
