//! A builder with its own root, fake commands and fake base images.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Read as _, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use shipway_build::{
    BaseImage, BaseImages, BuildError, BuildRequest, Builder, Built, Event, MountSource, Progress, RunStep,
    SeamError, StepRunner,
};
use shipway_layers::{LayerId, LayerStore as _, Unpacked};
use shipway_linux::{Overlay, Root};
use shipway_oci::{DiffId, Digest, ImageConfig, Platform, Reference, RootFs};
use shipway_store::Store;
use tempfile::TempDir;

/// Everything that a test needs.
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
    pub(crate) layers: Arc<Unpacked>,
    pub(crate) runner: Arc<FakeRunner>,
    pub(crate) bases: Arc<FakeBases>,
    pub(crate) log: Arc<Log>,
}

/// The lines of a build's progress.
#[derive(Default)]
pub(crate) struct Log {
    lines: Mutex<Vec<String>>,
    at_a_miss: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.lines.fmt(f)
    }
}

impl Progress for Log {
    fn event(&self, event: &Event<'_>) {
        let line = match event {
            Event::Started { step } => format!("STARTED {}", step.name),
            Event::Cached { step, .. } => format!("CACHED {}", step.name),
            Event::Missed { step, why } => {
                self.at_a_miss.lock().unwrap().take().into_iter().for_each(|change| change());
                format!("MISSED {}: {why}", step.name)
            }
            Event::Done { step, .. } => format!("DONE {}", step.name),
            Event::Failed { step, error, .. } => format!("FAILED {}: {error}", step.name),
            Event::Output { bytes, .. } => format!("OUTPUT {}", String::from_utf8_lossy(bytes)),
            Event::Named { name } => format!("NAMED {}", name.familiar()),
            Event::Warning { message, .. } => format!("WARNING {message}"),
            _ => return,
        };
        self.lines.lock().unwrap().push(line);
    }
}

impl Log {
    pub(crate) fn lines(&self, prefix: &str) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter_map(|line| line.strip_prefix(prefix)).map(|line| line.trim().to_owned()).collect()
    }

    pub(crate) fn clear(&self) {
        self.lines.lock().unwrap().clear();
    }

    /// Does something when the first step is not in the cache.
    pub(crate) fn at_a_miss(&self, change: impl FnOnce() + Send + 'static) {
        *self.at_a_miss.lock().unwrap() = Some(Box::new(change));
    }
}

/// Runs lines of `write PATH TEXT`, `keep PATH` and `mark PATH` (what the first mount has, as a file and as an attribute of one), `remove PATH`, `say TEXT`, `exit CODE`, `env`, `mounts`, `meet N`, `hang`; `#` begins a comment.
#[derive(Debug, Default)]
pub(crate) struct FakeRunner {
    pub(crate) runs: AtomicUsize,
    meeting: Mutex<usize>,
    met: Condvar,
}

impl StepRunner for FakeRunner {
    fn run(&self, step: &RunStep, output: &mut dyn Write) -> Result<i32, SeamError> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let script = step.args.last().cloned().unwrap_or_default();
        let path = |path: &str| step.upper.join(path.trim_start_matches('/'));
        for line in script.lines().flat_map(|line| line.split(" && ")) {
            let words: Vec<&str> = line.trim().splitn(3, ' ').collect();
            match words.as_slice() {
                ["write", file, text] => {
                    fs_err::create_dir_all(path(file).parent().unwrap()).unwrap();
                    fs_err::write(path(file), text).unwrap();
                }
                ["keep", file] => fs_err::write(path(file), mounted(step)).unwrap(),
                ["mark", file] => {
                    fs_err::create_dir_all(path(file)).unwrap();
                    Root::open(&path(file)).unwrap().set_xattr(".", "user.kept", &mounted(step)).unwrap();
                }
                ["remove", file] => fs_err::remove_file(path(file)).unwrap(),
                ["say", ..] => print(output, &line.trim()[4..]),
                ["exit", code] => return Ok(code.parse().unwrap()),
                ["env"] => print(output, &format!("{} {} {}", step.env.join(" "), step.cwd, step.user)),
                ["mounts"] => print(output, &describe(step)),
                [script] if script.starts_with("/dev/pipes/") => print(output, &describe(step)),
                ["meet", count] => self.meet(count.parse().unwrap()),
                ["hang"] => self.hang(step),
                [comment, ..] if comment.starts_with('#') => {}
                other => panic!("the fake runner does not know {other:?}"),
            }
        }
        Ok(0)
    }
}

impl FakeRunner {
    /// Waits until so many commands run at the same time.
    fn meet(&self, count: usize) {
        let mut here = self.meeting.lock().unwrap();
        *here += 1;
        self.met.notify_all();
        let (_here, waited) =
            self.met.wait_timeout_while(here, Duration::from_secs(20), |here| *here < count).unwrap();
        assert!(!waited.timed_out(), "the commands did not run at the same time");
    }

