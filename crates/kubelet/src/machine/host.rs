//! This machine.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::jiff::Timestamp;
use shipway_layers::LayerStore;
use shipway_linux as linux;
use shipway_network::SandboxNetwork;
use shipway_runtime::{
    Container, ContainerState, Containers, ExecSpec, RuntimeError, Stage, Status, StdIo, TerminalSize,
    TerminalSocket,
};
use shipway_store::{Store, StoreError};

use super::{Adopted, Exit, Image, ImageProblem, ImagePuller, Machine, Order, Sandbox, StartProblem};
use crate::clock::{from_nanoseconds, now};
use crate::error::{MachineError, chain};

/// Label that names a container's writable snapshot.
const SNAPSHOT: &str = "dev.shipway.snapshot";
/// `CLONE_NEWNET`. Spec: setns(2).
const NETWORK_NAMESPACE: i32 = 0x4000_0000;
/// Tells the networks of pods from those of containers that somebody runs by hand.
const POD: &str = "pod-";
/// How long a program inside a pod may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// This machine: its image store, its containers, its network.
#[derive(Clone, Debug)]
pub struct HostMachine {
    store: Store,
    layers: Arc<dyn LayerStore>,
    containers: Containers,
    network: Arc<dyn SandboxNetwork>,
    root_id: String,
    puller: Option<Arc<dyn ImagePuller>>,
}

impl HostMachine {
    /// Returns the machine of these parts; `root_id` tells our containers from others'.
    pub fn new(
        store: Store,
        layers: Arc<dyn LayerStore>,
        containers: Containers,
        network: Arc<dyn SandboxNetwork>,
        root_id: &str,
    ) -> Self {
        Self { store, layers, containers, network, root_id: root_id.to_owned(), puller: None }
    }

    /// Returns the same machine; images that are missing come through `puller`.
    pub fn with_puller(self, puller: Arc<dyn ImagePuller>) -> Self {
        Self { puller: Some(puller), ..self }
    }

    fn container(&self, operation: &'static str, id: &str) -> Result<Container, MachineError> {
        self.containers.get(id).map_err(MachineError::of(operation, id))
    }
}

impl Machine for HostMachine {
    fn resolve_image(&self, name: &str) -> Result<Image, ImageProblem> {
        if let Err(error) = name.parse::<shipway_oci::Reference>() {
            return Err(ImageProblem::InvalidName(chain(&error)));
        }
        let unreadable = |error: &dyn std::error::Error| ImageProblem::Unreadable(chain(error));
        let found = match self.store.resolve(name) {
            Err(StoreError::NoImage(_)) => return Err(ImageProblem::Missing),
            other => other.map_err(|error| unreadable(&error))?,
        };
        let config = self.store.config(&found.image_id).map_err(|error| unreadable(&error))?;
        let layers = self.layers.resolve(&config.rootfs.diff_ids).map_err(|error| unreadable(&error))?;
        let from_registry = found
            .name
            .as_ref()
            .map_or(Ok(false), |name| self.store.is_known_to_registry(name, &found.image_id))
            .map_err(|error| unreadable(&error))?;
        Ok(Image { id: found.image_id, config, layers, from_registry })
    }

    fn pull_image(&self, name: &str, secrets: &[Vec<u8>]) -> Result<Image, ImageProblem> {
        let puller = self.puller.as_ref().ok_or(ImageProblem::Missing)?;
        puller.pull(name, secrets).map_err(ImageProblem::NotPulled)?;
        self.resolve_image(name)
    }

    fn make_sandbox(&self, id: &str) -> Result<Sandbox, MachineError> {
        let made = self.network.create(&network_id(id));
        let made = made.map_err(MachineError::of("make the network of pod", id))?;
        Ok(Sandbox { netns: Some(made.netns), address: made.address })
    }

    fn remove_sandbox(&self, id: &str) -> Result<(), MachineError> {
        self.network.remove(&network_id(id)).map_err(MachineError::of("remove the network of pod", id))
    }

    fn sandboxes(&self) -> Result<Vec<String>, MachineError> {
        let all = self.network.list().map_err(MachineError::of("list", "networks of pods"))?;
        Ok(all.iter().filter_map(|sandbox| Some(sandbox.id.strip_prefix(POD)?.to_owned())).collect())
    }

