//! What is attested of a result: where it came from, and what is in it.

mod materials;
mod provenance;
mod steps;

use serde_json::Value;
use shipway_dockerfile::UNSEEN_ARGS;
use shipway_layers::Layer;
use shipway_oci::{Attested, Descriptor, Statement, image_purl, without_credentials, without_credentials_in};

use self::provenance::{Facts, predicate};
use crate::plan::{PlannedStage, internal};
use crate::solve::{Outcome, Solver, star};
use crate::time::{now, rfc3339, rfc3339_of};
use crate::{BuildError, Event, InventoryQuestion, SeamError, StepInfo};

pub(crate) use materials::Materials;

/// What is attested of a result. Nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attest {
    /// Where it came from.
    pub provenance: Option<Provenance>,
    /// The packages in it.
    pub sbom: bool,
}

/// How much is told of where a result came from, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Also the values of build arguments, the Dockerfile and its steps, the ids of secrets. Compat: BuildKit, `mode=max`.
    pub is_full: bool,
    /// The form.
    pub version: SlsaVersion,
    /// Who built it, as an address; may be empty.
    pub builder_id: String,
    /// Its author says that the same build gives the same result.
    pub is_reproducible: bool,
}

/// A version of SLSA's provenance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlsaVersion {
    /// `https://slsa.dev/provenance/v0.2`
    V02,
    /// `https://slsa.dev/provenance/v1`
    V1,
}

/// Something that a build read from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Material {
    /// Its address, or a package URL. Without credentials.
    pub uri: String,
    /// Algorithm, and hexadecimal digits.
    pub digest: Option<(String, String)>,
    /// It is a commit of a repository.
    pub is_commit: bool,
}

impl Material {
    /// Something at an address that may have credentials; they are left out.
    pub fn at(address: &str, algorithm: &str, hex: impl Into<String>) -> Self {
        let digest = Some((algorithm.to_owned(), hex.into()));
        Self { uri: without_credentials(address), digest, is_commit: false }
    }

    /// A commit. Spec: SLSA, DigestSet; git names commits by SHA-1, or by SHA-256 where a repository was made so.
    pub fn commit(address: &str, commit: &str) -> Self {
        let algorithm = if commit.len() == materials::SHA1 { "sha1" } else { "sha256" };
        Self { is_commit: true, ..Self::at(address, algorithm, commit) }
    }
}