    /// Runs until it is told to stop.
    fn hang(&self, step: &RunStep) {
        *self.meeting.lock().unwrap() += 1;
        self.met.notify_all();
        let nobody = (Mutex::new(()), Condvar::new());
        while !step.stop.is_set() {
            let waiting = nobody.0.lock().unwrap();
            drop(nobody.1.wait_timeout(waiting, Duration::from_millis(5)).unwrap());
        }
    }

    /// Waits until a command hangs.
    pub(crate) fn wait_for_hang(&self) {
        let here = self.meeting.lock().unwrap();
        let waited = self.met.wait_timeout_while(here, Duration::from_secs(20), |here| *here == 0).unwrap();
        assert!(!waited.1.timed_out(), "no command began");
    }
}

fn print(output: &mut dyn Write, line: &str) {
    output.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Returns the bytes of the first mount, or of the only file that is in it.
fn mounted(step: &RunStep) -> Vec<u8> {
    match &step.mounts[0].source {
        MountSource::File { content, .. } => content.clone(),
        MountSource::Bind { fd, .. } => {
            let root = Root::from_fd(fd.try_clone().unwrap());
            let mut bytes = Vec::new();
            root.open_file(&root.names(".").unwrap()[0]).unwrap().read_to_end(&mut bytes).unwrap();
            bytes
        }
        other => panic!("there is nothing to read in {other:?}"),
    }
}

fn describe(step: &RunStep) -> String {
    let mut text = String::new();
    for mount in &step.mounts {
        let source = match &mount.source {
            MountSource::Bind { fd, .. } => {
                let root = Root::from_fd(fd.try_clone().unwrap());
                format!("bind {:?}", root.names(".").map(|names| names.len()).unwrap_or(0))
            }
            MountSource::Cache { directory, .. } => {
                let marker = directory.join("used");
                let times = fs_err::read_to_string(&marker).map_or(0, |text| text.len());
                fs_err::write(&marker, "x".repeat(times + 1)).unwrap();
                format!("cache {times}")
            }
            MountSource::Agent { agent, mode, .. } => format!("agent {agent:?} {mode:o}"),
            MountSource::Tmpfs { size, read_only } => format!("tmpfs {size:?} {}", !read_only),
            MountSource::File { content, mode, .. } => {
                format!("file {} {mode:o}", String::from_utf8_lossy(content))
            }
        };
        write!(text, "{}={source};", mount.target).unwrap();
    }
    text
}

/// Base images by their familiar name.
#[derive(Debug, Default)]
pub(crate) struct FakeBases(Mutex<HashMap<String, BaseImage>>);

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("there is no such image")]
#[diagnostic(help("make it"))]
struct NoImage;

impl BaseImages for FakeBases {
    fn resolve(&self, reference: &Reference, _: &Platform) -> Result<BaseImage, SeamError> {
        self.0.lock().unwrap().get(&reference.familiar()).cloned().ok_or_else(|| SeamError::new(NoImage))
    }

    fn digest(&self, _: &Reference, image_id: &Digest) -> Result<Digest, SeamError> {
        Ok(*image_id)
    }

    fn in_layout(&self, layout: &str, platform: &Platform) -> Result<(BaseImage, Digest), SeamError> {
        let name = format!("{layout}-{}", platform.architecture);
        let image = self.0.lock().unwrap().get(&name).cloned().ok_or_else(|| SeamError::new(NoImage))?;
        let digest = image.image_id;
        Ok((image, digest))
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(Unpacked::open)
    }

    /// Keeps no layer as an archive.
    pub(crate) fn unpacking() -> Self {
        Self::with(Unpacked::open_unpacking)
    }

