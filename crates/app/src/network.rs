//! The network of containers and build steps: sandboxes on one bridge.
//!
//! A sandbox is named after what it is for: `run-ID` for a container, `build-…` for a build; pods have names of their
//! own. Whoever makes one claims its name; one that nobody claims and whose container does not run is left over (see
//! `sweep`).

use shipway_network::{Bridge, BridgeConfig, NetworkError, Sandbox, SandboxNetwork as _};

use crate::claim::{Claim, ClaimError};
use crate::failure::Failure;
use crate::roots::Roots;

/// Beginnings of the names of sandboxes.
pub(crate) const OF_CONTAINER: &str = "run-";
pub(crate) const OF_BUILD: &str = "build-";

/// Returns the name under which a container is claimed, and that of its sandbox.
pub(crate) fn name_of(container: &str) -> String {
    format!("{OF_CONTAINER}{container}")
}

/// Returns what the bridge of a pair of roots is called and where it is kept.
pub(crate) fn config(roots: &Roots) -> BridgeConfig {
    BridgeConfig { root_id: roots.id.clone(), state_root: roots.state.clone() }
}

/// Returns the sandbox of a container, if it has one.
pub(crate) fn sandbox_of(roots: &Roots, container: &str) -> Result<Option<Sandbox>, Failure> {
    let Some(bridge) = Bridge::find(config(roots))? else { return Ok(None) };
    let name = name_of(container);
    Ok(bridge.list()?.into_iter().find(|sandbox| sandbox.id == name))
}

/// Takes the sandbox of a container away; one without is no error.
pub(crate) fn remove_sandbox_of(roots: &Roots, container: &str) -> Result<(), Failure> {
    match Bridge::find(config(roots))? {
        Some(bridge) => Ok(bridge.remove(&name_of(container))?),
        None => Ok(()),
    }
}

/// A sandbox of a build could not be made.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error(transparent)]
pub(crate) enum SandboxError {
    /// Its name could not be claimed.
    #[diagnostic(transparent)]
    Claim(ClaimError),
    /// The network could not be set up.
    #[diagnostic(transparent)]
    Network(NetworkError),
}

/// A sandbox that goes with this value, unless it is left to a container.
#[derive(Debug)]
pub(crate) struct OwnSandbox {
    bridge: Bridge,
    sandbox: Sandbox,
    /// Whether it is to be removed.
    owned: bool,
}

impl OwnSandbox {
    /// Makes a sandbox of the claimed name, and the bridge if there is none.
    pub(crate) fn create(roots: &Roots, name: &str) -> Result<Self, NetworkError> {
        let bridge = Bridge::open(config(roots))?;
        let sandbox = bridge.create(name)?;
        Ok(Self { bridge, sandbox, owned: true })
    }

    /// Returns the sandbox.
    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Leaves it to the container that runs in it.
    pub(crate) fn leave(mut self) {
        self.owned = false;
    }
}

impl Drop for OwnSandbox {
    fn drop(&mut self) {
        if self.owned
            && let Err(error) = self.bridge.remove(&self.sandbox.id)
        {
            tracing::warn!(%error, id = self.sandbox.id, "could not remove a sandbox");
        }
    }
}

/// The sandbox of a build, made when the first step wants it and gone with this value.
#[derive(Debug)]
pub(crate) struct BuildSandbox {
    // In this order: the claim ends last.
    own: OwnSandbox,
    _claim: Claim,
}

impl BuildSandbox {
    /// Makes a sandbox for a build of this process.
    pub(crate) fn create(roots: &Roots, number: u64) -> Result<Self, SandboxError> {
        let name = format!("{OF_BUILD}{}-{number}", std::process::id());
        let claim = Claim::take(roots, &name).map_err(SandboxError::Claim)?;
        let own = OwnSandbox::create(roots, &name).map_err(SandboxError::Network)?;
        Ok(Self { own, _claim: claim })
    }

    /// Returns the sandbox.
    pub(crate) fn sandbox(&self) -> &Sandbox {
        self.own.sandbox()
    }
}