    fn start(&self, order: &Order) -> Result<Timestamp, StartProblem> {
        let broken =
            |error: &dyn std::error::Error| StartProblem { code: 128, program: false, message: chain(error) };
        let mut snapshot = self.layers.prepare(&order.layers).map_err(|error| broken(&error))?;
        let mut spec = order.spec.clone();
        spec.rootfs.lowers.clone_from(&snapshot.lowers);
        spec.rootfs.upper.clone_from(&snapshot.upper);
        spec.rootfs.work.clone_from(&snapshot.work);
        spec.labels.insert(SNAPSHOT.to_owned(), snapshot.id.clone());
        snapshot.keep().map_err(|error| broken(&error))?;
        let started = self.containers.start(&spec, StdIo::Log);
        let container = match started {
            Ok(container) => container,
            Err(error) => {
                if let Err(error) = self.layers.remove_snapshot(&snapshot.id) {
                    tracing::warn!(%error, id = spec.id, "could not remove the files of a container that did not start");
                }
                return Err(match &error {
                    RuntimeError::Start { source, .. } if source.stage == Stage::Execute => StartProblem {
                        code: i32::from(source.exit_code()),
                        program: true,
                        message: chain(source),
                    },
                    _ => broken(&error),
                });
            }
        };
        Ok(container.state().map_or_else(|_unknown| now(), |state| from_nanoseconds(state.started)))
    }

    fn containers(&self) -> Result<Vec<Adopted>, MachineError> {
        let all = self.containers.list().map_err(MachineError::of("list", "containers"))?;
        Ok(all.iter().filter_map(|container| self.adopted(container)).collect())
    }

    fn wait(&self, id: &str) -> BoxFuture<'static, Exit> {
        wait(self.containers.clone(), id.to_owned()).boxed()
    }

    fn signal(&self, id: &str, signal: i32) -> Result<(), MachineError> {
        match self.containers.get(id).and_then(|container| container.kill(signal)) {
            Err(RuntimeError::NotRunning(_) | RuntimeError::NoContainer(_)) => Ok(()),
            other => other.map_err(MachineError::of("signal", id)),
        }
    }

    fn remove(&self, id: &str) -> Result<(), MachineError> {
        let container = match self.containers.get(id) {
            Err(RuntimeError::NoContainer(_)) => return Ok(()),
            other => other.map_err(MachineError::of("find", id))?,
        };
        let snapshot = container.spec().ok().and_then(|spec| spec.labels.get(SNAPSHOT).cloned());
        container.delete().map_err(MachineError::of("remove", id))?;
        if let Some(snapshot) = snapshot {
            self.layers.remove_snapshot(&snapshot).map_err(MachineError::of("remove the files of", id))?;
        }
        Ok(())
    }

    fn remove_group(&self, path: &str) -> Result<(), MachineError> {
        linux::Cgroup::at(path).remove().map_err(MachineError::of("remove the control group", path))?;
        // With the last pod goes the group above all; one that is still in use stays.
        drop(path.rsplit_once('/').map(|(parent, _)| linux::Cgroup::at(parent).remove()));
        Ok(())
    }

    fn log_path(&self, id: &str) -> PathBuf {
        self.containers.get(id).map_or_else(|_gone| PathBuf::new(), |container| container.log_path())
    }

    fn exec(&self, id: &str, spec: &ExecSpec) -> Result<Command, MachineError> {
        let container = self.container("find", id)?;
        container.exec_command(spec).map_err(MachineError::of("run a program in", id))
    }

    fn exec_terminal(&self, id: &str, spec: &ExecSpec) -> Result<(Command, TerminalSocket), MachineError> {
        // Clients send the size of theirs once they are connected.
        let size = TerminalSize { rows: 24, columns: 80 };
        let container = self.container("find", id)?;
        container.exec_terminal(spec, size).map_err(MachineError::of("run a program in", id))
    }

    fn connect_inside(&self, id: &str, port: u16) -> Result<TcpStream, MachineError> {
        let state = self.container("find", id)?.state().map_err(MachineError::of("look at", id))?;
        let process = linux::open_pidfd(state.pid).map_err(MachineError::of("find the process of", id))?;
        let connect = move || -> io::Result<TcpStream> {
            linux::join_namespace(&process, NETWORK_NAMESPACE)?;
            TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), CONNECT)
        };
        // A thread of its own: the namespace ends with it.
        let joined = std::thread::Builder::new().name("dial".to_owned()).spawn(connect);
        let outcome = joined.map_err(MachineError::of("start a thread for", id))?.join();
        let outcome =
            outcome.unwrap_or_else(|_panic| Err(io::Error::other("the connecting thread panicked")));
        outcome.map_err(MachineError::of("connect inside", id))
    }
}

