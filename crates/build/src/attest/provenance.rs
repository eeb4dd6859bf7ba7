//! Where a result came from, in the words of SLSA.
//!
//! Specs: SLSA provenance v0.2 and v1; BuildKit, docs/attestations/slsa-definitions.md, whose build type this is: parameters, materials
//! and metadata mean what they mean there. `buildConfig` holds `steps` of our own, and no LLB.

use std::path::Path;

use serde_json::{Map, Value, json};
use shipway_dockerfile::MountKind;
use shipway_layers::Layer;
use shipway_oci::{Platform, Statement};

use super::{Material, SlsaVersion};
use crate::plan::{Action, CopyAction, Origin, Plan, PlannedImage, PlannedStage, SourceWord, layout_name};
use crate::solve::{Made, agent_id, secret_id};
use crate::{BuildNetwork, BuildRequest, ContextSource, Provenance};

/// Compat: BuildKit, solver/llbsolver/provenance/types.
const BUILD_TYPE_V02: &str = "https://mobyproject.org/buildkit@v1";
const BUILD_TYPE_V1: &str =
    "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";
const FRONTEND: &str = "dockerfile.v0";

/// What is known of a build.
pub(super) struct Facts<'a> {
    pub(super) wanted: &'a Provenance,
    pub(super) request: &'a BuildRequest,
    pub(super) plan: &'a Plan,
    pub(super) materials: Vec<Material>,
    pub(super) started: Option<String>,
    pub(super) finished: Option<String>,
    pub(super) invocation: Option<String>,
    /// The stage that was wanted.
    pub(super) stage: &'a PlannedStage,
    /// What its steps made.
    pub(super) made: &'a [Made],
    /// The image's layers; those of its steps are the last.
    pub(super) layers: &'a [Layer],
}

/// Returns the type of a predicate, and the predicate.
pub(super) fn predicate(facts: &Facts<'_>) -> (&'static str, Value) {
    match facts.wanted.version {
        SlsaVersion::V02 => (Statement::PROVENANCE_V02, v02(facts)),
        SlsaVersion::V1 => (Statement::PROVENANCE_V1, v1(facts)),
    }
}

fn v02(facts: &Facts<'_>) -> Value {
    let (parameters, all_told) = facts.parameters();
    let complete = facts.is_complete();
    let mut source = facts.source();
    source.insert("entryPoint".to_owned(), json!(facts.entry_point()));
    let mut metadata = object([
        ("buildInvocationID", json!(facts.invocation)),
        ("buildStartedOn", json!(facts.started)),
        ("buildFinishedOn", json!(facts.finished)),
        ("completeness", json!({ "parameters": all_told, "environment": true, "materials": complete })),
        ("reproducible", json!(facts.wanted.is_reproducible)),
        ("https://mobyproject.org/buildkit@v1#metadata", facts.metadata()),
    ]);
    if facts.is_hermetic() {
        metadata.insert("https://mobyproject.org/buildkit@v1#hermetic".to_owned(), json!(true));
    }
    let invocation = json!({
        "configSource": source,
        "parameters": parameters,
        "environment": { "platform": Platform::host().to_string() },
    });
    Value::Object(object([
        ("builder", json!({ "id": facts.wanted.builder_id })),
        ("buildType", json!(BUILD_TYPE_V02)),
        ("materials", json!(facts.materials.iter().map(material).collect::<Vec<_>>())),
        ("invocation", invocation),
        ("buildConfig", facts.build_config()),
        ("metadata", Value::Object(metadata)),
    ]))
}

