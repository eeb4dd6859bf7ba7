//! Which image of an index.

use shipway_oci::{Descriptor, Index, Platform};

/// Returns the image for a platform: exactly that one, else the one that runs there too.
pub fn select<'a>(index: &'a Index, wanted: &Platform) -> Option<&'a Descriptor> {
    select_fitting(index, wanted).or_else(|| select_only(index))
}

/// Returns the image that is said to be for a platform.
pub(crate) fn select_fitting<'a>(index: &'a Index, wanted: &Platform) -> Option<&'a Descriptor> {
    let images: Vec<&Descriptor> =
        index.manifests.iter().filter(|found| found.media_type.is_manifest()).collect();
    fitting(&images, wanted).first().copied()
}

/// Returns the only image of an index that says of none what it is for.
pub(crate) fn select_only(index: &Index) -> Option<&Descriptor> {
    let mut images = index.manifests.iter().filter(|found| found.media_type.is_manifest());
    images.next().filter(|first| first.platform.is_none() && images.next().is_none())
}

/// Returns the indexes within an index that may have an image for a platform: first those that are said to.
pub(crate) fn select_indexes<'a>(index: &'a Index, wanted: &Platform) -> Vec<&'a Descriptor> {
    let (said, unsaid): (Vec<&Descriptor>, Vec<&Descriptor>) = index
        .manifests
        .iter()
        .filter(|found| found.media_type.is_index())
        .partition(|found| found.platform.is_some());
    fitting(&said, wanted).into_iter().chain(unsaid).collect()
}

/// Returns those for a platform, the closest first.
fn fitting<'a>(listed: &[&'a Descriptor], wanted: &Platform) -> Vec<&'a Descriptor> {
    // Compat: containerd, `arm64` is `arm64/v8`, `arm` is `arm/v7`.
    let default = match wanted.architecture.as_str() {
        "arm64" => Some("v8"),
        "arm" => Some("v7"),
        _ => None,
    };
    let wish = wanted.variant.as_deref();
    let distance = |found: &Descriptor| {
        let platform = found.platform.as_ref()?;
        if platform.os != wanted.os || platform.architecture != wanted.architecture {
            return None;
        }
        match platform.variant.as_deref() {
            variant if variant == wish => Some(0),
            variant if variant.or(default) == wish.or(default) => Some(1),
            _ => wish.is_none().then_some(2),
        }
    };
    let mut fitting: Vec<(u8, &Descriptor)> =
        listed.iter().filter_map(|found| Some((distance(found)?, *found))).collect();
    fitting.sort_by_key(|(distance, _)| *distance);
    fitting.into_iter().map(|(_, found)| found).collect()
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
