//! A part lies within the whole.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, u64)| {
    let (header, size) = input;
    shipway_registry::fuzz_range(header, size);
});