impl Solver<'_> {
    /// Makes what the request wants to be attested of an image, in an index with it; `None` if that is nothing.
    pub(crate) fn attested(
        &self,
        (stage, outcome, layers): (&PlannedStage, &Outcome, &[Layer]),
        image: Descriptor,
        sbom: Option<Value>,
    ) -> Option<Attested> {
        let wanted = &self.request.attest;
        let mut statements = Vec::new();
        let names: Vec<String> =
            self.request.tags.iter().map(|tag| image_purl(tag, Some(&stage.platform))).collect();
        if let Some(wanted) = &wanted.provenance {
            let (kind, mut said) = predicate(&self.facts(wanted, stage, outcome, layers));
            self.conceal(&mut said);
            statements.push(Statement::new(kind, said, &names, &image.digest));
        }
        if let Some(sbom) = sbom {
            statements.push(Statement::new(Statement::SPDX, sbom, &names, &image.digest));
        }
        let platform = self.request.platform();
        let mut image = Descriptor { platform: Some(platform.clone()), ..image };
        image.annotations.extend(self.request.descriptor_annotations_for(&platform));
        let annotations = self.request.index_annotations.iter().cloned().collect();
        (!statements.is_empty()).then(|| Attested::new(image, &statements, annotations))
    }

    fn facts<'f>(
        &'f self,
        wanted: &'f crate::Provenance,
        stage: &'f PlannedStage,
        outcome: &'f Outcome,
        layers: &'f [Layer],
    ) -> Facts<'f> {
        // A time that is said must be true, and one that is true differs from build to build.
        let is_timeless = self.plan.epoch.is_some();
        let moment = |at: std::time::Duration| (!is_timeless).then(|| rfc3339_of(at));
        let unique = || {
            let text = format!("{:?} {} {}", self.started, std::process::id(), outcome.key);
            shipway_oci::Digest::of(text.as_bytes()).hex()[..32].to_owned()
        };
        Facts {
            wanted,
            request: self.request,
            plan: self.plan,
            materials: self.materials.all(self.plan, self.request),
            started: moment(self.started),
            finished: moment(now()),
            invocation: (!is_timeless).then(unique),
            stage,
            made: &outcome.made,
            layers,
        }
    }

    /// Lists the packages of the result, if that is wanted.
    pub(crate) fn sbom(
        &self,
        stage: &PlannedStage,
        outcome: &Outcome,
        config: &shipway_oci::Digest,
    ) -> Result<Option<Value>, BuildError> {
        if !self.request.attest.sbom {
            return Ok(None);
        }
        let step = internal(self.next_id(), "listing packages".to_owned());
        let start = std::time::Instant::now();
        let progress = &*self.builder.progress;
        self.tell_unlisted(stage);
        progress.event(&Event::Started { step: &step });
        let listed = self.packages(&step, stage, outcome, config);
        let (elapsed, cancelled) = (start.elapsed(), self.request.stop.is_set());
        match &listed {
            Ok(_) => progress.event(&Event::Done { step: &step, elapsed, key: None }),
            Err(error) => {
                let error = error.to_string();
                progress.event(&Event::Failed { step: &step, elapsed, error: &error, cancelled });
            }
        }
        match listed {
            _ if cancelled => Err(BuildError::Cancelled),
            Ok(listed) => Ok(Some(listed)),
            Err(source) => Err(BuildError::ListPackages { source }),
        }
    }

    /// Says so where packages of more than the result are wanted: no list is made of those.
    fn tell_unlisted(&self, result: &PlannedStage) {
        let wants = |stage: &PlannedStage, name: &str| {
            let given = stage.state.args.iter().rfind(|(known, _)| known == name);
            let value = given.and_then(|(_, value)| value.as_deref()).unwrap_or_default();
            !["", "0", "f", "false"].contains(&value.to_ascii_lowercase().as_str())
        };
        let [of_context, of_stage] = UNSEEN_ARGS;
        let others = self.plan.stages.iter().filter(|stage| !std::ptr::eq(*stage, result));
        let stages =
            others.filter(|stage| wants(stage, of_stage)).map(|stage| format!("stage `{}`", stage.name));
        let context = wants(result, of_context).then(|| "the context".to_owned());
        let unlisted: Vec<String> = context.into_iter().chain(stages).collect();
        if !unlisted.is_empty() {
            let message =
                format!("the packages of the result alone are listed, not those of {}", unlisted.join(", "));
            self.builder.progress.event(&Event::Warning { message: &message, span: None, rule: None });
        }
    }

    fn packages(
        &self,
        step: &StepInfo,
        stage: &PlannedStage,
        outcome: &Outcome,
        config: &shipway_oci::Digest,
    ) -> Result<Value, SeamError> {
        let files = self.layers_of(step, &outcome.layers).and_then(|layers| self.open_files(&layers));
        let files = files.map_err(SeamError::new)?;
        let seconds = self.plan.epoch.unwrap_or_else(crate::time::now_seconds);
        let created = rfc3339(seconds, 0);
        let question = InventoryQuestion {
            names: &self.request.tags,
            platform: &stage.platform,
            image_id: *config,
            created: &created,
            stop: &self.request.stop,
        };
        self.builder.inventory.spdx(&files, &question)
    }

    /// Puts stars in the place of secrets, wherever they came from. Addresses keep what leads there, and not who asks.
    fn conceal(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = without_credentials_in(&star(text, &self.request.secrets)),
            Value::Array(values) => values.iter_mut().for_each(|value| self.conceal(value)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.conceal(value)),
            _ => {}
        }
    }
}
