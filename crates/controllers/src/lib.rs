//! Workload controllers and the scheduler, as Kubernetes clients.
#![forbid(unsafe_code)]
