//! Which stages a stage needs, without a look at images.

use shipway_dockerfile::{Copy, Instruction, InstructionKind, Span, Stage, parse_trigger};

use super::stages::{Planner, from_of_mount};

impl Planner<'_> {
    /// Returns which stages of the file a stage needs, itself too.
    pub(super) fn needed(&self, target: usize) -> Vec<bool> {
        let mut needed = vec![false; self.file.stages.len()];
        let mut open = vec![target];
        while let Some(number) = open.pop() {
            if std::mem::replace(&mut needed[number], true) {
                continue;
            }
            open.extend(self.base_stage(number));
            open.extend(self.sources(number).into_iter().map(|(source, _)| source));
        }
        needed
    }

    /// Returns the stage that a stage starts from.
    pub(super) fn base_stage(&self, number: usize) -> Option<usize> {
        let stage = &self.file.stages[number];
        let is_named = stage.name.as_ref().is_some_and(|name| self.named(name).is_some());
        let name = self.image_name(stage).ok().filter(|name| !is_named && self.named(name).is_none())?;
        self.file.stages[..number].iter().rposition(|stage| stage.name.as_ref() == Some(&name))
    }

    /// Returns the stages that instructions of a stage read, above it or not, and where those stand.
    pub(super) fn sources(&self, number: usize) -> Vec<(usize, Span)> {
        let stage = &self.file.stages[number];
        let triggers: Vec<Instruction> =
            self.base_stage(number).map(|base| self.triggers(base, stage)).unwrap_or_default();
        let mut sources = Vec::new();
        for instruction in triggers.iter().chain(&stage.instructions) {
            let span = instruction.span;
            match &instruction.kind {
                InstructionKind::Copy(Copy { from: Some(from), .. }) => {
                    sources.extend(self.source(&from.text).map(|source| (source, span)));
                }
                InstructionKind::Run(run) => {
                    let names = run.mounts.iter().filter_map(|mount| from_of_mount(&mount.text));
                    sources.extend(names.filter_map(|name| Some((self.source(name)?, span))));
                }
                _ => {}
            }
        }
        sources
    }

    /// Returns what a stage has for the one that starts from it.
    pub(super) fn triggers(&self, base: usize, stage: &Stage) -> Vec<Instruction> {
        let triggers = self.file.stages[base].instructions.iter().filter_map(|found| match &found.kind {
            InstructionKind::Onbuild(trigger) => Some(trigger),
            _ => None,
        });
        triggers.filter_map(|trigger| parse_trigger(trigger, &self.file.source, stage.span).ok()).collect()
    }

    fn source(&self, name: &str) -> Option<usize> {
        if self.named(name).is_some() {
            return None;
        }
        let stages = &self.file.stages;
        let lower = name.to_lowercase();
        let numbered = || name.parse().ok().filter(|number| *number < stages.len());
        stages.iter().rposition(|stage| stage.name.as_ref() == Some(&lower)).or_else(numbered)
    }
}
