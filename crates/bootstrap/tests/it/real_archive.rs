//! The archive that this machine's apt is told of.

use std::time::{Instant, SystemTime};

use shipway_bootstrap::{Deps, Event, Phase, Progress, Request, run};
use shipway_layers::{LayerStore as _, Unpacked};
use shipway_store::Store;
use shipway_testkit::{Need, require};

use crate::chroot::Chroot;

#[derive(Debug)]
struct Printed(Instant);

impl Progress for Printed {
    fn event(&self, event: &Event<'_>) {
        let seconds = self.0.elapsed().as_secs_f32();
        match event {
            Event::Packages { done, total, .. } if done < total => {}
            Event::Phase(phase) => println!("{seconds:6.2} {}", Phase::title(*phase)),
            other => println!("{seconds:6.2} {other:?}"),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "signatures and lists of a real archive expire in real time")]
fn now() -> SystemTime {
    SystemTime::now()
}

#[test]
fn the_hosts_archive_becomes_an_image_and_the_second_time_it_is_there() {
    if !require(&[Need::Root, Need::Registries]) {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let layers = Unpacked::open(store.clone());
    let fetch = shipway_fetch::Config::from_environment().unwrap();
    let progress = Printed(Instant::now());
    let deps = Deps { store: &store, layers: &layers, runner: &Chroot, fetch: &fetch, progress: &progress };
    let made = run(&Request::new(now()), &deps).unwrap();
    assert!(!made.cached);
    println!("{:6.2} {} packages", progress.0.elapsed().as_secs_f32(), made.packages.len());

    let tree = layers.view(std::slice::from_ref(&made.layer)).remove(0);
    let status = fs_err::read_to_string(tree.join("var/lib/dpkg/status")).unwrap();
    let states: Vec<&str> = status.lines().filter(|line| line.starts_with("Status: ")).collect();
    assert_eq!(states.len(), made.packages.len());
    assert!(states.iter().all(|state| *state == "Status: install ok installed"), "{states:?}");
    for file in [
        "usr/bin/apt-get",
        "usr/bin/sh",
        "etc/passwd",
        "etc/ssl/certs/ca-certificates.crt",
        "etc/ld.so.cache",
    ] {
        assert!(tree.join(file).exists(), "{file}");
    }
    assert_eq!(fs_err::read_link(tree.join("bin")).unwrap().to_str(), Some("usr/bin"));
    let left_over = status.contains("dpkg-new");
    assert!(!left_over);

    let again = run(&Request::new(now()), &deps).unwrap();
    assert!(again.cached);
    assert_eq!((again.image_id, again.layer), (made.image_id, made.layer));
    let config = store.config(&made.image_id).unwrap();
    assert_eq!(config.config.cmd.as_deref(), Some(&["bash".to_owned()][..]));
    assert!(store.images().unwrap().iter().any(|image| image.name.as_ref() == Some(&made.names[0])));
}
