use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use miette::Diagnostic;
use shipway_fetch::Retry;
use shipway_layers::{LayerStore as _, Unpacked as Layers};
use shipway_store::Store;

use super::*;
use crate::deb::tests::{Entry, deb_of};
use crate::lock::Guarded;
use crate::request::{Progress, Step, StepRunner};
use crate::signature::tests::{now, signed_with_keyring};

/// What the server does instead of answering as it should, once for each time it is listed.
#[derive(Clone)]
enum Fault {
    Busy,
    BreakOff(usize),
    Send(Vec<u8>),
}

/// A mirror on this machine that counts what it is asked.
struct Mirror {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    files: Guarded<HashMap<String, Vec<u8>>>,
    faults: Guarded<HashMap<String, Vec<Fault>>>,
    asked: Guarded<Vec<String>>,
}

impl Mirror {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let of_server = Arc::clone(&shared);
        // The thread ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&of_server);
                std::thread::spawn(move || drop(shared.answer(&stream)));
            }
        });
        Self { address, shared }
    }

    fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.shared.files.lock().insert(path.to_owned(), bytes.into());
    }

    fn fail(&self, path: &str, faults: &[Fault]) {
        self.shared.faults.lock().insert(path.to_owned(), faults.to_vec());
    }

    fn times_asked(&self, part: &str) -> usize {
        self.shared.asked.lock().iter().filter(|path| path.contains(part)).count()
    }
}

impl Shared {
    fn answer(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next().unwrap_or(Ok(String::new()))?;
        for line in lines {
            if line?.is_empty() {
                break;
            }
        }
        let path = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
        self.asked.lock().push(path.clone());
        let fault = self
            .faults
            .lock()
            .get_mut(&path)
            .filter(|faults| !faults.is_empty())
            .map(|faults| faults.remove(0));
        let file = self.files.lock().get(&path).cloned();
        let (status, body, sent) = match (fault, file) {
            (Some(Fault::Busy), _) => ("503 Busy", Vec::new(), usize::MAX),
            (Some(Fault::Send(other)), _) => ("200 OK", other, usize::MAX),
            (Some(Fault::BreakOff(after)), Some(file)) => ("200 OK", file, after),
            (_, Some(file)) => ("200 OK", file, usize::MAX),
            (_, None) => ("404 Not Found", Vec::new(), usize::MAX),
        };
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        stream.write_all(head.as_bytes())?;
        stream.write_all(&body[..sent.min(body.len())])
    }
}

/// Takes the place of a container: looks at the tree, runs nothing.
#[derive(Debug)]
struct Pretend(i32);

impl StepRunner for Pretend {
    fn run(
        &self,
        step: &Step<'_>,
        output: &mut dyn std::io::Write,
    ) -> Result<i32, Box<dyn Diagnostic + Send + Sync>> {
        assert!(step.upper.join("usr/bin/sh").exists() && step.upper.join("proc").is_dir());
        assert!(
            step.args[2].contains("dpkg --force-depends --no-triggers --configure --pending"),
            "{:?}",
            step.args
        );
        writeln!(output, "setting up").unwrap();
        Ok(self.0)
    }
}

#[derive(Debug, Default)]
struct Notes(Guarded<Vec<String>>);

impl Progress for Notes {
    fn event(&self, event: &Event<'_>) {
        if let Event::Note(text) = event {
            self.0.lock().push((*text).to_owned());
        }
    }
}

/// A mirror with one suite, a host that uses it, and a store.
struct World {
    mirror: Mirror,
    dir: tempfile::TempDir,
    store: Store,
    layers: Layers,
    fetch: shipway_fetch::Config,
    notes: Notes,
}

const APT: &str = "pool/apt.deb";

