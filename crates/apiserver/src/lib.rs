//! A generic Kubernetes API server: storage, watch, patch, tables, streams.
#![forbid(unsafe_code)]
