//! A Dockerfile is parsed or refused, and the refusal shows where.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = shipway_dockerfile::parse("Dockerfile", bytes) {
        assert!(!error.to_string().is_empty());
    }
});
