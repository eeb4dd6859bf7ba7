//! Whatever is typed as a name, it means the same when it is written out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shipway_oci::Reference;

fuzz_target!(|text: &str| {
    let Ok(reference) = text.parse::<Reference>() else { return };
    let written = reference.to_string();
    assert_eq!(written.parse::<Reference>().ok().as_ref(), Some(&reference), "{text:?}");
    let familiar = reference.familiar();
    assert_eq!(familiar.parse::<Reference>().ok(), Some(reference), "{text:?}");
});
