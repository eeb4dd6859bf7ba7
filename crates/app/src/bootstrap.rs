//! Base images from the distribution's archive, wired to containers and the terminal.

use std::path::{Path, PathBuf};

use miette::Diagnostic;
use shipway_bootstrap::{Bootstrapped, Deps, Request, Step, StepRunner};
use shipway_build::{BuildNetwork, RunStep, SeamError, StepRunner as _, Stop};
use shipway_oci::{Platform, Reference};

use crate::engine::Engine;
use crate::progress::{End, Show};
use crate::steps::ContainerSteps;
use crate::tasks;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{name}` is no image of a distribution that can be assembled here")]
#[diagnostic(code(bootstrap::name), help("name a suite of Debian or Ubuntu, such as `debian:bookworm`"))]
struct NoDistribution {
    name: String,
}

/// What is asked for beside the name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) accept_expired: bool,
    pub(crate) mirror: Option<String>,
    pub(crate) keyring: Option<PathBuf>,
    pub(crate) include: Vec<String>,
}

/// Makes the image that `name` means, or the one of the host's own suite.
pub(crate) fn make(
    engine: &Engine,
    name: Option<&Reference>,
    wishes: Wishes,
    show: &Show,
) -> Result<Bootstrapped, SeamError> {
    let now = crate::clock::system_time();
    let request = match name {
        None => Request::new(now),
        Some(name) => Request::for_reference(name, now)
            .ok_or_else(|| SeamError::new(NoDistribution { name: name.familiar() }))?,
    };
    let Wishes { accept_expired, mirror, keyring, include } = wishes;
    let request = Request { accept_expired, mirror, keyring, include, ..request };
    let fetch = tasks::fetching().map_err(SeamError::new)?;
    let runner = Configure(ContainerSteps::new(engine));
    let phases = show.phases(&name.map_or_else(|| "base image".to_owned(), Reference::familiar));
    let deps = Deps {
        store: &engine.store,
        layers: &engine.layers,
        runner: &runner,
        fetch: &fetch,
        progress: &phases,
    };
    let made = shipway_bootstrap::run(&request, &deps);
    phases.end(End::from(&made));
    made.map_err(SeamError::new)
}

/// The packages' scripts run as build steps do, without network.
#[derive(Debug)]
struct Configure(ContainerSteps);

impl StepRunner for Configure {
    fn run(
        &self,
        step: &Step<'_>,
        output: &mut dyn std::io::Write,
    ) -> Result<i32, Box<dyn Diagnostic + Send + Sync>> {
        let path = |path: &Path| -> PathBuf { path.to_owned() };
        let step = RunStep {
            args: step.args.to_vec(),
            env: step.env.to_vec(),
            cwd: "/".to_owned(),
            user: String::new(),
            lowers: step.lowers.to_vec(),
            upper: path(step.upper),
            work: path(step.work),
            mounts: Vec::new(),
            network: BuildNetwork::None,
            insecure: false,
            host_ca: false,
            hostname: None,
            hosts: Vec::new(),
            limits: Vec::new(),
            shm_size: None,
            platform: Platform::host(),
            cgroup_parent: None,
            stop: Stop::new(),
        };
        self.0.run(&step, output).map_err(|error| Box::new(error) as Box<dyn Diagnostic + Send + Sync>)
    }
}
