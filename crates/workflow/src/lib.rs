//! From a directory to running pods: up and down.
#![forbid(unsafe_code)]
