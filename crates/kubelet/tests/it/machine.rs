//! A machine that only remembers what it was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::jiff::Timestamp;
use shipway_kubelet::{
    Adopted, Exit, Image, ImageProblem, Machine, MachineError, Order, Sandbox, StartProblem,
};
use shipway_oci::{ContainerConfig, Digest, ImageConfig, RootFs};
use shipway_runtime::{ExecSpec, TerminalSocket};
use tokio::sync::watch;

#[derive(Debug, Default)]
struct State {
    sandboxes: BTreeSet<String>,
    processes: BTreeMap<String, (Order, watch::Sender<Option<Exit>>)>,
}

#[derive(Debug, Default)]
pub(crate) struct TestMachine {
    state: Mutex<State>,
}

impl TestMachine {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn running(&self) -> Vec<String> {
        let state = self.state();
        let running = state.processes.iter().filter(|(_, (_, exit))| exit.borrow().is_none());
        running.map(|(id, _)| id.clone()).collect()
    }

    /// Returns the images of what runs: the fake's images say their own name.
    pub(crate) fn images(&self) -> Vec<String> {
        let state = self.state();
        let running = state.processes.values().filter(|(_, exit)| exit.borrow().is_none());
        running.map(|(order, _)| order.spec.args[0].clone()).collect()
    }

    pub(crate) fn is_clean(&self) -> bool {
        let state = self.state();
        state.processes.is_empty() && state.sandboxes.is_empty()
    }
}

fn refused<T>(operation: &'static str) -> Result<T, MachineError> {
    Err(MachineError { operation, subject: "the fake".to_owned(), source: "it is a fake".into() })
}

impl Machine for TestMachine {
    fn resolve_image(&self, name: &str) -> Result<Image, ImageProblem> {
        let config = ContainerConfig { cmd: Some(vec![name.to_owned()]), ..ContainerConfig::default() };
        let config = ImageConfig {
            created: None,
            author: None,
            architecture: "amd64".to_owned(),
            variant: None,
            os: "linux".to_owned(),
            config,
            rootfs: RootFs::of_layers(Vec::new()),
            history: Vec::new(),
            other: serde_json::Map::new(),
        };
        Ok(Image { id: Digest::of(name.as_bytes()), config, layers: Vec::new(), from_registry: false })
    }

    fn pull_image(&self, _name: &str, _secrets: &[Vec<u8>]) -> Result<Image, ImageProblem> {
        Err(ImageProblem::Missing)
    }

    fn make_sandbox(&self, id: &str) -> Result<Sandbox, MachineError> {
        self.state().sandboxes.insert(id.to_owned());
        Ok(Sandbox { netns: Some(PathBuf::from("/netns").join(id)), address: Ipv4Addr::new(10, 0, 0, 2) })
    }

    fn remove_sandbox(&self, id: &str) -> Result<(), MachineError> {
        self.state().sandboxes.remove(id);
        Ok(())
    }

    fn sandboxes(&self) -> Result<Vec<String>, MachineError> {
        Ok(self.state().sandboxes.iter().cloned().collect())
    }

    fn start(&self, order: &Order) -> Result<Timestamp, StartProblem> {
        let before =
            self.state().processes.insert(order.spec.id.clone(), (order.clone(), watch::Sender::new(None)));
        assert!(before.is_none(), "{} was started twice", order.spec.id);
        Ok(Timestamp::now())
    }

    fn containers(&self) -> Result<Vec<Adopted>, MachineError> {
        let state = self.state();
        let adopted = state.processes.iter().map(|(id, (order, exit))| Adopted {
            id: id.clone(),
            labels: order.spec.labels.clone(),
            started: Timestamp::UNIX_EPOCH,
            exit: exit.borrow().clone(),
        });
        Ok(adopted.collect())
    }

    fn wait(&self, id: &str) -> BoxFuture<'static, Exit> {
        let mut exit = self.state().processes[id].1.subscribe();
        async move {
            match exit.wait_for(Option::is_some).await {
                Ok(exit) => exit.clone().unwrap(),
                Err(_removed) => Exit { code: 255, out_of_memory: false, finished: Timestamp::UNIX_EPOCH },
            }
        }
        .boxed()
    }

    fn signal(&self, id: &str, signal: i32) -> Result<(), MachineError> {
        let exit = Exit { code: 128 + signal, out_of_memory: false, finished: Timestamp::now() };
        if let Some((_, sender)) = self.state().processes.get(id) {
            sender.send_replace(Some(exit));
        }
        Ok(())
    }

    fn remove(&self, id: &str) -> Result<(), MachineError> {
        self.state().processes.remove(id);
        Ok(())
    }

    fn remove_group(&self, _path: &str) -> Result<(), MachineError> {
        Ok(())
    }

    fn log_path(&self, id: &str) -> PathBuf {
        PathBuf::from("/nowhere").join(id)
    }

    fn exec(&self, _id: &str, _spec: &ExecSpec) -> Result<Command, MachineError> {
        refused("run a program in")
    }

    fn exec_terminal(&self, _id: &str, _spec: &ExecSpec) -> Result<(Command, TerminalSocket), MachineError> {
        refused("run a program in")
    }

    fn connect_inside(&self, _id: &str, _port: u16) -> Result<std::net::TcpStream, MachineError> {
        refused("connect inside")
    }
}
