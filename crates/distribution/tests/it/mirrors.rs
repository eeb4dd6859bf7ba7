use std::time::Duration;

use shipway_distribution::RegistrySettings;

use crate::image::{Image, noise};
use crate::machine::Machine;
use shipway_testkit::registry::{Asked, Drips, Reply, TestRegistry};

fn image() -> Image {
    Image::of(&[&noise(600_000), b"small"])
}

/// A registry that has an image, and a mirror of it, which answers as `fault` says.
struct Pair {
    origin: TestRegistry,
    mirror: TestRegistry,
    image: Image,
    machine: Machine,
}

impl Pair {
    fn new(fault: impl Fn(&Asked, usize) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let (origin, mirror) = (TestRegistry::start(), TestRegistry::with_fault(fault));
        let image = image();
        image.publish(&origin, "web", "1");
        image.publish(&mirror, "web", "1");
        let mut machine = Machine::new();
        let mirrors = vec![format!("http://{}", mirror.address)];
        machine.settings.set(&origin.address, RegistrySettings { mirrors, ..RegistrySettings::default() });
        Self { origin, mirror, image, machine }
    }

    fn pull(&self) {
        self.machine.pull(&self.origin.name("web:1")).unwrap();
        for layer in 0..2 {
            assert!(self.machine.trees.has_layer(self.image.diff_id(layer)));
        }
    }
}

#[test]
fn a_mirror_that_has_everything_is_all_that_is_asked() {
    let pair = Pair::new(|_, _| None);
    pair.machine.log_in(&pair.origin.address, "me", "secret");
    pair.pull();
    assert_eq!(pair.origin.asked().len(), 0);
    let asked = pair.mirror.asked();
    let query = format!("?ns={}", pair.origin.address);
    assert!(asked.iter().all(|asked| asked.target.ends_with(&query)), "{asked:?}");
    // It may belong to somebody else.
    assert!(asked.iter().all(|asked| asked.header("authorization").is_none()), "{asked:?}");
    // A push goes to the registry itself.
    pair.mirror.forget_questions();
    pair.machine.push(&pair.origin.name("web:1")).unwrap();
    assert_eq!(pair.mirror.asked().len(), 0);
}

#[test]
fn whatever_a_mirror_does_wrong_the_registry_itself_makes_good() {
    type Fault = Box<dyn Fn(&Asked, usize) -> Option<Reply> + Send + Sync>;
    let image = image();
    let of_large = format!("/blobs/{}", image.blob_digest(0));
    let blob = image.blobs[0].clone();
    let mut wrong = blob.clone();
    wrong[300_000] ^= 1;
    // What is in it cannot even be read up to there.
    let mut unreadable = blob.clone();
    unreadable[10..2000].fill(0xff);
    let blobs = |reply: Reply| -> Fault {
        Box::new(move |asked, _| asked.is("GET", "/blobs/").then(|| reply.clone()))
    };
    let large = |reply: Reply| -> Fault {
        let of_large = of_large.clone();
        Box::new(move |asked, _| asked.is("GET", &of_large).then(|| reply.clone()))
    };
    let all = |reply: Reply| -> Fault { Box::new(move |_, _| Some(reply.clone())) };
    let other = Reply::new(200, "{}").header("docker-content-digest", format!("sha256:{}", "0".repeat(64)));
    let drips = Drips { at_once: 1000, piece: 1, pause: Duration::from_millis(10) };
    let drips = Reply { drips: Some(drips), ..Reply::new(200, blob.clone()) };
    let faults: Vec<(&str, Fault)> = vec![
        ("has nothing", all(Reply::new(404, ""))),
        ("wants a name", all(Reply::new(401, "").header("www-authenticate", "Basic realm=\"x\""))),
        ("is broken", all(Reply::new(503, ""))),
        ("has another manifest", all(other)),
        ("has no blobs", blobs(Reply::new(404, ""))),
        ("has other blobs", blobs(Reply::new(200, "other"))),
        ("lies about a blob", large(Reply::new(200, wrong))),
        ("has one that nobody can read", large(Reply::new(200, unreadable))),
        ("hardly sends anything", large(drips)),
        ("never gets further", large(Reply { cut: Some(1000), ..Reply::new(200, blob) })),
    ];
    for (name, fault) in faults {
        let mut pair = Pair::new(fault);
        pair.machine.silence = Duration::from_millis(300);
        pair.pull();
        assert!(!pair.origin.asked().is_empty(), "case {name}");
        assert_eq!(fs_err::read_dir(pair.machine.store.tmp()).unwrap().count(), 0, "case {name}");
    }
}

