//! The entry points.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shipway_dockerfile::{Dockerfile, Extent, KnownImage, Replaced, parse_until_mistake};
use shipway_layers::LayerStore;
use shipway_oci::Reference;
use shipway_store::Store;

use crate::caches::Caches;
use crate::frontend;
use crate::lint::{extent_of, known_image, lint};
use crate::plan::{Plan, PlannedImage, internal, look_ahead, plan, tell_loaded};
use crate::seams::{NoInventory, RepositoryFlags, Unreachable};
use crate::several::Several;
use crate::solve::{Imports, Solver};
use crate::{
    BaseImages, BuildError, BuildRequest, Built, CacheSource, CacheTarget, Debugger, Event, Inventory,
    Outlook, Progress, Remotes, StepRunner,
};

/// A larger Dockerfile is refused, in bytes.
pub const MAX_DOCKERFILE: u64 = 16 << 20;

/// So many lines with bytes that are not UTF-8 are told of one by one.
const MAX_TOLD: usize = 10;

/// Builds images. Cheap to make; may be used from several threads and processes at once.
#[derive(Clone)]
pub struct Builder {
    pub(crate) store: Store,
    pub(crate) layers: Arc<dyn LayerStore>,
    pub(crate) runner: Arc<dyn StepRunner>,
    pub(crate) bases: Arc<dyn BaseImages>,
    pub(crate) progress: Arc<dyn Progress>,
    pub(crate) remotes: Arc<dyn Remotes>,
    pub(crate) cache_sources: Vec<Arc<dyn CacheSource>>,
    pub(crate) cache_targets: Vec<Arc<dyn CacheTarget>>,
    pub(crate) debugger: Option<Arc<dyn Debugger>>,
    pub(crate) inventory: Arc<dyn Inventory>,
    /// The build is one of those for several platforms: what it makes gets no name.
    pub(crate) several: Option<Arc<Several>>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("root", &self.store.root()).finish_non_exhaustive()
    }
}

impl Builder {
    /// Makes a builder of its parts.
    pub fn new(
        store: Store,
        layers: Arc<dyn LayerStore>,
        runner: Arc<dyn StepRunner>,
        bases: Arc<dyn BaseImages>,
        progress: Arc<dyn Progress>,
    ) -> Self {
        Self {
            store,
            layers,
            runner,
            bases,
            progress,
            remotes: Arc::new(Unreachable { repository: &|_source, _flags| None }),
            inventory: Arc::new(NoInventory),
            cache_sources: Vec::new(),
            cache_targets: Vec::new(),
            debugger: None,
            several: None,
        }
    }

    /// Lets ADD fetch what it names by an address.
    #[must_use]
    pub fn with_remotes(self, remotes: Arc<dyn Remotes>) -> Self {
        Self { remotes, ..self }
    }

    /// Looks for steps in caches elsewhere, in this order, and puts them into others.
    #[must_use]
    pub fn with_caches(self, sources: Vec<Arc<dyn CacheSource>>, targets: Vec<Arc<dyn CacheTarget>>) -> Self {
        Self { cache_sources: sources, cache_targets: targets, ..self }
    }

    /// Lets somebody look around where a command has failed.
    #[must_use]
    pub fn with_debugger(self, debugger: Arc<dyn Debugger>) -> Self {
        Self { debugger: Some(debugger), ..self }
    }

    /// Lets the packages of results be listed.
    #[must_use]
    pub fn with_inventory(self, inventory: Arc<dyn Inventory>) -> Self {
        Self { inventory, ..self }
    }

    /// Builds an image and names it. Nothing gets a name unless everything succeeded, but a cache that cannot be written fails the build
    /// after that; finished steps stay in the cache.
    ///
    /// For several platforms it builds one after another; steps on this machine's platform that they share are done once.
    pub fn build(&self, request: &BuildRequest) -> Result<Built, BuildError> {
        let built = if request.platforms.len() > 1 {
            self.build_several(request)
        } else if request.as_several {
            self.build_several(&BuildRequest { platforms: vec![request.platform()], ..request.clone() })
        } else {
            self.build_one(request)
        };
        // What was on its way when somebody stopped the build fails in its own words.
        built.map_err(|error| if request.stop.is_set() { BuildError::Cancelled } else { error })
    }

    /// Builds for one platform.
    pub(crate) fn build_one(&self, request: &BuildRequest) -> Result<Built, BuildError> {
        let (file, mistake) = read_until_mistake(request)?;
        self.progress.event(&Event::Loaded { source: &file.source });
        if let Some(mistake) = mistake {
            tell_loaded(&file, &*self.progress);
            // It is worse than what the rules find, also where that is an error.
            drop(self.warn(&file, request, &|_base| None, (&[], extent_of(&mistake))));
            return Err(mistake);
        }
        // Nothing that this build finds is collected before it has a name.
        let lease = self.store.lease();
        let _lease =
            lease.map_err(|source| BuildError::Store { action: "reserve the store's content", source })?;
        let mut plan = self.plan(&file, request)?;
        let first = plan.steps.len();
        if !request.no_cache {
            for source in &self.cache_sources {
                let name = format!("importing cache manifest from {}", source.name());
                plan.steps.push(internal(plan.steps.len() + 1, name));
            }
        }
        self.warn(&file, request, &|name| known(&plan, name), (&plan.needed, Extent::Whole))?;
        self.progress.event(&Event::Planned { steps: &plan.steps });
        if !plan.unused_args.is_empty() {
            let names = plan.unused_args.join(" ");
            let message = format!("one or more build arguments were not used: {names}");
            self.progress.event(&Event::Warning { message: &message, span: None, rule: None });
        }
        let imports = Imports::load(self, &plan.steps, first);
        loop {
            let solver = Solver::new(self, request, &plan, &imports);
            match solver.run() {
                Err(BuildError::Cancelled) if solver.lacks_layer() => {}
                done => return done,
            }
        }
    }

