//! The parts that image and container verbs share.

use std::path::Path;

use shipway_layers::Unpacked;
use shipway_runtime::Containers;
use shipway_store::Store;

use crate::failure::Failure;
use crate::roots::Roots;

/// So many are enough for the tallest chain. Not all that the machine allows: programs that we start may close each of them.
const OPEN_FILES: u64 = 1 << 16;
/// Says which layers are kept as archives that the kernel mounts: `archives` for all that can be, `unpacked` for none. Without it those
/// that are not taken in as archives, but made here of many files.
const LAYERS: &str = "SHIPWAY_LAYERS";

/// Everything below one pair of roots.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    pub(crate) roots: Roots,
    pub(crate) store: Store,
    pub(crate) layers: Unpacked,
    pub(crate) containers: Containers,
}

impl Engine {
    /// Opens store, layers and containers.
    pub(crate) fn open(roots: Roots) -> Result<Self, Failure> {
        // A chain of layers may be one open file for each. What runs in containers gets limits of its own.
        drop(shipway_linux::limit_open_files(OPEN_FILES, u64::MAX));
        let store = Store::open(&roots.data)?;
        let open = match std::env::var(LAYERS).as_deref() {
            Err(_) | Ok("") => Unpacked::open,
            Ok("archives") => Unpacked::open_archiving,
            Ok("unpacked") => Unpacked::open_unpacking,
            Ok(other) => {
                return Err(Failure::new(
                    format!("{LAYERS}: layers are not kept as `{other}`"),
                    "leave it unset, or set it to `archives` or `unpacked`",
                ));
            }
        };
        let layers = open(store.clone());
        let containers = Containers::open(&roots.state, Path::new("/proc/self/exe"))?;
        Ok(Self { roots, store, layers, containers })
    }
}
