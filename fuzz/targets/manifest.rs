//! A document means one thing or nothing, to the client and to the registry.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shipway_distribution::read_document;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(document) = read_document(bytes.to_vec(), "") {
        assert_eq!(document.bytes, bytes);
    }
    shipway_registry::fuzz_manifest(bytes);
});
