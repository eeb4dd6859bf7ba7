//! The whole way from a request to an image.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use shipway_fetch::Client;
use shipway_layers::Snapshot;
use shipway_oci::{Digest, Hasher, Platform, Reference, without_credentials};
use time::OffsetDateTime;

use crate::apt::HostApt;
use crate::archive::{FileCache, SuiteIndex, open_suite};
use crate::configure;
use crate::database::{self, Unpacked};
use crate::error::BootstrapError;
use crate::fill::{Supply, fill};
use crate::image::{Remembered, Subject, commit};
use crate::index::PackageIndex;
use crate::plan::{PlannedSource, load_keyring, plan_sources, resolve_suite};
use crate::request::{Bootstrapped, Deps, Event, Phase, Request};
use crate::resolve::resolve;
use crate::suite::{Suite, split_pocket};
use crate::tree::Tree;

/// Changes whenever the same packages would give another image.
const RECIPE: u32 = 1;

/// In every image beside the essential packages: what installs further ones, and what lets it do so over TLS.
const ALWAYS: [&str; 2] = ["apt", "ca-certificates"];

/// Makes a base image, or finds the one that was made of the same archive before.
///
/// Nothing gets a name before everything is on the disk; whatever fails leaves only downloaded files in the cache.
pub fn run(request: &Request, deps: &Deps<'_>) -> Result<Bootstrapped, BootstrapError> {
    let architecture = architecture();
    let host = HostApt::load(&request.host, architecture);
    let client = client(deps, &host)?;
    let suite = resolve_suite(request, &host)?;
    // The collector must not take what is about to be found or made.
    let _lease = deps.store.lease().map_err(|source| BootstrapError::Store { source })?;
    deps.progress.event(&Event::Phase(Phase::Index));
    let suite = follow_alias(request, &host, suite, &client)?;
    let suites = open_suites(request, deps, &host, &suite, &client)?;
    let codename = codename(&suites, &suite);
    let names = names(request, &suite, &codename);
    let now = seconds(request.now);
    let memory = Memory::open(deps, &suites, request, architecture)?;
    if let Some(found) =
        memory.load().filter(|_| !request.again).and_then(|known| known.find(deps, &names, &codename, now))
    {
        return Ok(found);
    }

    let cache = |name: &str| FileCache::open(deps.store.root().join("cache").join(name));
    let index = read_indexes(&client, &cache("indexes")?, &suites, architecture)?;
    let wanted: Vec<String> =
        ALWAYS.iter().map(|name| (*name).to_owned()).chain(request.include.iter().cloned()).collect();
    let packages = resolve(&index, &wanted)?;
    tracing::debug!(packages = packages.len(), "resolved");

    deps.progress.event(&Event::Phase(Phase::Unpack));
    let mut snapshot = deps.layers.prepare(&[]).map_err(|source| BootstrapError::Layer { source })?;
    let created =
        suites.iter().filter_map(|suite| suite.release.date).max().unwrap_or(OffsetDateTime::UNIX_EPOCH);
    snapshot.latest_mtime = Some(created.unix_timestamp());
    let debs = cache("debs")?;
    let supply = Supply { client: &client, cache: &debs, suites: &suites, progress: deps.progress };
    let of_tree = |operation| BootstrapError::io(operation, &snapshot.upper);
    let tree = Tree::start(&snapshot.upper, architecture).map_err(of_tree("start a tree in"))?;
    let unpacked = fill(supply, &tree, &packages)?;
    let triggers = database::write(&tree, &unpacked).map_err(of_tree("write dpkg's database in"))?;
    let accepts_expired = suites.iter().any(|suite| suite.expired || !suite.source.check_valid_until);
    let sources = sources_text(&suites);
    configure::write_settings(&tree, &sources, accepts_expired).map_err(of_tree("write settings in"))?;
    configure::prepare(&tree).map_err(of_tree("make mount points in"))?;
    tree.finish().map_err(of_tree("set the modes of directories in"))?;

    deps.progress.event(&Event::Phase(Phase::Configure));
    configure_in_container(deps, &snapshot, &unpacked, &triggers, created.unix_timestamp())?;

    deps.progress.event(&Event::Phase(Phase::Commit));
    let packages = unpacked.into_iter().map(|package| (package.name, package.version)).collect();
    let made = commit(deps, snapshot, Subject { names, codename, created, packages }, now)?;
    memory.save(&Remembered::of(&made))?;
    Ok(made)
}