fn packages() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let control = |name: &str| format!("Package: {name}\nVersion: 1\nArchitecture: amd64\nDescription: x\n");
    let deb = |name: &str, entries: &[Entry<'_>]| deb_of(&[("control", &control(name))], entries);
    vec![
        (
            "dash",
            "Essential: yes\n",
            deb("dash", &[Entry::File("./bin/dash", 0o755, "shell"), Entry::Symlink("./bin/sh", "dash")]),
        ),
        ("apt", "Depends: libapt\n", deb("apt", &[Entry::File("./usr/bin/apt", 0o755, "apt")])),
        ("libapt", "", deb("libapt", &[Entry::File("./usr/lib/libapt.so", 0o644, "lib")])),
        ("ca-certificates", "", deb("ca-certificates", &[Entry::Dir("./etc/ssl/", 0o755)])),
    ]
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("root")).unwrap();
        let layers = Layers::open(store.clone());
        let retry = Retry {
            attempts: 3,
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(5),
        };
        let fetch = shipway_fetch::Config { retry, ..shipway_fetch::Config::default() };
        let world = Self { mirror: Mirror::start(), dir, store, layers, fetch, notes: Notes::default() };
        world.publish("bookworm", "Debian", "");
        world
    }

    /// Puts a suite on the mirror and makes the host use it.
    fn publish(&self, suite: &str, origin: &str, more: &str) {
        let mut index = String::new();
        for (name, fields, deb) in packages() {
            let path = format!("pool/{name}.deb");
            let sum = Digest::of(&deb).hex();
            write!(index, "Package: {name}\nVersion: 1\nArchitecture: {0}\n{fields}Filename: {path}\nSize: {1}\nSHA256: {sum}\n\n", architecture(), deb.len()).unwrap();
            self.mirror.put(&path, deb);
        }
        let path = format!("main/binary-{}/Packages.gz", architecture());
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(index.as_bytes()).unwrap();
        let packed = gzip.finish().unwrap();
        let release = format!(
            "Origin: {origin}\nSuite: {suite}\nCodename: bookworm\nDate: Wed, 15 Nov 2023 00:00:00 UTC\n{more}Architectures: {}\nSHA256:\n {} {} {path}\n",
            architecture(),
            Digest::of(&packed).hex(),
            packed.len()
        );
        let (signed, keyring) = signed_with_keyring(&release);
        self.mirror.put("dists/bookworm/InRelease", signed);
        self.mirror.put(&format!("dists/bookworm/{path}"), packed);
        self.host_file("usr/share/keyrings/k.asc", &keyring);
        let source = format!(
            "Types: deb\nURIs: {}\nSuites: bookworm\nComponents: main\nSigned-By: /usr/share/keyrings/k.asc\n",
            self.mirror.address
        );
        self.host_file("etc/apt/sources.list.d/debian.sources", &source);
        self.host_file("etc/os-release", "ID=debian\nVERSION_CODENAME=bookworm\n");
    }

    fn host_file(&self, path: &str, text: &str) {
        let path = self.dir.path().join("host").join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    fn request(&self) -> Request {
        Request { host: self.dir.path().join("host"), ..Request::new(now()) }
    }

    fn run(&self, request: &Request) -> Result<Bootstrapped, BootstrapError> {
        self.run_with(request, &Pretend(0))
    }

    fn run_with(&self, request: &Request, runner: &Pretend) -> Result<Bootstrapped, BootstrapError> {
        let deps = Deps {
            store: &self.store,
            layers: &self.layers,
            runner,
            fetch: &self.fetch,
            progress: &self.notes,
        };
        run(request, &deps)
    }

    fn nothing_was_kept(&self) {
        assert!(self.store.images().unwrap().is_empty());
        let left = |name: &str| fs_err::read_dir(self.store.root().join(name)).unwrap().count();
        assert_eq!((left("layers"), left("active")), (0, 0));
    }
}

#[test]
fn an_archive_becomes_an_image_and_is_found_the_second_time() {
    let world = World::new();
    let name: Reference = "debian:12".parse().unwrap();
    let request = Request { name: Some(name.clone()), ..world.request() };
    let made = world.run(&request).unwrap();
    let names: Vec<&str> = made.packages.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["apt", "ca-certificates", "dash", "libapt"]);
    assert_eq!(made.names, ["debian:bookworm".parse().unwrap(), name]);
    let tree = world.layers.view(std::slice::from_ref(&made.layer)).remove(0);
    assert_eq!(fs_err::read_to_string(tree.join("usr/bin/sh")).unwrap(), "shell");
    let sources = fs_err::read_to_string(tree.join("etc/apt/sources.list.d/debian.sources")).unwrap();
    assert!(sources.contains(&format!("URIs: {}\nSuites: bookworm\n", world.mirror.address)), "{sources}");
    let config = world.store.config(&made.image_id).unwrap();
    assert_eq!(config.created.as_deref(), Some("2023-11-15T00:00:00Z"));
    assert_eq!(config.history[0].created_by.as_deref(), Some("shipway bootstrap debian:bookworm"));

    assert_eq!(world.mirror.times_asked(APT), 1);
    let again = world.run(&request).unwrap();
    assert_eq!((again.cached, again.image_id), (true, made.image_id));
    // Made anew, it is the same, and no package is downloaded.
    let anew = world.run(&Request { again: true, ..request }).unwrap();
    assert_eq!((anew.cached, anew.image_id), (false, made.image_id));
    assert_eq!((world.mirror.times_asked(APT), world.mirror.times_asked("Packages")), (1, 1));
}

#[test]
fn a_bad_connection_is_tried_again() {
    let world = World::new();
    world.mirror.fail("dists/bookworm/InRelease", &[Fault::Busy]);
    world.mirror.fail(APT, &[Fault::BreakOff(10), Fault::BreakOff(50)]);
    world.run(&world.request()).unwrap();
    assert_eq!((world.mirror.times_asked("InRelease"), world.mirror.times_asked(APT)), (2, 3));
}

#[test]
fn what_is_not_what_was_signed_is_refused_and_nothing_is_kept() {
    let deb = packages().remove(1).2;
    let changed: Vec<u8> = deb.iter().map(|byte| byte ^ u8::from(*byte == b'x')).collect();
    let index = format!("dists/bookworm/main/binary-{}/Packages.gz", architecture());
    for (name, path, faults) in [
        ("another package", APT, vec![Fault::Send(changed)]),
        ("another index", index.as_str(), vec![Fault::Send(b"Package: evil\n".to_vec())]),
        ("a longer package", APT, vec![Fault::Send([deb.clone(), deb].concat())]),
    ] {
        let world = World::new();
        world.mirror.fail(path, &faults);
        let error = world.run(&world.request()).unwrap_err();
        let expected = matches!(error, BootstrapError::Mismatch { .. } | BootstrapError::Fetch { .. });
        assert!(expected, "case {name}: {error:?}");
        world.nothing_was_kept();
        // The cache was not poisoned.
        world.run(&world.request()).unwrap();
    }
}

