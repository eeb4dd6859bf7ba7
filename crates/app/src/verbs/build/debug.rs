//! `shipway build --debug`: a shell where a command has failed.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, Ordering};

use shipway_build::{BuildError, Debugger, RunStep};

use crate::engine::Engine;
use crate::failure::Failure;
use crate::progress::{End, Show};
use crate::steps::ContainerSteps;
use crate::ui::Ui;

/// Opens a shell on this process's terminal.
#[derive(Debug)]
pub(super) struct Shell {
    steps: ContainerSteps,
    show: Show,
    /// The failure was told, before the shell.
    told: AtomicBool,
}

impl Shell {
    /// Returns one if there is a terminal for it; else `ui` hears why not.
    pub(super) fn new(engine: &Engine, show: &Show, ui: &mut Ui) -> Option<Self> {
        let missing = match (std::io::stdin().is_terminal(), std::io::stdout().is_terminal()) {
            (true, true) => {
                let steps = ContainerSteps::new(engine);
                return Some(Self { steps, show: show.clone(), told: AtomicBool::new(false) });
            }
            (false, _) => "input",
            (true, false) => "output",
        };
        ui.note(format!("note: the standard {missing} is no terminal, so --debug opens no shell"));
        None
    }

    /// Returns what is left to say of a failure.
    pub(super) fn rest_of(&self, failure: Failure) -> Failure {
        if self.told.load(Ordering::Acquire) {
            Failure::plain("error: the build has failed, for the reason above").with_code(failure.code())
        } else {
            failure
        }
    }
}

impl Debugger for Shell {
    fn look(&self, error: &BuildError, step: &RunStep) {
        self.show.close(End::Badly);
        let mut ui = Ui::of_process();
        ui.note(Failure::of_boxed(error).text());
        self.told.store(true, Ordering::Release);
        let shell = step.args.first().map_or("", String::as_str);
        ui.note(format!(
            "note: this is `{shell}` in the failed step, with its files, mounts and variables; `exit` ends the build"
        ));
        if let Err(error) = self.steps.run_on_terminal(step, &mut ui) {
            ui.note(format!("note: no shell: {}", Failure::from(error).text()));
        }
    }
}