fn configure_in_container(
    deps: &Deps<'_>,
    snapshot: &Snapshot,
    packages: &[Unpacked],
    triggers: &database::Triggers,
    epoch: i64,
) -> Result<(), BootstrapError> {
    configure::run(snapshot, packages, triggers, epoch, (deps.runner, deps.progress))?;
    configure::clean(&snapshot.upper).map_err(BootstrapError::io("clean up", &snapshot.upper))
}

/// Returns Debian's name of this machine's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "armhf",
        "x86" => "i386",
        "powerpc64" => "ppc64el",
        "loongarch64" => "loong64",
        other => other,
    }
}

fn client(deps: &Deps<'_>, host: &HostApt) -> Result<Client, BootstrapError> {
    let mut config = deps.fetch.clone();
    let failed = |source| BootstrapError::Proxy { source };
    if let Some(proxy) = host.conf.proxy("http") {
        config.proxies = config.proxies.or_http(proxy, "Acquire::http::Proxy in apt.conf").map_err(failed)?;
    }
    if let Some(proxy) = host.conf.proxy("https").or_else(|| host.conf.proxy("http")) {
        config.proxies =
            config.proxies.or_https(proxy, "Acquire::https::Proxy in apt.conf").map_err(failed)?;
    }
    Ok(Client::new(config))
}

/// Asks the archive which suite an alias such as `stable` is now. Everything else then goes by that suite's own name:
/// a mirror may update the two names at different times, and the image's sources must not move to the next release.
fn follow_alias(
    request: &Request,
    host: &HostApt,
    suite: Suite,
    client: &Client,
) -> Result<Suite, BootstrapError> {
    if !suite.is_alias() {
        return Ok(suite);
    }
    let planned = plan_sources(request, host, &suite)?;
    let base = planned.first().expect("a plan has the base suite first");
    // How old it is does not matter here; the suite itself is checked below.
    let base = PlannedSource { check_valid_until: false, ..base.clone() };
    let found = open_source(request, host, client, &base)?;
    let codename = found.map(|found| found.release.codename).filter(|codename| !codename.is_empty());
    Ok(Suite { name: codename.unwrap_or(suite.name), ..suite })
}

fn open_source(
    request: &Request,
    host: &HostApt,
    client: &Client,
    source: &PlannedSource,
) -> Result<Option<SuiteIndex>, BootstrapError> {
    let keyring = load_keyring(source, host, &request.host).map_err(|error| BootstrapError::Signature {
        url: format!("{}/dists/{}/InRelease", without_credentials(&source.uri), source.suite),
        source: error,
    })?;
    open_suite(client, source, &keyring, request.now)
}

/// Fetches and checks the descriptions of all suites, at the same time.
fn open_suites(
    request: &Request,
    deps: &Deps<'_>,
    host: &HostApt,
    suite: &Suite,
    client: &Client,
) -> Result<Vec<SuiteIndex>, BootstrapError> {
    let planned = plan_sources(request, host, suite)?;
    let open = |source: &PlannedSource| open_source(request, host, client, source);
    let opened: Vec<Result<Option<SuiteIndex>, BootstrapError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = planned.iter().map(|source| scope.spawn(|| open(source))).collect();
        threads.into_iter().map(|thread| thread.join().expect("opening a suite does not panic")).collect()
    });
    let mut suites = Vec::new();
    for (source, opened) in planned.iter().zip(opened) {
        let shown = format!("{} {}", without_credentials(&source.uri), source.suite);
        match opened? {
            None => deps.progress.event(&Event::Note(&format!("{shown} is not there and was left out"))),
            Some(found) if found.release.origin != suite.distribution.origin() => {
                let text = format!(
                    "{shown} is of {}, not of the distribution, and was left out",
                    found.release.origin
                );
                deps.progress.event(&Event::Note(&text));
            }
            Some(found) => {
                if found.expired {
                    let text =
                        format!("{shown} has expired; that was accepted by the flag or by this host's apt");
                    deps.progress.event(&Event::Note(&text));
                }
                suites.push(found);
            }
        }
    }
    if suites.iter().any(|found| split_pocket(&found.source.suite).1.is_empty()) {
        return Ok(suites);
    }
    let distribution = format!("{}:{}", suite.distribution.name(), suite.name);
    Err(BootstrapError::NoSources { distribution, looked_at: host.looked_at.clone() })
}