#[test]
fn an_untrusted_description_is_refused() {
    let world = World::new();
    let (signed, _) = signed_with_keyring("Origin: Debian\nCodename: bookworm\n");
    for (name, body) in [
        ("changed", signed.replace("bookworm", "trixie")),
        ("unsigned", "Origin: Debian\n".to_owned()),
        ("login page", "<html>please log in</html>".to_owned()),
    ] {
        world.mirror.fail("dists/bookworm/InRelease", &[Fault::Send(body.into_bytes())]);
        let error = world.run(&world.request()).unwrap_err();
        assert!(matches!(error, BootstrapError::Signature { .. }), "case {name}: {error:?}");
        let hint = error.diagnostic_source().and_then(|source| source.help()).map(|help| help.to_string());
        assert!(hint.is_some(), "case {name}");
    }
    let (other, _) = signed_with_keyring("Origin: Debian\nCodename: trixie\nSuite: stable\n");
    world.mirror.fail("dists/bookworm/InRelease", &[Fault::Send(other.into_bytes())]);
    let error = world.run(&world.request()).unwrap_err();
    assert!(matches!(error, BootstrapError::Release { .. }), "another suite: {error:?}");
    world.nothing_was_kept();
}

#[test]
fn an_old_description_is_refused_unless_that_is_accepted() {
    let world = World::new();
    world.publish("oldstable", "Debian", "Valid-Until: Thu, 16 Nov 2023 00:00:00 UTC\n");
    let error = world.run(&world.request()).unwrap_err();
    assert!(matches!(error, BootstrapError::Expired { .. }), "{error:?}");
    assert!(error.help().unwrap().to_string().contains("--accept-expired-release"));
    let accepted = Request { accept_expired: true, ..world.request() };
    let made = world.run(&accepted).unwrap();
    let tree = world.layers.view(std::slice::from_ref(&made.layer)).remove(0);
    assert!(tree.join("etc/apt/apt.conf.d/shipway-release-date").exists());
    assert!(world.notes.0.lock().iter().any(|note| note.contains("has expired")));

    world.host_file("etc/apt/apt.conf.d/99old", "Acquire::Check-Valid-Until \"false\";\n");
    assert!(world.run(&world.request()).unwrap().cached);
}

#[test]
fn missing_suites_mirrors_and_vendors_are_told_apart() {
    let world = World::new();
    let suite = |name: &str| Some(Suite { distribution: crate::Distribution::Debian, name: name.to_owned() });
    let error = world.run(&Request { suite: suite("trixie"), ..world.request() }).unwrap_err();
    assert!(matches!(error, BootstrapError::UnknownSuite { .. }), "{error:?}");

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mirror = Some(format!("http://me:secret@{closed}/debian"));
    let keyring = Some(world.dir.path().join("host/usr/share/keyrings/k.asc"));
    let error = world.run(&Request { mirror, keyring, ..world.request() }).unwrap_err();
    let BootstrapError::Fetch { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("3 attempts"), "{source}");
    assert!(!format!("{error} {source}").contains("secret"), "{error}");

    world.publish("bookworm", "Vendor", "");
    let error = world.run(&world.request()).unwrap_err();
    assert!(matches!(error, BootstrapError::NoSources { .. }), "{error:?}");
    assert!(world.notes.0.lock()[0].contains("Vendor"));
}

#[test]
fn failing_scripts_show_their_output_and_leave_nothing() {
    let world = World::new();
    let error = world.run_with(&world.request(), &Pretend(7)).unwrap_err();
    let BootstrapError::Configure { status: 7, output } = &error else { panic!("{error:?}") };
    assert_eq!(output, "setting up");
    world.nothing_was_kept();
}

#[test]
fn aliases_stay_what_they_are_in_the_image() {
    let world = World::new();
    world.publish("stable", "Debian", "");
    let shared = &world.mirror.shared;
    let signed = shared.files.lock().get("dists/bookworm/InRelease").cloned().unwrap();
    world.mirror.put("dists/stable/InRelease", signed);
    let request = Request::for_reference(&"debian:stable-slim".parse().unwrap(), now()).unwrap();
    let made = world.run(&Request { host: world.dir.path().join("host"), ..request }).unwrap();
    assert_eq!(made.names, ["debian:bookworm".parse().unwrap(), "debian:stable-slim".parse().unwrap()]);
    let tree = world.layers.view(std::slice::from_ref(&made.layer)).remove(0);
    let sources = fs_err::read_to_string(tree.join("etc/apt/sources.list.d/debian.sources")).unwrap();
    assert!(sources.contains("Suites: bookworm\n"), "{sources}");
}