    /// Plans a build. Where that fails, it tells what is odd up to there, as far as no image need be known for it.
    fn plan(&self, file: &Dockerfile, request: &BuildRequest) -> Result<Plan, BuildError> {
        plan(file, request, self).inspect_err(|_mistake| {
            let remotes = &self.remotes;
            let repository = |source: &str, flags: RepositoryFlags<'_>| remotes.repository(source, flags);
            let outlook = Outlook { image: &|_base| None, repository: &repository };
            let (wanted, found) = look_ahead((file, request), outlook, false);
            let extent = found.map_or(Extent::Images, |(_, extent)| extent);
            // The mistake is worse, also where that is an error.
            drop(self.warn(file, request, &|_base| None, (&wanted, extent)));
        })
    }

    /// Tells what is odd about the Dockerfile; where its author wants that, it is an error.
    fn warn(
        &self,
        file: &Dockerfile,
        request: &BuildRequest,
        image: &dyn Fn(&str) -> Option<KnownImage>,
        looked: (&[bool], Extent),
    ) -> Result<(), BuildError> {
        self.tell_replaced(file);
        let linted = lint(file, request, image, looked)?;
        for warning in &linted.warnings {
            let line = file.source.position(warning.span.start).line;
            let message = format!("{}: {} (line {line})", warning.rule.name(), warning.message);
            let (span, rule) = (Some(warning.span), Some(warning.rule));
            self.progress.event(&Event::Warning { message: &message, span, rule });
        }
        linted.failure().map_or(Ok(()), Err)
    }

    /// Tells of bytes that are not what was written.
    fn tell_replaced(&self, file: &Dockerfile) {
        for Replaced { span, byte, count } in file.replaced.iter().take(MAX_TOLD) {
            let line = file.source.position(span.start).line;
            let more = if *count > 1 { format!(", nor are {} more", count - 1) } else { String::new() };
            let message = format!(
                "byte 0x{byte:02X} is not UTF-8{more} (line {line}): U+FFFD stands in its place, save the file as UTF-8"
            );
            self.progress.event(&Event::Warning { message: &message, span: Some(*span), rule: None });
        }
        if let Some(more) = file.replaced.len().checked_sub(MAX_TOLD).filter(|more| *more > 0) {
            let message = format!("{more} more lines have bytes that are not UTF-8");
            self.progress.event(&Event::Warning { message: &message, span: None, rule: None });
        }
    }

    /// Returns the caches of commands.
    pub(crate) fn caches(&self) -> Caches {
        Caches::below(self.store.root())
    }

    /// Returns a directory of the builder below the store's root.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        self.store.root().join("build").join(name)
    }
}

/// Returns what a plan knows of a base image.
fn known(plan: &Plan, name: &str) -> Option<KnownImage> {
    let reference: Reference = name.parse().ok()?;
    let is_it = |image: &&PlannedImage| {
        image.name.rsplit_once('@').is_some_and(|(of, _)| of == reference.to_string())
    };
    plan.images.iter().find(is_it).map(|found| known_image(&found.image.config))
}

/// Reads and parses the Dockerfile of a request without building.
pub fn read(request: &BuildRequest) -> Result<Dockerfile, BuildError> {
    let (file, mistake) = read_until_mistake(request)?;
    mistake.map_or(Ok(file), Err)
}

/// Reads and parses the Dockerfile of a request up to its first mistake; returns what stands before that, and the mistake.
pub fn read_until_mistake(request: &BuildRequest) -> Result<(Dockerfile, Option<BuildError>), BuildError> {
    let wrong = |error| BuildError::Dockerfile(Box::new(error));
    let name = name_of(&request.dockerfile);
    let (file, mistake) = match &request.dockerfile_text {
        Some(text) => parse_until_mistake(&name, text),
        None => parse_until_mistake(&name, &load(&request.dockerfile)?),
    };
    frontend::check(request, &file)?;
    Ok((file, mistake.map(wrong)))
}

/// Reads and parses a Dockerfile that is in a file.
pub fn check(dockerfile: &Path) -> Result<Dockerfile, BuildError> {
    parse(dockerfile, &load(dockerfile)?)
}

/// Parses a Dockerfile that is in no file, or was read.
pub fn parse(dockerfile: &Path, bytes: &[u8]) -> Result<Dockerfile, BuildError> {
    shipway_dockerfile::parse(&name_of(dockerfile), bytes)
        .map_err(|error| BuildError::Dockerfile(Box::new(error)))
}

fn load(dockerfile: &Path) -> Result<Vec<u8>, BuildError> {
    use std::io::Read as _;
    let fail = |source| BuildError::ReadDockerfile { path: dockerfile.to_owned(), source };
    let file = fs_err::File::open(dockerfile).map_err(fail)?;
    let mut bytes = Vec::new();
    file.take(MAX_DOCKERFILE + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MAX_DOCKERFILE {
        return Err(fail(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than 16 MiB")));
    }
    Ok(bytes)
}

/// Returns what messages call a Dockerfile.
fn name_of(dockerfile: &Path) -> String {
    let name = dockerfile.file_name();
    name.map_or_else(|| "Dockerfile".into(), |name| name.to_string_lossy().into_owned())
}
