//! How long a start takes.

use std::time::Instant;

use crate::{Fixture, can_run};

#[test]
#[ignore = "a measurement, for a quiet machine: cargo test -p shipway-runtime -- --ignored --nocapture speed"]
fn speed_of_start_and_end() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let mut times: Vec<_> = (0..50)
        .map(|number| {
            let spec = fixture.spec(&format!("speed{number}"), &["true"]);
            let start = Instant::now();
            fixture.run(&spec).unwrap();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("p50 {:?}, p90 {:?}", times[25], times[45]);
}
