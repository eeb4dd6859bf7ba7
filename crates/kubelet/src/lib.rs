//! Pod to sandbox and containers; probes, volumes, logs, exec.
//!
//! One worker per pod decides, from the pod and from what runs, what to do next ([`Kubelet::run`]); every decision is made
//! again from the whole state, so a crash at any point is picked up by the next start: running containers are found by
//! their names below the state root and are taken over without a restart. The worker is the only writer of a pod's status.
//!
//! What is not here: how a container is made (`runtime`), where its files come from (`layers`), how it reaches the network
//! (`network`) and which pods there should be (`controllers`). All four are behind [`Machine`], so the decisions are
//! tested without any of them.
#![forbid(unsafe_code)]

mod clock;
mod config;
mod dial;
mod error;
mod events;
mod exec;
mod kubelet;
mod leftover;
mod logs;
mod machine;
mod node;
mod pod;
mod probe;
mod quantity;
mod readable;
mod terminal;
mod users;
mod volumes;
mod watch;

pub use config::KubeletConfig;
pub use error::{DialError, ExecError, LogError, MachineError, StreamError};
pub use exec::{ExecOptions, ExecSession};
pub use kubelet::Kubelet;
pub use leftover::end_all_pods;
pub use logs::LogOptions;
pub use machine::{
    Adopted, Exit, HostMachine, Image, ImageProblem, ImagePuller, Machine, Order, Sandbox, StartProblem,
};
pub use terminal::Terminal;
pub use users::{images_of_pods, pod_of_image, running_pod_of_image};