fn v1(facts: &Facts<'_>) -> Value {
    let (parameters, all_told) = facts.parameters();
    let mut source = facts.source();
    source.insert("path".to_owned(), json!(facts.entry_point()));
    let internal = object([
        ("builderPlatform", json!(Platform::host().to_string())),
        ("buildConfig", facts.build_config()),
    ]);
    let mut metadata = object([
        ("invocationId", json!(facts.invocation)),
        ("startedOn", json!(facts.started)),
        ("finishedOn", json!(facts.finished)),
        ("buildkit_metadata", facts.metadata()),
        (
            "buildkit_completeness",
            json!({ "request": all_told, "resolvedDependencies": facts.is_complete() }),
        ),
        ("buildkit_reproducible", json!(facts.wanted.is_reproducible)),
    ]);
    if facts.is_hermetic() {
        metadata.insert("buildkit_hermetic".to_owned(), json!(true));
    }
    json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE_V1,
            "externalParameters": { "configSource": source, "request": parameters },
            "internalParameters": internal,
            "resolvedDependencies": facts.materials.iter().map(material).collect::<Vec<_>>(),
        },
        "runDetails": { "builder": { "id": facts.wanted.builder_id }, "metadata": metadata },
    })
}

fn material(material: &Material) -> Value {
    Value::Object(object([("uri", json!(material.uri)), ("digest", digest_set(material))]))
}

fn digest_set(material: &Material) -> Value {
    material.digest.as_ref().map_or(Value::Null, |(algorithm, hex)| {
        Value::Object(std::iter::once((algorithm.clone(), json!(hex))).collect())
    })
}

/// Makes an object; what is not known is left out.
pub(super) fn object<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    let known = fields.into_iter().filter(|(_, value)| !value.is_null());
    known.map(|(name, value)| (name.to_owned(), value)).collect()
}