impl HostMachine {
    fn adopted(&self, container: &Container) -> Option<Adopted> {
        let labels = container.spec().ok()?.labels;
        if labels.get(crate::pod::ROOT_LABEL) != Some(&self.root_id) {
            return None;
        }
        let (started, exit) = match container.state() {
            Ok(state) => (from_nanoseconds(state.started), exit_of(&state)),
            // It never got so far as to have a state.
            Err(_none) => (now(), Some(Exit { code: 255, out_of_memory: false, finished: now() })),
        };
        Some(Adopted { id: container.id().to_owned(), labels, started, exit })
    }
}

fn network_id(uid: &str) -> String {
    format!("{POD}{uid}")
}

fn exit_of(state: &ContainerState) -> Option<Exit> {
    (state.status == Status::Exited).then(|| Exit {
        code: state.exit_code.unwrap_or(255),
        out_of_memory: state.out_of_memory,
        finished: state.finished.map_or_else(now, from_nanoseconds),
    })
}

/// Waits without a thread while the container runs; its end is noted by its shim shortly after.
async fn wait(containers: Containers, id: String) -> Exit {
    let lost = || Exit { code: 255, out_of_memory: false, finished: now() };
    let Ok(container) = containers.get(&id) else { return lost() };
    if let Ok(state) = container.state()
        && state.status == Status::Running
        && let Ok(process) = linux::open_pidfd(state.pid)
        && container.state().is_ok_and(|state| state.status == Status::Running)
        && let Ok(process) = crate::readable::readable(process)
    {
        drop(process.readable().await);
    }
    let ended = tokio::task::spawn_blocking(move || {
        drop(container.wait());
        container.state()
    });
    match ended.await {
        Ok(Ok(state)) => exit_of(&state).unwrap_or_else(lost),
        _ => lost(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use shipway_layers::Unpacked;
    use shipway_network::{NetworkError, Sandbox as Made};

    use super::*;

    #[derive(Debug, Default)]
    struct Network(Mutex<Vec<String>>);

    fn made(id: &str) -> Made {
        let address = Ipv4Addr::new(10, 0, 0, 2);
        Made { id: id.to_owned(), netns: "/netns".into(), address, prefix: 16, gateway: address, mac: [0; 6] }
    }

    impl SandboxNetwork for Network {
        fn create(&self, id: &str) -> Result<Made, NetworkError> {
            self.0.lock().unwrap().push(id.to_owned());
            Ok(made(id))
        }

        fn remove(&self, id: &str) -> Result<(), NetworkError> {
            self.0.lock().unwrap().retain(|kept| kept != id);
            Ok(())
        }

        fn list(&self) -> Result<Vec<Made>, NetworkError> {
            Ok(self.0.lock().unwrap().iter().map(|id| made(id)).collect())
        }
    }

    #[test]
    fn networks_of_containers_run_by_hand_are_not_the_kubelets() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let containers = Containers::open(&dir.path().join("state"), "/bin/false".as_ref()).unwrap();
        let network = Arc::new(Network::default());
        network.create("by-hand").unwrap();
        let layers = Arc::new(Unpacked::open(store.clone()));
        let machine = HostMachine::new(store, layers, containers, Arc::clone(&network) as _, "abcd");
        machine.make_sandbox("u1").unwrap();
        assert_eq!(machine.sandboxes().unwrap(), ["u1"]);
        machine.remove_sandbox("u1").unwrap();
        machine.remove_sandbox("by-hand").unwrap();
        assert_eq!(*network.0.lock().unwrap(), ["by-hand"]);
    }

    #[test]
    fn a_name_that_is_none_and_an_image_that_is_not_there_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let containers = Containers::open(&dir.path().join("state"), "/bin/false".as_ref()).unwrap();
        let layers = Arc::new(Unpacked::open(store.clone()));
        let machine = HostMachine::new(store, layers, containers, Arc::new(Network::default()), "abcd");
        assert_eq!(machine.resolve_image("web:v2").unwrap_err(), ImageProblem::Missing);
        assert!(matches!(machine.resolve_image("Web:v2").unwrap_err(), ImageProblem::InvalidName(_)));
    }
}
