//! Where verbs that wait for the cluster run, and how they are stopped.

use std::sync::LazyLock;

use shipway_build::Stop;
use shipway_linux::Interrupts;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// Exit code after Ctrl-C: 128 and the number of `SIGINT`.
pub(crate) const INTERRUPTED: u8 = 130;

/// Returns a runtime of this thread; blocking work gets threads of its own.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    build(&mut Builder::new_current_thread())
}

/// Returns a runtime whose tasks go on while this thread waits for whoever reads its output.
pub(crate) fn serving_runtime() -> Result<Runtime, Failure> {
    build(Builder::new_multi_thread().worker_threads(2))
}

/// Lets go of the program's code in memory, which comes back as it is used.
pub(crate) fn forget_code() {
    if let Err(error) = shipway_linux::forget_code() {
        tracing::debug!(%error, "the code stays in memory");
    }
}

fn build(builder: &mut Builder) -> Result<Runtime, Failure> {
    builder.enable_all().build().map_err(|error| {
        Failure::new(
            format!("could not prepare for waiting: {error}"),
            "the machine may be out of descriptors",
        )
    })
}

/// Ends what is fetched and sent when Ctrl-C is held back and comes.
static FETCHES: LazyLock<shipway_fetch::Stop> = LazyLock::new(shipway_fetch::Stop::default);

/// Returns how to fetch, as the environment says; the first Ctrl-C ends it where a [`Stopping`] holds that.
pub(crate) fn fetching() -> Result<shipway_fetch::Config, shipway_fetch::InvalidProxyError> {
    Ok(shipway_fetch::Config { stop: FETCHES.clone(), ..shipway_fetch::Config::from_environment()? })
}

/// What the first Ctrl-C sets; the second one ends the program at once. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Stopping {
    /// For builds.
    pub(crate) build: Stop,
    /// For everything that waits.
    pub(crate) token: CancellationToken,
}

impl Stopping {
    /// Holds Ctrl-C back from now on; to be called before there are other threads.
    pub(crate) fn hold() -> Result<Self, Failure> {
        let interrupts = Interrupts::hold().map_err(|error| {
            Failure::new(format!("could not prepare for being interrupted: {error}"), "try again")
        })?;
        let stopping = Self { build: Stop::new(), token: CancellationToken::new() };
        let flags = stopping.clone();
        std::thread::spawn(move || {
            while interrupts.wait().is_ok() {
                if flags.build.is_set() {
                    shipway_linux::exit_now(INTERRUPTED.into());
                }
                flags.build.set();
                FETCHES.stop();
                flags.token.cancel();
            }
        });
        Ok(stopping)
    }

    /// Gives a failure the exit code of an interrupted program, if it is one.
    pub(crate) fn failed(&self, failure: Failure) -> Failure {
        if self.build.is_set() { failure.with_code(INTERRUPTED) } else { failure }
    }
}
