//! How long images take to a registry and back.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::inputs::Scratch;
use super::program::{self, Side, in_turn};
use super::shipway::Shipway;
use super::table::Table;

const MIB: u64 = 1 << 20;
/// How long a registry may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where the other registry listens; the network is the group's own.
const PEER: &str = "127.0.0.1:5001";

/// What an image consists of.
struct Shape {
    name: &'static str,
    what: &'static str,
    layers: usize,
    size: u64,
}

const SHAPES: [Shape; 2] = [
    Shape { name: "one", what: "one layer of 1 GiB that does not compress", layers: 1, size: 1024 * MIB },
    Shape { name: "many", what: "40 layers of 5 MiB", layers: 40, size: 5 * MIB },
];

/// Measures push and pull beside skopeo, with our registry and, where it is installed, `docker-registry`.
pub(crate) fn measure(scratch: &Scratch, runs: usize) -> anyhow::Result<Table> {
    let mut table = Table::default();
    let server = Shipway::new(&scratch.path("server"))?;
    let ours = Registry::ours(&server)?;
    let theirs = Registry::theirs(&scratch.path("peer"), &mut table)?;
    let skopeo = program::find("SKOPEO", "skopeo");
    table.note(match &skopeo {
        Some(skopeo) => format!("{}.", program::version(skopeo)),
        None => "skopeo was left out: it is not installed.".to_owned(),
    });
    for shape in &SHAPES {
        for registry in std::iter::once(&ours).chain(&theirs) {
            let dir = scratch.path(&format!("{}-{}", shape.name, registry.name));
            let made = RefCell::new(None);
            let skopeo = skopeo.as_deref();
            for pulls in [false, true] {
                let mut sides = vec![Side {
                    name: "Shipway".to_owned(),
                    run: Box::new(|run| {
                        let image = Image::of_run(&made, shape, &dir, run)?;
                        if pulls { image.pull(&registry.address) } else { image.push(&registry.address) }
                    }),
                }];
                sides.extend(skopeo.map(|skopeo| Side {
                    name: "skopeo".to_owned(),
                    run: Box::new(|run| {
                        let image = Image::of_run(&made, shape, &dir, run)?;
                        image.copy(skopeo, &registry.address, pulls)
                    }),
                }));
                let verb = if pulls { "pull" } else { "push" };
                table.row(
                    &format!("{verb}, {}, {}", shape.what, registry.name),
                    in_turn(&mut sides, 0, runs)?,
                );
            }
        }
    }
    for shape in &SHAPES {
        let dir = scratch.path(&format!("{}-own", shape.name));
        let made = RefCell::new(None);
        let mut sides = [Side {
            name: "Shipway".to_owned(),
            run: Box::new(|run| {
                let image = Image::of_run(&made, shape, &dir, run)?;
                image.push_own(&server, &ours.address)
            }),
        }];
        let what = format!("push, {}, our registry on the same store", shape.what);
        table.row(&what, in_turn(&mut sides, 0, runs)?);
    }
    table.note("Each run has an image of its own, of random bytes. skopeo pushes from a docker-archive and pulls into an OCI layout; Shipway pushes from its store and pulls until containers can run.");
    Ok(table)
}

/// An image that nobody has seen before.
struct Image {
    run: usize,
    dir: PathBuf,
    shipway: Shipway,
}

