//! A machine that only remembers what it was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::jiff::Timestamp;
use shipway_oci::{ContainerConfig, Digest, ImageConfig, RootFs};
use shipway_runtime::{ExecSpec, TerminalSocket};
use tokio::sync::watch;

use super::{Adopted, Exit, Image, ImageProblem, Machine, Order, Sandbox, StartProblem};
use crate::error::MachineError;

#[derive(Debug)]
struct Process {
    order: Order,
    exit: watch::Sender<Option<Exit>>,
}

#[derive(Debug, Default)]
struct State {
    images: BTreeSet<String>,
    /// What a registry has, and how often it was asked.
    at_registry: BTreeSet<String>,
    pulls: usize,
    sandboxes: BTreeSet<String>,
    processes: BTreeMap<String, Process>,
    signals: Vec<(String, i32)>,
    /// Programs that cannot be run.
    broken: bool,
    /// Programs that do not care for SIGTERM.
    stubborn: bool,
}

#[derive(Debug, Default)]
pub(crate) struct FakeMachine {
    state: Mutex<State>,
}

fn nothing_like_it(operation: &'static str) -> MachineError {
    MachineError::of(operation, "the fake")("it is a fake")
}

impl FakeMachine {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn with_image(name: &str) -> Self {
        let machine = Self::default();
        machine.add_image(name);
        machine
    }

    pub(crate) fn add_image(&self, name: &str) {
        self.state().images.insert(name.to_owned());
    }

    pub(crate) fn add_to_registry(&self, name: &str) {
        self.state().at_registry.insert(name.to_owned());
    }

    pub(crate) fn pulls(&self) -> usize {
        self.state().pulls
    }

    pub(crate) fn break_programs(&self) {
        self.state().broken = true;
    }

    pub(crate) fn make_stubborn(&self) {
        self.state().stubborn = true;
    }

    pub(crate) fn end(&self, id: &str, code: i32) {
        let exit = Exit { code, out_of_memory: false, finished: crate::clock::now() };
        self.state().processes[id].exit.send_replace(Some(exit));
    }

    /// Returns the ids of what runs.
    pub(crate) fn running(&self) -> Vec<String> {
        let state = self.state();
        let running = state.processes.iter().filter(|(_, process)| process.exit.borrow().is_none());
        running.map(|(id, _)| id.clone()).collect()
    }

    pub(crate) fn order(&self, id: &str) -> Order {
        self.state().processes[id].order.clone()
    }

    pub(crate) fn signals(&self) -> Vec<(String, i32)> {
        self.state().signals.clone()
    }

    pub(crate) fn is_clean(&self) -> bool {
        let state = self.state();
        state.processes.is_empty() && state.sandboxes.is_empty()
    }
}

impl Machine for FakeMachine {
    fn resolve_image(&self, name: &str) -> Result<Image, ImageProblem> {
        if !self.state().images.contains(name) {
            return Err(ImageProblem::Missing);
        }
        let config = ContainerConfig { cmd: Some(vec!["run".to_owned()]), ..ContainerConfig::default() };
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
        let from_registry = self.state().at_registry.contains(name);
        Ok(Image { id: Digest::of(name.as_bytes()), config, layers: Vec::new(), from_registry })
    }

    fn pull_image(&self, name: &str, _secrets: &[Vec<u8>]) -> Result<Image, ImageProblem> {
        {
            let mut state = self.state();
            state.pulls += 1;
            if !state.at_registry.contains(name) {
                return Err(ImageProblem::NotPulled("the registry has no such image".to_owned()));
            }
            state.images.insert(name.to_owned());
        }
        self.resolve_image(name)
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
        let mut state = self.state();
        if state.broken {
            return Err(StartProblem { code: 127, program: true, message: "could not run `run`".to_owned() });
        }
        let process = Process { order: order.clone(), exit: watch::Sender::new(None) };
        let before = state.processes.insert(order.spec.id.clone(), process);
        assert!(before.is_none(), "{} was started twice", order.spec.id);
        Ok(crate::clock::now())
    }

    fn containers(&self) -> Result<Vec<Adopted>, MachineError> {
        let state = self.state();
        let adopted = state.processes.iter().map(|(id, process)| Adopted {
            id: id.clone(),
            labels: process.order.spec.labels.clone(),
            started: Timestamp::UNIX_EPOCH,
            exit: process.exit.borrow().clone(),
        });
        Ok(adopted.collect())
    }

    fn wait(&self, id: &str) -> BoxFuture<'static, Exit> {
        let mut exit = self.state().processes[id].exit.subscribe();
        async move {
            match exit.wait_for(Option::is_some).await {
                Ok(exit) => exit.clone().unwrap(),
                Err(_removed) => Exit { code: 255, out_of_memory: false, finished: Timestamp::UNIX_EPOCH },
            }
        }
        .boxed()
    }

    fn signal(&self, id: &str, signal: i32) -> Result<(), MachineError> {
        let stubborn = {
            let mut state = self.state();
            state.signals.push((id.to_owned(), signal));
            state.stubborn
        };
        if signal == 9 || !stubborn {
            self.end(id, 128 + signal);
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
        Err(nothing_like_it("run a program in"))
    }

    fn exec_terminal(&self, _id: &str, _spec: &ExecSpec) -> Result<(Command, TerminalSocket), MachineError> {
        Err(nothing_like_it("run a program in"))
    }

    fn connect_inside(&self, _id: &str, _port: u16) -> Result<std::net::TcpStream, MachineError> {
        Err(nothing_like_it("connect inside"))
    }
}
