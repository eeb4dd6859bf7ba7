//! Pod to sandbox and containers; probes, volumes, logs, exec.
#![forbid(unsafe_code)]
