//! A shell of a person where a step has failed.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shipway_build::{RunStep, SeamError};
use shipway_runtime::{Container, ContainerSpec, StdIo, TerminalSocket};

use super::{COUNTER, ContainerSteps, OF_STEP, STOP_INTERVAL, Scratch, output_error};
use crate::claim::Claim;
use crate::terminal;
use crate::ui::Ui;

/// What programs take the person's terminal for where it does not say. Compat: docker.
const USUAL: &str = "xterm";

impl ContainerSteps {
    /// Runs a step's program on this process's terminal, and returns its exit code. What it changes in the step's files goes with them.
    pub(crate) fn run_on_terminal(&self, step: &RunStep, ui: &mut Ui) -> Result<i32, SeamError> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let id = format!("{OF_STEP}{}-{number}", std::process::id());
        let _claim = Claim::take(&self.roots, &id).map_err(SeamError::new)?;
        let mut scratch = Scratch::new(self.roots.state.join("steps").join(&id));
        let given = self.network_of(step, ui.status())?;
        let spec = self.spec(id, step, &mut scratch)?;
        let (spec, own) = given.to(spec, &step.hosts);
        let mut spec = ContainerSpec { terminal: Some(terminal::size()), ..spec };
        if !spec.env.iter().any(|variable| variable.starts_with("TERM=")) {
            let kind = std::env::var("TERM").ok().filter(|kind| !kind.is_empty());
            spec.env.push(format!("TERM={}", kind.as_deref().unwrap_or(USUAL)));
        }
        let (socket, theirs) = TerminalSocket::pair().map_err(output_error)?;
        let container = self.containers.start(&spec, StdIo::Terminal(theirs)).map_err(SeamError::new)?;
        let attached = socket.received().and_then(|master| {
            let _watched = Watched::new(container.clone(), master.try_clone()?, step)?;
            terminal::attach(ui, &master, true, || container.wait())
        });
        if attached.is_err() {
            // Nobody would see what it does. One that has just ended needs no signal.
            drop(container.kill(9));
        }
        let code = container.wait().map_err(SeamError::new);
        container.delete().map_err(SeamError::new)?;
        drop(own);
        attached.map_err(output_error)?.map_err(SeamError::new)?;
        code
    }
}

/// As long as this value lives, the container's terminal is as large as the person's, and the container ends when the build is to.
struct Watched {
    is_over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watched {
    fn new(container: Container, master: OwnedFd, step: &RunStep) -> std::io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, stop) = (Arc::clone(&is_over), step.stop.clone());
        let mut size = terminal::size();
        // Signals that tell of a new size are held back by nobody here, and are another thread's: it is looked for instead.
        let watch = move || {
            while !over.load(Ordering::Acquire) {
                if stop.is_set() {
                    drop(container.kill(9));
                }
                let now = terminal::size();
                if now != size {
                    terminal::resize(&master);
                    size = now;
                }
                std::thread::park_timeout(STOP_INTERVAL);
            }
        };
        let thread = std::thread::Builder::new().name("shell".to_owned()).spawn(watch)?;
        Ok(Self { is_over, thread: Some(thread) })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            drop(thread.join());
        }
    }
}
