//! Looking around where a command has failed, before what it left goes.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use shipway_layers::Snapshot;

use super::Solver;
use super::binds::Bind;
use super::runs::sort;
use crate::plan::Step;
use crate::progress::StepInfo;
use crate::seams::{MountSource, RunStep};
use crate::{Event, Problem};

/// So long other steps may take to end. What does not end then, such as a download, only disturbs who looks.
const OTHERS: Duration = Duration::from_secs(5);

/// A command that failed.
pub(super) struct Failed<'a> {
    pub(super) step: &'a Step,
    pub(super) problem: Problem,
    /// When it began.
    pub(super) start: Instant,
}

impl Solver<'_> {
    /// Shows a failed step to whoever wants to look, and returns how it failed. `step` is what ran, of `shell` and bind mounts, which
    /// went with the command and are made anew.
    pub(super) fn debug(
        &self,
        failed: Failed<'_>,
        step: RunStep,
        (shell, binds): (&str, &[Bind]),
    ) -> Problem {
        let Some(debugger) = &self.builder.debugger else { return failed.problem };
        if self.is_debugged.swap(true, Ordering::AcqRel) {
            return failed.problem;
        }
        let info = &failed.step.info;
        let error = failed.problem.at(&self.plan.source, failed.step.span, &info.name);
        let (text, elapsed) = (error.to_string(), failed.start.elapsed());
        self.builder.progress.event(&Event::Failed { step: info, elapsed, error: &text, cancelled: false });
        let mut held = Vec::new();
        // Before anything is stopped: what copies looks whether it is.
        let again = self.again(step, info, (shell, binds), &mut held);
        self.stop.set();
        self.changed.notify_all();
        self.permits.wait_alone(OTHERS);
        match again {
            Ok(step) => debugger.look(&error, &step),
            Err(problem) => {
                let message = format!("the failed step cannot be shown: {problem}");
                self.builder.progress.event(&Event::Warning { message: &message, span: None, rule: None });
            }
        }
        Problem::Told(Box::new(error))
    }

    fn again(
        &self,
        mut step: RunStep,
        info: &StepInfo,
        (shell, binds): (&str, &[Bind]),
        held: &mut Vec<Snapshot>,
    ) -> Result<RunStep, Problem> {
        step.mounts.retain(|mount| !matches!(mount.source, MountSource::Bind { .. }));
        for bind in binds {
            step.mounts.push(self.make_bind(info, bind, held)?);
        }
        sort(&mut step.mounts);
        step.args = vec![shell.to_owned()];
        // That of the build itself is set: only somebody who ends the program ends the shell.
        step.stop = self.request.stop.clone();
        Ok(step)
    }
}
