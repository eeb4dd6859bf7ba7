//! Which image of an index.

use shipway_oci::{Descriptor, Index, Platform};

/// Returns the image for a platform: exactly that one, else the one that runs there too.
pub fn select<'a>(index: &'a Index, wanted: &Platform) -> Option<&'a Descriptor> {
    let images = || index.manifests.iter().filter(|found| found.media_type.is_manifest());
    let fits = |found: &&Descriptor| {
        found
            .platform
            .as_ref()
            .is_some_and(|platform| platform.os == wanted.os && platform.architecture == wanted.architecture)
    };
    let variant = |found: &Descriptor| found.platform.as_ref().and_then(|platform| platform.variant.clone());
    let exact = || images().filter(fits).find(|found| variant(found) == wanted.variant);
    // Compat: containerd, `arm64` is `arm64/v8`, `arm` is `arm/v7`.
    let default = match wanted.architecture.as_str() {
        "arm64" => Some("v8"),
        "arm" => Some("v7"),
        _ => None,
    };
    let same = |one: Option<&str>, other: Option<&str>| one.or(default) == other.or(default);
    let equal =
        || images().filter(fits).find(|found| same(variant(found).as_deref(), wanted.variant.as_deref()));
    let any = || images().filter(fits).find(|_| wanted.variant.is_none());
    let only = || {
        let mut without = images();
        without.next().filter(|first| first.platform.is_none() && without.next().is_none())
    };
    exact().or_else(equal).or_else(any).or_else(only)
}

/// Returns the platforms of an index, for messages; what is no image is left out.
pub(crate) fn platforms(index: &Index) -> Vec<String> {
    let known = index.manifests.iter().filter_map(|found| found.platform.as_ref());
    known.filter(|platform| platform.os != "unknown").map(ToString::to_string).take(30).collect()
}

#[cfg(test)]
mod tests {
    use shipway_oci::{Digest, MediaType};

    use super::*;

    #[test]
    fn the_closest_platform_is_chosen() {
        // As an index has it: nobody has made it usual.
        let written = |platform: &str| {
            let mut parts = platform.split('/');
            let mut part = || parts.next().map(str::to_owned);
            let (os, architecture) = (part().unwrap(), part().unwrap());
            Platform { os, variant: part(), ..Platform::linux(&architecture) }
        };
        let entry = |platform: &str| Descriptor {
            platform: Some(written(platform)),
            ..Descriptor::new(MediaType::OCI_MANIFEST, Digest::of(platform.as_bytes()), 1)
        };
        let index = |platforms: &[&str]| Index {
            schema_version: 2,
            media_type: None,
            manifests: platforms.iter().map(|platform| entry(platform)).collect(),
            annotations: std::collections::BTreeMap::new(),
            other: serde_json::Map::new(),
        };
        let all = ["unknown/unknown", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "linux/amd64"];
        for (name, wanted, there, want) in [
            ("plain", "linux/amd64", &all[..], Some("linux/amd64")),
            ("default variant", "linux/arm64", &all[..], Some("linux/arm64/v8")),
            ("default variant of arm", "linux/arm", &all[..], Some("linux/arm/v7")),
            ("given variant", "linux/arm/v6", &all[..], Some("linux/arm/v6")),
            ("missing variant", "linux/arm/v5", &all[..], None),
            ("any variant", "linux/amd64", &["linux/amd64/v3"], Some("linux/amd64/v3")),
            ("other system", "windows/amd64", &all[..], None),
            ("nothing", "linux/amd64", &[], None),
        ] {
            let index = index(there);
            let found = select(&index, &wanted.parse().unwrap());
            let found = found.and_then(|found| found.platform.as_ref()).map(ToString::to_string);
            assert_eq!(found.as_deref(), want, "case {name}");
        }
    }
}
