//! The steps of a build in its provenance: what they were, where they stand, what they made.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use shipway_dockerfile::Span;
use shipway_layers::Layer;
use shipway_oci::{Descriptor, MediaType};

use super::provenance::{Facts, object};
use crate::plan::{Action, Origin, PlannedStage};
use crate::solve::star;

impl Facts<'_> {
    /// Returns every step that makes something, with the stage that it is of, in the order of the plan.
    fn numbered(&self) -> Vec<(usize, Numbered<'_>)> {
        let mut all = Vec::new();
        for (at, stage) in self.plan.stages.iter().enumerate() {
            if matches!(stage.base, Origin::Image(_)) {
                all.push((at, Numbered::Base(stage)));
            }
            let made = stage.steps.iter().filter(|step| !matches!(step.action, Action::Metadata));
            all.extend(made.map(|step| (at, Numbered::Step(step))));
        }
        all
    }

    /// Returns the steps that led to the result; only of full provenance.
    pub(super) fn build_config(&self) -> Value {
        if !self.wanted.is_full {
            return Value::Null;
        }
        let all = self.numbered();
        let last_of =
            |stage: usize| all.iter().rposition(|(of, _)| *of == stage).map(|at| format!("step{at}:0"));
        let of_origin = |origin: &Origin| match origin {
            Origin::Stage(stage) => last_of(*stage),
            _ => None,
        };
        let steps: Vec<Value> = all
            .iter()
            .enumerate()
            .map(|(at, (stage, numbered))| {
                let before = at.checked_sub(1).filter(|before| all[*before].0 == *stage);
                let base = || of_origin(&self.plan.stages[*stage].base);
                let mut inputs: Vec<String> =
                    before.map(|before| format!("step{before}:0")).or_else(base).into_iter().collect();
                if let Numbered::Step(step) = numbered {
                    inputs.extend(origins(&step.action).iter().filter_map(of_origin));
                }
                let (name, instruction, span) = numbered.told();
                let line = span.map(|span| self.plan.source.position(span.start).line);
                let stage = &self.plan.stages[*stage].name;
                let mut told = object([
                    ("id", json!(format!("step{at}"))),
                    ("stage", json!(stage)),
                    ("name", json!(name)),
                    ("instruction", json!(instruction)),
                    ("line", json!(line)),
                ]);
                if !inputs.is_empty() {
                    told.insert("inputs".to_owned(), json!(inputs));
                }
                Value::Object(told)
            })
            .collect();
        json!({ "steps": steps })
    }

    /// Returns the Dockerfile, where in it the steps stand, and the layers that they made; only of full provenance.
    pub(super) fn metadata(&self) -> Value {
        let mut told = Map::new();
        if !self.request.vcs.is_empty() {
            let vcs = self.request.vcs.iter().map(|(name, value)| (name.clone(), json!(value)));
            told.insert("vcs".to_owned(), Value::Object(vcs.collect()));
        }
        if !self.wanted.is_full {
            return Value::Object(told);
        }
        let source = &self.plan.source;
        // What is encoded cannot be starred any more.
        let text = star(source.text(), &self.request.secrets);
        let mut locations = Map::new();
        let mut layers = Map::new();
        let of_result = self.stages_of_result();
        for (at, (stage, numbered)) in self.numbered().iter().enumerate() {
            if let (_, _, Some(span)) = numbered.told() {
                let place = |offset| {
                    let position = source.position(offset);
                    json!({ "line": position.line, "character": position.column - 1 })
                };
                let range = json!({ "start": place(span.start), "end": place(span.end) });
                locations.insert(
                    format!("step{at}"),
                    json!({ "locations": [{ "ranges": [range], "sourceIndex": 0 }] }),
                );
            }
            let stack = self.stack_of(numbered).filter(|stack| !stack.is_empty());
            if let Some(stack) = stack.filter(|_| of_result.contains(stage)) {
                let described =
                    |layer: &Layer| Descriptor::new(MediaType::OCI_LAYER, layer.diff_id.0, layer.size);
                let stack: Vec<Descriptor> = stack.iter().map(described).collect();
                layers.insert(format!("step{at}:0"), json!([stack]));
            }
        }
        let info =
            json!({ "filename": source.name(), "language": "Dockerfile", "data": STANDARD.encode(text) });
        told.insert("source".to_owned(), json!({ "locations": locations, "infos": [info] }));
        told.insert("layers".to_owned(), Value::Object(layers));
        Value::Object(told)
    }

    /// Returns the stage of the result, and those that it starts from.
    fn stages_of_result(&self) -> Vec<usize> {
        let mut found = Vec::new();
        let mut next = self.plan.stages.iter().position(|stage| std::ptr::eq(stage, self.stage));
        while let Some(stage) = next {
            found.push(stage);
            next = match self.plan.stages[stage].base {
                Origin::Stage(below) => Some(below),
                _ => None,
            };
        }
        found
    }

    /// Returns the layers of the image after a step of it; `None` for one that made none. Compat: BuildKit, with those below.
    fn stack_of(&self, numbered: &Numbered<'_>) -> Option<&[Layer]> {
        let own: Vec<usize> =
            self.made.iter().filter(|made| made.layer.is_some()).map(|made| made.history_at).collect();
        let below = self.layers.len().saturating_sub(own.len());
        let height = match numbered {
            Numbered::Base(_) => below,
            Numbered::Step(step) => {
                let at = history_at(&step.action)?;
                below + own.iter().position(|history| *history == at)? + 1
            }
        };
        self.layers.get(..height)
    }
}

/// A step of the provenance.
enum Numbered<'a> {
    Base(&'a PlannedStage),
    Step(&'a crate::plan::Step),
}

impl Numbered<'_> {
    /// Returns its name, its instruction and where that stands.
    fn told(&self) -> (&str, &str, Option<Span>) {
        let info = match self {
            Self::Base(stage) => &stage.base_step,
            Self::Step(step) => &step.info,
        };
        (&info.name, &info.instruction, info.span)
    }
}

fn history_at(action: &Action) -> Option<usize> {
    match action {
        Action::Metadata => None,
        Action::Run(_, at) | Action::Copy(_, at) | Action::Workdir(_, at) => Some(*at),
    }
}

/// Returns what else a step reads.
fn origins(action: &Action) -> Vec<Origin> {
    match action {
        Action::Copy(copy, _) => copy.from.into_iter().collect(),
        Action::Run(run, _) => run.mounts.iter().filter_map(|(_, origin)| *origin).collect(),
        Action::Metadata | Action::Workdir(..) => Vec::new(),
    }
}
