//! Dockerfile build graph, cache keys, solve, export.
#![forbid(unsafe_code)]