impl Facts<'_> {
    /// Where the Dockerfile came from, if not from this machine.
    fn source(&self) -> Map<String, Value> {
        self.request.origin.as_ref().map_or_else(Map::new, |origin| {
            object([("uri", json!(origin.uri)), ("digest", digest_set(origin))])
        })
    }

    fn entry_point(&self) -> String {
        let dockerfile = &self.request.dockerfile;
        let inside = dockerfile.strip_prefix(&self.request.context).ok().map(Path::display);
        inside.map_or_else(|| self.plan.source.name().to_owned(), |path| path.to_string())
    }

    /// Returns what was asked for, and whether nothing of it is left out. Compat: BuildKit's names of options.
    fn parameters(&self) -> (Value, bool) {
        let mut all_told = true;
        let mut args = Map::new();
        for (prefix, values) in [("build-arg", &self.request.build_args), ("label", &self.request.labels)] {
            for (name, value) in values {
                // Proxies belong to the machine, with their passwords; they leave no trace in the result either.
                if prefix == "build-arg" && name.to_ascii_uppercase().ends_with("_PROXY") {
                    continue;
                }
                if self.wanted.is_full {
                    args.insert(format!("{prefix}:{name}"), json!(value));
                } else {
                    all_told = false;
                }
            }
        }
        self.options(&mut args);
        let mut parameters = object([("frontend", json!(FRONTEND))]);
        if !args.is_empty() {
            parameters.insert("args".to_owned(), Value::Object(args));
        }
        let mounts = self.mounts();
        for (kind, name) in [(MountKind::Secret, "secrets"), (MountKind::Ssh, "ssh")] {
            let of_kind: Vec<&Value> =
                mounts.iter().filter(|(known, _)| *known == kind).map(|(_, value)| value).collect();
            if !of_kind.is_empty() && self.wanted.is_full {
                parameters.insert(name.to_owned(), json!(of_kind));
            } else {
                all_told &= of_kind.is_empty();
            }
        }
        let locals: Vec<Value> = self.locals().into_iter().map(|name| json!({ "name": name })).collect();
        if !locals.is_empty() {
            parameters.insert("locals".to_owned(), json!(locals));
        }
        (Value::Object(parameters), all_told)
    }

    fn options(&self, args: &mut Map<String, Value>) {
        let request = self.request;
        let mut set = |name: &str, value: String| drop(args.insert(name.to_owned(), json!(value)));
        if let Some(target) = &request.target {
            set("target", target.clone());
        }
        if request.no_cache {
            set("no-cache", String::new());
        } else if !request.no_cache_stages.is_empty() {
            set("no-cache", request.no_cache_stages.join(","));
        }
        if request.network != BuildNetwork::Default {
            set("force-network-mode", request.network.name().to_owned());
        }
        if !request.hosts.is_empty() {
            let hosts: Vec<String> = request.hosts.iter().map(|(name, ip)| format!("{name}={ip}")).collect();
            set("add-hosts", hosts.join(","));
        }
        if let Some(size) = request.shm_size {
            set("shm-size", size.to_string());
        }
        if !request.limits.is_empty() {
            let number =
                |limit: Option<u64>| limit.map_or_else(|| "-1".to_owned(), |limit| limit.to_string());
            let limits = request.limits.iter();
            let limits =
                limits.map(|limit| format!("{}={}:{}", limit.name, number(limit.soft), number(limit.hard)));
            set("ulimit", limits.collect::<Vec<_>>().join(","));
        }
        for context in &request.contexts {
            let source = match &context.source {
                ContextSource::Image(reference) => format!("docker-image://{reference}"),
                ContextSource::Scratch => "docker-image://scratch".to_owned(),
                ContextSource::Directory(_) => format!("local:{}", context.name),
                ContextSource::Layout(layout) => self.layout(&context.name, layout),
            };
            set(&format!("context:{}", context.name), source);
        }
    }

    /// Returns what is told of a context that is a layout: its name, and the image if one was taken from it.
    fn layout(&self, name: &str, layout: &str) -> String {
        let full = layout_name(layout);
        // Images are planned as NAME@PLATFORM.
        let is_it = |image: &&PlannedImage| image.name.rsplit_once('@').is_some_and(|(name, _)| name == full);
        let digest = self.plan.images.iter().find(is_it).map(|image| image.digest);
        digest.map_or_else(|| format!("oci-layout:{name}"), |digest| format!("oci-layout:{name}@{digest}"))
    }

    /// Returns the secrets and agents that commands get: their ids, and whether they can do without.
    fn mounts(&self) -> Vec<(MountKind, Value)> {
        let mut found: Vec<(MountKind, Value)> = Vec::new();
        let runs = self.steps().filter_map(|(_, step)| match &step.action {
            Action::Run(run, _) => Some(run),
            _ => None,
        });
        for (mount, _) in runs.flat_map(|run| &run.mounts) {
            let id = match mount.kind {
                MountKind::Secret => secret_id(mount),
                MountKind::Ssh => agent_id(mount),
                _ => continue,
            };
            let mut value = object([("id", json!(id))]);
            if !mount.required {
                value.insert("optional".to_owned(), json!(true));
            }
            let entry = (mount.kind, Value::Object(value));
            if !found.contains(&entry) {
                found.push(entry);
            }
        }
        found
    }

    /// Returns what was read of this machine, of which nothing but a name is told. Compat: BuildKit's names.
    fn locals(&self) -> Vec<&str> {
        let mut locals = Vec::new();
        if self.request.origin.is_none() {
            // Also one of which nothing but the ignore file is read.
            locals.extend(["context", "dockerfile"]);
        }
        let used = |place: &usize| self.reads(Origin::Context(*place));
        let directories = (0..self.plan.contexts.len()).filter(used);
        locals.extend(directories.map(|place| self.plan.contexts[place].name.as_str()));
        locals
    }

    /// Returns whether a step reads files of a place.
    fn reads(&self, from: Origin) -> bool {
        let from = Some(from);
        let is_path =
            |copy: &CopyAction| copy.sources.iter().any(|word| matches!(word, SourceWord::Path { .. }));
        self.steps().any(|(_, step)| match &step.action {
            Action::Copy(copy, _) => copy.from == from && is_path(copy),
            Action::Run(run, _) => {
                run.mounts.iter().any(|(mount, origin)| mount.kind == MountKind::Bind && *origin == from)
            }
            Action::Metadata | Action::Workdir(..) => false,
        })
    }

    /// What is of this machine alone has no digest.
    fn is_complete(&self) -> bool {
        self.locals().is_empty()
    }

    fn is_hermetic(&self) -> bool {
        self.is_complete()
            && !self.steps().any(|(_, step)| match &step.action {
                Action::Run(run, _) => run.network != BuildNetwork::None,
                _ => false,
            })
    }

    fn steps(&self) -> impl Iterator<Item = (&PlannedStage, &crate::plan::Step)> {
        self.plan.stages.iter().flat_map(|stage| stage.steps.iter().map(move |step| (stage, step)))
    }
}
