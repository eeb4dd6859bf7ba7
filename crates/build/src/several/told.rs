//! What builds for several platforms tell, as if it were one build.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use shipway_oci::Platform;

use crate::Event;
use crate::progress::{Progress, StepInfo};
use crate::solve::lock;

/// What was told so far.
#[derive(Debug)]
pub(super) struct Told {
    out: Arc<dyn Progress>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    steps: Vec<StepInfo>,
    warnings: HashSet<String>,
    /// The greatest number of a step.
    last: usize,
}

/// What one build tells, with numbers and names that no other one has.
#[derive(Debug)]
pub(super) struct Part {
    told: Arc<Told>,
    platform: String,
    /// The greatest number of a step before.
    before: usize,
}

impl Told {
    /// Passes on to `out`.
    pub(super) fn new(out: Arc<dyn Progress>) -> Self {
        Self { out, state: Mutex::default() }
    }

    /// Begins the build for a platform; the one before is over.
    pub(super) fn part(self: &Arc<Self>, platform: &Platform) -> Part {
        let before = lock(&self.state).last;
        Part { told: self.clone(), platform: platform.to_string(), before }
    }

    /// Returns a number that no step has.
    pub(super) fn next_id(&self) -> usize {
        lock(&self.state).last + 1
    }

    fn know(&self, step: &StepInfo) {
        let mut state = lock(&self.state);
        if !state.steps.iter().any(|known| known.id == step.id) {
            state.last = state.last.max(step.id);
            state.steps.push(step.clone());
        }
    }
}

impl Part {
    /// Compat: BuildKit's form, `[linux/arm64 2/5] RUN …`.
    fn own(&self, step: &StepInfo) -> StepInfo {
        let name = match step.name.strip_prefix('[') {
            Some(rest) => format!("[{} {rest}", self.platform),
            None => step.name.clone(),
        };
        let inputs = step.inputs.iter().map(|id| id + self.before).collect();
        StepInfo { id: step.id + self.before, name, inputs, ..step.clone() }
    }

    /// The same for one that may not be known yet.
    fn known(&self, step: &StepInfo) -> StepInfo {
        let step = self.own(step);
        self.told.know(&step);
        step
    }
}

impl Progress for Part {
    fn event(&self, event: &Event<'_>) {
        let out = &self.told.out;
        match event {
            Event::Planned { steps } => {
                steps.iter().for_each(|step| drop(self.known(step)));
                let steps = lock(&self.told.state).steps.clone();
                out.event(&Event::Planned { steps: &steps });
            }
            Event::Started { step } => out.event(&Event::Started { step: &self.known(step) }),
            Event::Cached { step, key } => out.event(&Event::Cached { step: &self.own(step), key: *key }),
            Event::Missed { step, why } => out.event(&Event::Missed { step: &self.own(step), why }),
            Event::Output { step, bytes } => out.event(&Event::Output { step: &self.own(step), bytes }),
            Event::Done { step, elapsed, key } => {
                out.event(&Event::Done { step: &self.own(step), elapsed: *elapsed, key: *key });
            }
            Event::Failed { step, elapsed, error, cancelled } => {
                let (elapsed, cancelled) = (*elapsed, *cancelled);
                out.event(&Event::Failed { step: &self.own(step), elapsed, error, cancelled });
            }
            Event::Hashing { step } => out.event(&Event::Hashing { step: &self.own(step) }),
            // The same Dockerfile is read for each.
            Event::Warning { message, .. }
                if !lock(&self.told.state).warnings.insert((*message).to_owned()) => {}
            Event::Loaded { .. }
            | Event::Written { .. }
            | Event::Listed { .. }
            | Event::Named { .. }
            | Event::Warning { .. } => out.event(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::internal;

    #[derive(Debug, Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Progress for Heard {
        fn event(&self, event: &Event<'_>) {
            let line = match event {
                Event::Planned { steps } => format!("{} planned", steps.len()),
                Event::Started { step } => format!("#{} {} {:?}", step.id, step.name, step.inputs),
                Event::Warning { message, .. } => (*message).to_owned(),
                other => format!("{other:?}"),
            };
            lock(&self.0).push(line);
        }
    }

    #[test]
    fn two_builds_are_told_of_as_one() {
        let heard = Arc::new(Heard::default());
        let told = Arc::new(Told::new(heard.clone()));
        let step = |id, name: &str, inputs: &[usize]| StepInfo {
            inputs: inputs.to_vec(),
            ..internal(id, name.to_owned())
        };
        for platform in ["linux/amd64", "linux/arm64"] {
            let part = told.part(&platform.parse().unwrap());
            part.event(&Event::Planned {
                steps: &[step(1, "[1/2] FROM box", &[]), step(2, "[2/2] RUN a", &[1])],
            });
            part.event(&Event::Warning { message: "odd", span: None, rule: None });
            part.event(&Event::Started { step: &step(2, "[2/2] RUN a", &[1]) });
            part.event(&Event::Started { step: &step(3, "exporting to image", &[2]) });
        }
        let heard = lock(&heard.0).join("\n");
        let want = "2 planned\nodd\n#2 [linux/amd64 2/2] RUN a [1]\n#3 exporting to image [2]\n\
                    5 planned\n#5 [linux/arm64 2/2] RUN a [4]\n#6 exporting to image [5]";
        assert_eq!((heard.as_str(), told.next_id()), (want, 7));
    }
}