/// The real name of the suite: `stable` is an alias that will mean another one.
fn codename(suites: &[SuiteIndex], suite: &Suite) -> String {
    let base = suites.iter().find(|found| split_pocket(&found.source.suite).1.is_empty());
    base.map(|found| found.release.codename.clone())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| suite.name.clone())
}

fn names(request: &Request, suite: &Suite, codename: &str) -> Vec<Reference> {
    let canonical = format!("{}:{codename}", suite.distribution.name()).parse().ok();
    let mut names: Vec<Reference> = canonical.into_iter().chain(request.name.clone()).collect();
    names.dedup();
    names
}

fn read_indexes(
    client: &Client,
    cache: &FileCache,
    suites: &[SuiteIndex],
    architecture: &str,
) -> Result<PackageIndex, BootstrapError> {
    let mut index = PackageIndex::default();
    let fetched: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = suites
            .iter()
            .map(|suite| scope.spawn(|| suite.fetch_packages(client, cache, architecture)))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("fetching an index does not panic")).collect()
    });
    for (archive, found) in fetched.into_iter().enumerate() {
        for compressed in found? {
            compressed.read_into(&mut index, archive)?;
        }
    }
    Ok(index)
}

/// Returns the sources of the image's own apt: the same archives and suites, signed by the keys in the image.
fn sources_text(suites: &[SuiteIndex]) -> String {
    let mut archives: Vec<(String, Vec<String>, &SuiteIndex)> = Vec::new();
    for suite in suites {
        let uri = without_credentials(&suite.source.uri);
        let same = archives
            .iter_mut()
            .find(|(known, _, first)| *known == uri && first.source.components == suite.source.components);
        match same {
            Some((_, names, _)) => names.push(image_suite(suite)),
            None => archives.push((uri, vec![image_suite(suite)], suite)),
        }
    }
    let paragraph = |(uri, names, suite): &(String, Vec<String>, &SuiteIndex)| {
        let keyring = match suite.release.origin.as_str() {
            "Ubuntu" => "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
            _ => "/usr/share/keyrings/debian-archive-keyring.gpg",
        };
        let (names, components) = (names.join(" "), suite.source.components.join(" "));
        format!("Types: deb\nURIs: {uri}\nSuites: {names}\nComponents: {components}\nSigned-By: {keyring}\n")
    };
    archives.iter().map(paragraph).collect::<Vec<_>>().join("\n")
}

/// An image of `stable` stays what it is when another suite becomes `stable`.
fn image_suite(suite: &SuiteIndex) -> String {
    let (_, pocket) = split_pocket(&suite.source.suite);
    let base = split_pocket(&suite.release.codename).0;
    if base.is_empty() { suite.source.suite.clone() } else { format!("{base}{pocket}") }
}

/// What was made of which descriptions.
struct Memory {
    path: PathBuf,
}

impl Memory {
    fn open(
        deps: &Deps<'_>,
        suites: &[SuiteIndex],
        request: &Request,
        architecture: &str,
    ) -> Result<Self, BootstrapError> {
        let folder = deps.store.root().join("cache/bootstrap");
        fs_err::create_dir_all(&folder).map_err(BootstrapError::io("make the folder", &folder))?;
        let mut hasher = Hasher::default();
        let mut add = |text: &str| {
            hasher.update(text.as_bytes());
            hasher.update(b"\n");
        };
        add(&format!("{RECIPE} {} {architecture} {}", env!("CARGO_PKG_VERSION"), Platform::host()));
        for suite in suites {
            add(&format!("{} {}", suite.digest, suite.source.check_valid_until));
        }
        add(&sources_text(suites));
        request.include.iter().for_each(|name| add(name));
        let key: Digest = hasher.finish();
        Ok(Self { path: folder.join(format!("{}.json", key.hex())) })
    }

    fn load(&self) -> Option<Remembered> {
        serde_json::from_slice(&fs_err::read(&self.path).ok()?).ok()
    }

    fn save(&self, made: &Remembered) -> Result<(), BootstrapError> {
        let bytes = serde_json::to_vec(made).expect("digests and names are always JSON");
        shipway_store::atomic_write(&self.path, &bytes, 0o600)
            .map_err(BootstrapError::io("write", &self.path))
    }
}

fn seconds(now: SystemTime) -> i64 {
    let passed = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(passed).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