#[test]
fn what_a_mirror_has_sent_is_not_fetched_again() {
    let image = image();
    let of_large = format!("/blobs/{}", image.blob_digest(0));
    let blob = image.blobs[0].clone();
    let pair = Pair::new(move |asked, _| {
        let is_first = asked.header("range").is_none();
        asked.is("GET", &of_large).then(|| match is_first {
            true => Reply { cut: Some(400_000), ..Reply::new(200, blob.clone()) },
            false => Reply::new(500, ""),
        })
    });
    pair.pull();
    let asked = pair.origin.asked();
    let range = asked.iter().find_map(|asked| asked.header("range")).unwrap();
    assert_eq!(range, "bytes=400000-");
}

#[test]
fn a_mirror_that_has_nothing_is_named_when_nobody_has() {
    let pair = Pair::new(|_, _| Some(Reply::new(404, "")));
    pair.pull();
    assert_eq!(pair.machine.notes.take(), [""; 0], "the registry itself had it");
    pair.machine.refused(&pair.origin.name("web:2"));
    let want = format!("the mirror {} does not have it in `web`", pair.mirror.address);
    assert_eq!(pair.machine.notes.take(), [want]);
}

#[test]
fn a_mirror_that_is_not_there_is_left_out() {
    let mut pair = Pair::new(|_, _| None);
    // A port that was free a moment ago.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mirrors = vec![format!("http://{gone}")];
    let settings = RegistrySettings { mirrors, ..RegistrySettings::default() };
    pair.machine.settings.set(&pair.origin.address, settings);
    pair.pull();
}

#[test]
fn a_mirror_that_does_not_get_well_is_not_waited_for() {
    let pair = Pair::new(|asked, _| asked.is("GET", "/manifests/").then(|| Reply::new(503, "")));
    pair.pull();
    assert_eq!(pair.mirror.count("GET", "/manifests/"), 2, "the registry itself has it");
    let broken = TestRegistry::with_fault(|_, _| Some(Reply::new(503, "")));
    pair.machine.refused(&broken.name("web:1"));
    assert!(broken.count("GET", "/manifests/") > 2, "nobody else is there to ask");
}

#[test]
fn containerds_settings_hold_where_ours_say_nothing() {
    let (origin, mirror) = (TestRegistry::start(), TestRegistry::start());
    let image = image();
    image.publish(&origin, "web", "1");
    image.publish(&mirror, "web", "1");
    let mut machine = Machine::new();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join(&origin.address);
    fs_err::create_dir(&folder).unwrap();
    // It may be behind: what a tag stands for the registry itself says.
    let text = format!("[host.\"http://{}\"]\ncapabilities = [\"pull\"]\n", mirror.address);
    fs_err::write(folder.join("hosts.toml"), text).unwrap();
    machine.settings.containerd = vec![dir.path().to_owned()];
    machine.pull(&origin.name("web:1")).unwrap();
    assert_eq!((origin.count("GET", "/manifests/"), origin.count("GET", "/blobs/")), (1, 0));
    assert_eq!((mirror.count("GET", "/manifests/"), mirror.count("GET", "/blobs/")), (0, 3));

    fs_err::write(folder.join("hosts.toml"), "[host.\"ftp://mirror\"]").unwrap();
    let error = machine.refused(&origin.name("web:2"));
    assert!(error.to_string().contains("hosts.toml` names `ftp://mirror`"), "{error}");
}

#[test]
fn headers_of_a_host_are_for_that_host() {
    let place = TestRegistry::start();
    let image = image();
    image.publish(&place, "web", "1");
    let to = place.address.clone();
    let origin = TestRegistry::with_fault(move |asked, _| {
        let away = format!("http://{to}{}", asked.target);
        asked.is("GET", "/blobs/").then(|| Reply::new(307, "").header("Location", away))
    });
    image.publish(&origin, "web", "1");
    let mut machine = Machine::new();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join(&origin.address);
    fs_err::create_dir(&folder).unwrap();
    let text = format!("server = \"http://{}\"\n[header]\nx-token = \"secret\"\n", origin.address);
    fs_err::write(folder.join("hosts.toml"), text).unwrap();
    machine.settings.containerd = vec![dir.path().to_owned()];
    machine.pull(&origin.name("web:1")).unwrap();
    assert!(origin.asked().iter().all(|asked| asked.header("x-token") == Some("secret")));
    assert_eq!(place.count("GET", "/blobs/"), 3);
    assert!(place.asked().iter().all(|asked| asked.header("x-token").is_none()));
}
