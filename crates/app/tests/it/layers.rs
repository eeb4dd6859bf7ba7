//! The crate graph of `ARCHITECTURE.md`, held to by `cargo metadata`.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// Which of our crates each crate may use. `app` may use all; `testkit` is for tests.
const MAY_USE: &[(&str, &[&str])] = &[
    ("oci", &["linux"]),
    ("linux", &[]),
    ("dockerfile", &["oci"]),
    ("erofs", &[]),
    ("store", &["oci", "linux"]),
    ("layers", &["oci", "store", "linux", "erofs"]),
    ("fetch", &["linux"]),
    ("distribution", &["oci", "store", "fetch"]),
    ("registry", &["oci", "store"]),
    ("bootstrap", &["oci", "store", "layers", "fetch"]),
    ("network", &["linux"]),
    ("runtime", &["oci", "linux"]),
    ("scan", &["oci", "store", "layers", "linux"]),
    ("build", &["oci", "dockerfile", "store", "layers", "linux"]),
    ("apiserver", &[]),
    ("events", &[]),
    ("controllers", &["events"]),
    ("kubelet", &["events", "oci", "store", "layers", "runtime", "network", "linux"]),
    ("workflow", &["oci", "store", "build"]),
    ("testkit", &[]),
];

/// Crates that make kernel calls: `linux` hides them from everybody else.
const KERNEL: &[&str] = &["libc", "nix", "rustix"];

/// The synchronous core.
const WITHOUT_TOKIO: &[&str] = &[
    "oci",
    "dockerfile",
    "linux",
    "erofs",
    "store",
    "layers",
    "fetch",
    "distribution",
    "bootstrap",
    "network",
    "build",
    "runtime",
    "scan",
];

/// Returns the direct, non-development dependencies of every crate of the workspace.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline", "--manifest-path", manifest])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let package = |package: &Value| {
        let used = package["dependencies"].as_array().unwrap().iter().filter(|used| used["kind"] != "dev");
        (text(&package["name"]), used.map(|used| text(&used["name"])).collect())
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

#[test]
fn no_crate_uses_one_that_the_design_does_not_allow() {
    let dependencies = dependencies();
    for (name, used) in &dependencies {
        let Some(name) = name.strip_prefix("shipway-").filter(|name| *name != "app") else { continue };
        let (_, may) =
            MAY_USE.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("add `{name}`"));
        for dependency in used.iter().filter_map(|used| used.strip_prefix("shipway-")) {
            assert!(may.contains(&dependency), "`{name}` must not depend on `{dependency}`");
        }
    }
    assert!(dependencies.len() > MAY_USE.len(), "the workspace was not read: {dependencies:?}");
}

#[test]
fn only_linux_talks_to_the_kernel() {
    for (name, used) in dependencies().iter().filter(|(name, _)| *name != "shipway-linux") {
        let found: Vec<_> = used.iter().filter(|used| KERNEL.contains(&used.as_str())).collect();
        assert!(found.is_empty(), "`{name}` uses {found:?}: put the call into `linux`");
    }
}

#[test]
fn the_core_is_synchronous() {
    let dependencies = dependencies();
    for name in WITHOUT_TOKIO {
        let used = &dependencies[&format!("shipway-{name}")];
        assert!(!used.iter().any(|used| used.starts_with("tokio")), "`{name}` must not use tokio");
    }
}
