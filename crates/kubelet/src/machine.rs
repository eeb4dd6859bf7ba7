//! What the kubelet needs of the machine it runs on.
//!
//! Calls block, except where a future is returned; the worker crosses over with `spawn_blocking`. Ids are the kubelet's own and
//! say whose they are, so that what a killed kubelet left behind is found again.

#[cfg(test)]
pub(crate) mod fake;
mod host;

use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

use futures::future::BoxFuture;
use k8s_openapi::jiff::Timestamp;
use shipway_layers::LayerId;
use shipway_oci::{Digest, ImageConfig};
use shipway_runtime::{ContainerSpec, ExecSpec, TerminalSocket};

use crate::error::MachineError;

pub use host::HostMachine;

/// The network of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// The file that stands for the namespace; none for the host's.
    pub netns: Option<PathBuf>,
    /// Its address.
    pub address: Ipv4Addr,
}

/// An image that is here.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its configuration's digest.
    pub id: Digest,
    /// Its configuration.
    pub config: ImageConfig,
    /// Its layers, base first.
    pub layers: Vec<LayerId>,
    /// The name's registry has it too, or had it: there may be a newer one.
    pub from_registry: bool,
}

/// Why there is no image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageProblem {
    /// The name is not one.
    InvalidName(String),
    /// It is not in the store.
    Missing,
    /// The store could not be read.
    Unreadable(String),
    /// No registry gave it.
    NotPulled(String),
}

/// Brings images into the store under the name that a pod gives.
pub trait ImagePuller: Debug + Send + Sync {
    /// Brings the image here, newer than before if the registry has a newer one. The error says what was wrong. Blocks.
    ///
    /// `secrets` are documents such as docker's `config.json`: what they say of the registry goes before what this machine knows.
    fn pull(&self, name: &str, secrets: &[Vec<u8>]) -> Result<(), String>;
}

/// A container to be started. The root file system in `spec` is filled in from `layers`.
#[derive(Clone, Debug)]
pub struct Order {
    /// What to run.
    pub spec: ContainerSpec,
    /// On which layers, base first.
    pub layers: Vec<LayerId>,
}

/// Why a container did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartProblem {
    /// 126 or 127 for the program itself, 128 for the machinery. Compat: containerd reports 128 for both.
    pub code: i32,
    /// Whether the program could not be run, and not something around it.
    pub program: bool,
    /// What was wrong.
    pub message: String,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Exit code, 128 + signal for a killed one.
    pub code: i32,
    /// Whether the kernel killed it for want of memory.
    pub out_of_memory: bool,
    /// When.
    pub finished: Timestamp,
}

/// A container that was found.
#[derive(Clone, Debug)]
pub struct Adopted {
    /// Its id.
    pub id: String,
    /// Notes its starter left.
    pub labels: std::collections::BTreeMap<String, String>,
    /// When it was started.
    pub started: Timestamp,
    /// How it ended, if it has.
    pub exit: Option<Exit>,
}

/// The machine.
pub trait Machine: Debug + Send + Sync {
    /// Finds an image by the name a pod gives.
    fn resolve_image(&self, name: &str) -> Result<Image, ImageProblem>;

    /// Finds an image after having asked the registry that the name says, with what `secrets` say of it. Blocks.
    fn pull_image(&self, name: &str, secrets: &[Vec<u8>]) -> Result<Image, ImageProblem>;

    /// Makes the network of a pod, or finds the one it has.
    fn make_sandbox(&self, id: &str) -> Result<Sandbox, MachineError>;

    /// Removes the network of a pod; one that is gone is no error.
    fn remove_sandbox(&self, id: &str) -> Result<(), MachineError>;

    /// Returns the ids of all networks that were made for pods.
    fn sandboxes(&self) -> Result<Vec<String>, MachineError>;

    /// Starts a container and returns when that was.
    fn start(&self, order: &Order) -> Result<Timestamp, StartProblem>;

    /// Returns every container, also ended ones.
    fn containers(&self) -> Result<Vec<Adopted>, MachineError>;

    /// Waits until a container has ended.
    fn wait(&self, id: &str) -> BoxFuture<'static, Exit>;

    /// Sends a signal to a container's first process; one that has ended is no error.
    fn signal(&self, id: &str, signal: i32) -> Result<(), MachineError>;

    /// Removes what is left of an ended container, its files and its log.
    fn remove(&self, id: &str) -> Result<(), MachineError>;

    /// Removes the control group above the containers of a pod.
    fn remove_group(&self, path: &str) -> Result<(), MachineError>;

    /// Returns the file a container's output goes to.
    fn log_path(&self, id: &str) -> PathBuf;

    /// Returns the command that runs a program in a container.
    fn exec(&self, id: &str, spec: &ExecSpec) -> Result<Command, MachineError>;

    /// Returns the command that runs a program in a container on a terminal of its own, and where the controlling end of that
    /// arrives once the command has been started.
    fn exec_terminal(&self, id: &str, spec: &ExecSpec) -> Result<(Command, TerminalSocket), MachineError>;

    /// Connects to a port as seen from inside a container.
    fn connect_inside(&self, id: &str, port: u16) -> Result<std::net::TcpStream, MachineError>;
}
