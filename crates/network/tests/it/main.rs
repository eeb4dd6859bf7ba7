//! Bridges in network namespaces of their own, which stand for hosts; the machine's own network is used by one test only.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

mod bridge;
mod firewalls;
mod reach;
mod speed;
mod world;
