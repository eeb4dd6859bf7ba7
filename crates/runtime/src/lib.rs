//! From a description of a container to a running process, and back to its exit status.
//!
//! A container is started by a *shim*: this same program under another verb, single-threaded and outside the caller's
//! session, which makes the namespaces and mounts, becomes the parent of the container, writes its log and, at the end, its
//! exit status. It outlives whoever asked for it: killing the caller or the daemon kills no container.
//!
//! State is kept as files below the state root, written by the shim alone; a lock that the shim holds for its whole life is
//! what others wait on. Nothing here knows images, networks or Kubernetes.
//!
//! Confinement follows Docker's published defaults: capabilities, system calls, devices, masked and read-only
//! paths (SECURITY rows 1-10).
#![forbid(unsafe_code)]

mod container;
mod defaults;
mod error;
mod exec;
mod init;
mod log;
mod mounts;
mod proxy;
mod seccomp_profile;
mod shim;
mod spec;
mod state;
mod terminal;
mod user;

pub use container::{Container, Containers, StdIo};
pub use error::{RuntimeError, Stage, StartFailure};
pub use exec::{ExecSpec, exec_main};
pub use log::{LogReader, LogSelection, LogStream};
pub use shim::shim_main;
pub use spec::{
    CapabilityProfile, ContainerSpec, Mount, MountKind, Network, PortMapping, ProcessLimit, Resources,
    Rootfs, SHM_SIZE,
};
pub use state::{ContainerState, Status, start_time};
pub use terminal::{TerminalSize, TerminalSocket};