    fn with(open: fn(Store) -> Unpacked) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("context")).unwrap();
        let store = Store::open(&dir.path().join("root")).unwrap();
        let layers = Arc::new(open(store.clone()));
        Self { dir, store, layers, runner: Arc::default(), bases: Arc::default(), log: Arc::default() }
    }

    /// Makes a base image; `fill` writes its files.
    pub(crate) fn base(&self, name: &str, change: impl FnOnce(&mut ImageConfig), fill: impl FnOnce(&Root)) {
        let mut snapshot = self.layers.prepare(&[]).unwrap();
        // The same image whenever it is made.
        snapshot.latest_mtime = Some(1_000_000_000);
        fill(&Root::open(&snapshot.upper).unwrap());
        let id = self.layers.commit(snapshot).unwrap();
        let layer = self.layers.diff_id(&id).unwrap();
        let mut config = ImageConfig {
            architecture: "amd64".to_owned(),
            os: "linux".to_owned(),
            rootfs: RootFs::of_layers(vec![layer.diff_id]),
            ..ImageConfig::default()
        };
        change(&mut config);
        self.add_base(name, config, vec![layer.id]);
    }

    /// Makes a base image of layers that are there, of which `layers` are mounted.
    pub(crate) fn mended_base(&self, name: &str, diff_ids: Vec<DiffId>, layers: Vec<LayerId>) {
        let config = ImageConfig {
            architecture: "amd64".to_owned(),
            os: "linux".to_owned(),
            rootfs: RootFs::of_layers(diff_ids),
            ..ImageConfig::default()
        };
        self.add_base(name, config, layers);
    }

    fn add_base(&self, name: &str, config: ImageConfig, layers: Vec<LayerId>) {
        let image_id = shipway_oci::Digest::of(&serde_json::to_vec(&config).unwrap());
        let image = BaseImage { image_id, config, layers };
        let name: Reference = name.parse().unwrap();
        self.bases.0.lock().unwrap().insert(name.familiar(), image);
    }

    /// Makes the base image that most tests use.
    pub(crate) fn debian(&self) {
        self.base(
            "debian",
            |_| {},
            |root| {
                root.create_dir_all("usr/lib64", 0o755).unwrap();
                root.create_dir_all("etc", 0o755).unwrap();
                root.symlink(Path::new("usr/lib64"), "lib64").unwrap();
                let mut passwd = root.create_file("etc/passwd", 0o644).unwrap();
                passwd.write_all(b"root:x:0:0::/:\nweb:x:33:33::/:\n").unwrap();
            },
        );
    }

    /// Writes a file of the context; a link if the text starts with `->`.
    pub(crate) fn file(&self, path: &str, text: &str) {
        let path = self.dir.path().join("context").join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        match text.strip_prefix("->") {
            Some(target) => fs_err::os::unix::fs::symlink(target, path).unwrap(),
            None => fs_err::write(path, text).unwrap(),
        }
    }

    pub(crate) fn request(&self, dockerfile: &str) -> BuildRequest {
        let path = self.dir.path().join("Dockerfile");
        fs_err::write(&path, dockerfile).unwrap();
        BuildRequest {
            context: self.dir.path().join("context"),
            dockerfile: path,
            tags: vec!["app".parse().unwrap()],
            platforms: vec![Platform::linux("amd64")],
            ..BuildRequest::default()
        }
    }

    pub(crate) fn builder(&self) -> Builder {
        Builder::new(
            self.store.clone(),
            self.layers.clone(),
            self.runner.clone(),
            self.bases.clone(),
            self.log.clone(),
        )
    }

    pub(crate) fn build(&self, dockerfile: &str) -> Result<Built, BuildError> {
        self.run(&self.request(dockerfile))
    }

    pub(crate) fn run(&self, request: &BuildRequest) -> Result<Built, BuildError> {
        self.log.clear();
        self.builder().build(request)
    }

    pub(crate) fn config(&self, built: &Built) -> ImageConfig {
        self.store.config(&built.image_id).unwrap()
    }

    /// Opens the files of an image.
    pub(crate) fn files(&self, built: &Built) -> Root {
        let layers = self.layers.resolve(&self.config(built).rootfs.diff_ids).unwrap();
        let lowers = self.layers.view(&layers);
        Root::from_fd(Overlay { lowers, ..Overlay::default() }.mount_detached().unwrap())
    }

    /// Lists an image's files: `path mode uid:gid content`, directories with a slash at the end.
    pub(crate) fn listing(&self, built: &Built) -> Vec<String> {
        let root = self.files(built);
        let mut todo = vec![std::path::PathBuf::new()];
        let mut lines = Vec::new();
        while let Some(directory) = todo.pop() {
            for name in root.names(&directory).unwrap() {
                let path = directory.join(name);
                let found = root.metadata(&path).unwrap().unwrap();
                let shown = path.display();
                let owner = format!("{:o} {}:{}", found.mode & 0o7777, found.uid, found.gid);
                lines.push(match found.kind {
                    shipway_linux::Kind::Directory => {
                        todo.push(path.clone());
                        format!("{shown}/ {owner}")
                    }
                    shipway_linux::Kind::Symlink => {
                        format!("{shown} -> {}", root.read_link(&path).unwrap().display())
                    }
                    _ => format!("{shown} {owner} {}", read(&root, &path)),
                });
            }
        }
        lines.sort();
        lines
    }

    /// Fails if something unfinished is left in the root.
    pub(crate) fn assert_nothing_left(&self) {
        for name in ["active", "tmp"] {
            let left: Vec<_> = fs_err::read_dir(self.store.root().join(name)).unwrap().collect();
            assert!(left.is_empty(), "left in {name}: {left:?}");
        }
    }
}

pub(crate) fn read(root: &Root, path: &Path) -> String {
    let mut text = String::new();
    root.open_file(path).unwrap().read_to_string(&mut text).unwrap_or_else(|error| {
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        0
    });
    text
}

/// Renders an error as the program does: message, causes, place, hint.
pub(crate) fn render(error: &dyn miette::Diagnostic) -> String {
    let mut out = format!("error: {error}\n");
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        writeln!(out, "  because: {inner}").unwrap();
        cause = inner.source();
    }
    out.push_str(&shipway_dockerfile::excerpt(error).unwrap_or_default());
    let mut next = Some(error);
    while let Some(inner) = next {
        if let Some(help) = inner.help() {
            writeln!(out, "hint: {help}").unwrap();
        }
        next = inner.diagnostic_source();
    }
    out
}