impl Image {
    /// Returns the image of a run, and makes it if it is the first to ask.
    fn of_run<'a>(
        made: &'a RefCell<Option<Self>>,
        shape: &Shape,
        dir: &Path,
        run: usize,
    ) -> anyhow::Result<std::cell::RefMut<'a, Self>> {
        let mut made = made.borrow_mut();
        if made.as_ref().is_none_or(|image| image.run != run) {
            *made = None;
            *made = Some(Self::make(shape, dir, run)?);
        }
        Ok(std::cell::RefMut::map(made, |made| made.as_mut().expect("it was made")))
    }

    fn make(shape: &Shape, dir: &Path, run: usize) -> anyhow::Result<Self> {
        if dir.exists() {
            fs_err::remove_dir_all(dir)?;
        }
        let context = dir.join("context");
        fs_err::create_dir_all(&context)?;
        let mut dockerfile = "FROM scratch\n".to_owned();
        for layer in 0..shape.layers {
            let mut random = fs_err::File::open("/dev/urandom")?.take(shape.size);
            let mut file = fs_err::File::create(context.join(format!("f{layer}")))?;
            std::io::copy(&mut random, &mut file)?;
            dockerfile.push_str(&format!("COPY f{layer} /f{layer}\n"));
        }
        fs_err::write(context.join("Dockerfile"), dockerfile)?;
        let shipway = Shipway::new(&dir.join("from"))?;
        program::output(shipway.command(&["build", "-q", "-t", "image"]).arg(&context))?;
        program::output(shipway.command(&["save", "image", "-o"]).arg(dir.join("image.tar")))?;
        Ok(Self { run, dir: dir.to_owned(), shipway })
    }

    fn name(&self, registry: &str, who: &str) -> String {
        format!("{registry}/{who}/image:{}", self.run)
    }

    fn push(&self, registry: &str) -> anyhow::Result<f64> {
        let name = self.name(registry, "shipway");
        self.shipway.ok(&["tag", "image", &name])?;
        self.shipway.time(&["push", "-q", &name])
    }

    /// Pushes to a registry from the store that it serves.
    fn push_own(&self, server: &Shipway, registry: &str) -> anyhow::Result<f64> {
        let name = self.name(registry, "own");
        program::output(server.command(&["build", "-q", "-t", &name]).arg(self.dir.join("context")))?;
        server.time(&["push", "-q", &name])
    }

    /// Pulls what is there, or pushes it first.
    fn pull(&self, registry: &str) -> anyhow::Result<f64> {
        self.push(registry)?;
        let to = Shipway::new(&self.dir.join("to"))?;
        to.time(&["pull", "-q", &self.name(registry, "shipway")])
    }

    fn copy(&self, skopeo: &Path, registry: &str, pulls: bool) -> anyhow::Result<f64> {
        let archive = format!("docker-archive:{}", self.dir.join("image.tar").display());
        let there = format!("docker://{}", self.name(registry, "skopeo"));
        let layout = format!("oci:{}:image", self.dir.join("layout").display());
        let copy = |from: &str, to: &str| {
            let mut command = Command::new(skopeo);
            // What it remembers of blobs belongs to the run.
            command.env("HOME", &self.dir).args(["--insecure-policy", "copy", "-q"]);
            command.args(["--src-tls-verify=false", "--dest-tls-verify=false", from, to]);
            program::time(&mut command)
        };
        let pushed = copy(&archive, &there)?;
        if pulls { copy(&there, &layout) } else { Ok(pushed) }
    }
}

/// A registry that runs; it ends with the value.
pub(crate) struct Registry {
    pub(crate) name: &'static str,
    pub(crate) address: String,
    process: Child,
}

impl Registry {
    pub(crate) fn ours(shipway: &Shipway) -> anyhow::Result<Self> {
        let mut command = shipway.command(&["registry", "serve", "--quiet", "--listen", "127.0.0.1:0"]);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut line = String::new();
        let out = process.stdout.take().context("it has no output")?;
        BufReader::new(out).read_line(&mut line)?;
        let address = line.trim().rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Self { name: "our registry", address, process })
    }

    /// Starts Debian's `docker-registry`, or notes why there is none.
    pub(crate) fn theirs(dir: &Path, table: &mut Table) -> anyhow::Result<Option<Self>> {
        let Some(program) = program::find("DOCKER_REGISTRY", "docker-registry") else {
            table.note("`docker-registry` was left out: it is not installed.");
            return Ok(None);
        };
        table.note(format!("docker-registry: {}.", program::version(&program)));
        fs_err::create_dir_all(dir)?;
        let config = dir.join("config.yml");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{PEER}'}}\nlog: {{level: error, accesslog: {{disabled: true}}}}\n",
            dir.display()
        );
        fs_err::write(&config, text)?;
        let mut command = Command::new(program);
        command.arg("serve").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
        let registry = Self { name: "docker-registry", address: PEER.to_owned(), process: command.spawn()? };
        let start = Instant::now();
        while TcpStream::connect(PEER).is_err() {
            if start.elapsed() > PATIENCE {
                bail!("`docker-registry` does not answer");
            }
            std::thread::yield_now();
        }
        Ok(Some(registry))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It keeps nothing that is wanted.
        drop(self.process.kill().and_then(|()| self.process.wait()));
    }
}
