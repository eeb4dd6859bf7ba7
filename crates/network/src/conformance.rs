//! One suite for every network: a check for each promise of [`SandboxNetwork`].

use std::collections::HashSet;

use crate::{NetworkError, SandboxNetwork};

/// Checks every promise, each on a network of its own.
///
/// # Panics
///
/// Where a promise is not kept.
pub fn conformance(mut new: impl FnMut() -> Box<dyn SandboxNetwork>) {
    for (promise, check) in PROMISES {
        let network = new();
        let kept = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(network.as_ref())));
        assert!(kept.is_ok(), "not kept: {promise}");
    }
}

type Check = fn(&dyn SandboxNetwork);

const PROMISES: [(&str, Check); 6] = [
    ("a sandbox is listed with all that it was created with", |network| {
        let made = network.create("one").expect("created");
        assert_eq!(network.list().expect("listed"), std::slice::from_ref(&made));
        assert_eq!(made.id, "one");
        assert_ne!(made.address, made.gateway);
        let shift = 32 - u32::from(made.prefix);
        assert_eq!(u32::from(made.address) >> shift, u32::from(made.gateway) >> shift);
    }),
    ("creating it again returns the same one", |network| {
        let made = network.create("one").expect("created");
        assert_eq!(network.create("one").expect("found"), made);
        assert_eq!(network.list().expect("listed").len(), 1);
    }),
    ("two sandboxes share neither address nor namespace, and are listed by id", |network| {
        let second = network.create("b").expect("created");
        let first = network.create("a").expect("created");
        assert_ne!(first.address, second.address);
        assert_ne!(first.mac, second.mac);
        assert_ne!(first.netns, second.netns);
        assert_eq!(network.list().expect("listed"), [first, second]);
    }),
    (
        "removing it takes it from the list, twice is no error, and its address is not the next one",
        |network| {
            let made = network.create("one").expect("created");
            for _ in 0..2 {
                network.remove("one").expect("removed");
                assert_eq!(network.list().expect("listed"), []);
            }
            assert_ne!(network.create("two").expect("created").address, made.address);
        },
    ),
    ("ids that are no file names are refused", |network| {
        for id in ["", ".", "..", "a/b", "-a", ".a", "a b", "ä", &"a".repeat(129)] {
            assert!(matches!(network.create(id), Err(NetworkError::InvalidId { .. })), "`{id}`");
            assert!(matches!(network.remove(id), Err(NetworkError::InvalidId { .. })), "`{id}`");
        }
        network.create(&"a".repeat(128)).expect("created");
    }),
    ("many at once all get addresses of their own", |network| {
        let made = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..8)
                .map(|worker| scope.spawn(move || network.create(&format!("worker-{worker}"))))
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().expect("no panic").expect("created").address)
                .collect()
        });
        let made: HashSet<std::net::Ipv4Addr> = made;
        assert_eq!(made.len(), 8);
        assert_eq!(network.list().expect("listed").len(), 8);
    }),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bridge, BridgeConfig, Sandbox};
    use shipway_linux::{NetworkNamespace, forget_private_mounts};
    use shipway_testkit::{Need, require};

    /// A bridge on a host of its own: every call is made in its namespace.
    #[derive(Debug)]
    struct Elsewhere {
        host: NetworkNamespace,
        folder: tempfile::TempDir,
        bridge: Bridge,
    }

    impl Elsewhere {
        fn new() -> Self {
            let host = NetworkNamespace::new().unwrap();
            let folder = tempfile::tempdir().unwrap();
            let config = BridgeConfig { root_id: "c0f0".into(), state_root: folder.path().to_owned() };
            let bridge = host.run(|| Bridge::open(config).unwrap()).unwrap();
            Self { host, folder, bridge }
        }
    }

    impl SandboxNetwork for Elsewhere {
        fn create(&self, id: &str) -> Result<Sandbox, NetworkError> {
            self.host.run(|| self.bridge.create(id)).unwrap()
        }

        fn remove(&self, id: &str) -> Result<(), NetworkError> {
            self.host.run(|| self.bridge.remove(id)).unwrap()
        }

        fn list(&self) -> Result<Vec<Sandbox>, NetworkError> {
            self.host.run(|| self.bridge.list()).unwrap()
        }
    }

    impl Drop for Elsewhere {
        fn drop(&mut self) {
            let namespaces = self.folder.path().join("network/netns");
            for entry in fs_err::read_dir(&namespaces).into_iter().flatten().flatten() {
                drop(NetworkNamespace::delete(&entry.path()));
            }
            drop(forget_private_mounts(&namespaces));
        }
    }

    #[test]
    fn a_bridge_keeps_every_promise() {
        if require(&[Need::Root]) {
            conformance(|| Box::new(Elsewhere::new()));
        }
    }
}
