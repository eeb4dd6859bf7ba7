//! Packages from the archive into the tree: downloading, checking and unpacking at the same time.

use std::collections::VecDeque;
use std::io;

use shipway_fetch::Client;
use shipway_oci::{Digest, without_credentials};

use crate::apt::paragraphs;
use crate::archive::{FileCache, SuiteIndex, fetch_verified};
use crate::database::Unpacked;
use crate::deb::{self, Control};
use crate::error::BootstrapError;
use crate::index::Package;
use crate::lock::Guarded;
use crate::relation::parse_relations;
use crate::request::{Event, Progress};
use crate::tree::{Owner, Tree};

/// Few, so that the mirror and the name server are not flooded; enough that a slow answer does not stop the unpacking.
const WORKERS: usize = 6;

/// What packages come from.
#[derive(Clone, Copy)]
pub(crate) struct Supply<'a> {
    pub(crate) client: &'a Client,
    pub(crate) cache: &'a FileCache,
    pub(crate) suites: &'a [SuiteIndex],
    pub(crate) progress: &'a dyn Progress,
}

/// Unpacks all packages into the tree and returns them sorted by name.
pub(crate) fn fill(
    supply: Supply<'_>,
    tree: &Tree,
    packages: &[&Package],
) -> Result<Vec<Unpacked>, BootstrapError> {
    // The largest first: the longest work should not begin last.
    let mut order: Vec<&Package> = packages.to_vec();
    order.sort_by_key(|package| std::cmp::Reverse(package.size));
    let work = Work {
        queue: Guarded::new(order.into()),
        result: Guarded::new(Ok(Vec::new())),
        seen: Guarded::new((0, 0)),
        total: packages.len(),
        total_bytes: packages.iter().map(|package| package.size).sum(),
    };
    std::thread::scope(|scope| {
        for _worker in 0..WORKERS.min(packages.len()) {
            scope.spawn(|| work.run(supply, tree));
        }
    });
    let mut unpacked = work.result.into_inner()?;
    unpacked.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(unpacked)
}

struct Work<'a> {
    queue: Guarded<VecDeque<&'a Package>>,
    /// The packages so far, or the first error, after which nobody begins another one.
    result: Guarded<Result<Vec<Unpacked>, BootstrapError>>,
    /// Unpacked packages and bytes that are here.
    seen: Guarded<(usize, u64)>,
    total: usize,
    total_bytes: u64,
}

impl Work<'_> {
    fn run(&self, supply: Supply<'_>, tree: &Tree) {
        while let Some(package) = self.next() {
            let done = self.one(supply, tree, package);
            let mut result = self.result.lock();
            match (done, result.as_mut()) {
                (Ok(unpacked), Ok(all)) => all.push(unpacked),
                (Err(error), Ok(_)) => *result = Err(error),
                (_, Err(_)) => {}
            }
        }
    }

    fn next(&self) -> Option<&Package> {
        if self.result.lock().is_err() {
            return None;
        }
        self.queue.lock().pop_front()
    }

    fn one(&self, supply: Supply<'_>, tree: &Tree, package: &Package) -> Result<Unpacked, BootstrapError> {
        let bytes = fetch_package(supply, package)?;
        self.tell(supply, 0, package.size);
        let failed = |source| {
            let package = format!("{} {}", package.name, package.version);
            BootstrapError::Unpack { package, source }
        };
        let read = deb::read(&mut bytes.as_slice(), |control, data| {
            let owner = Owner { name: package.name.clone(), replaces: replaced(&control) };
            let paths = tree.unpack(&owner, data)?;
            // The rest of the stream holds checksums of the compression.
            io::copy(data, &mut io::sink())?;
            Ok((control, paths))
        });
        let (control, paths) = read.map_err(failed)?;
        check_identity(&control, package).map_err(failed)?;
        self.tell(supply, 1, 0);
        Ok(Unpacked {
            name: package.name.clone(),
            version: package.version.clone(),
            architecture: package.architecture.clone(),
            control,
            paths,
        })
    }

    fn tell(&self, supply: Supply<'_>, packages: usize, bytes: u64) {
        let mut seen = self.seen.lock();
        seen.0 += packages;
        seen.1 += bytes;
        let (total, total_bytes) = (self.total, self.total_bytes);
        supply.progress.event(&Event::Packages { done: seen.0, total, bytes: seen.1, total_bytes });
    }
}

fn fetch_package(supply: Supply<'_>, package: &Package) -> Result<Vec<u8>, BootstrapError> {
    let suite = supply.suites.get(package.archive).expect("packages carry the number of their suite");
    let url = format!("{}/{}", suite.source.uri, package.path);
    let digest = package.digest.unwrap_or_else(|| Digest::of(b""));
    fetch_verified(supply.client, supply.cache, &url, digest, package.size).map_err(|error| {
        let what = format!("package {} {}", package.name, package.version);
        error.about(&what, &without_credentials(&suite.source.uri), &url, digest)
    })
}

fn replaced(control: &Control) -> Vec<String> {
    let text = control.text("control").unwrap_or_default();
    let paragraphs = paragraphs(&text);
    let field = paragraphs.first().and_then(|paragraph| paragraph.get("Replaces")).unwrap_or_default();
    parse_relations(field).into_iter().flatten().map(|relation| relation.name).collect()
}

/// The digest is right, so this only fails if the archive's own index is wrong.
fn check_identity(control: &Control, package: &Package) -> io::Result<()> {
    let text = control.text("control").unwrap_or_default();
    let paragraphs = paragraphs(&text);
    let field = |name: &str| paragraphs.first().and_then(|paragraph| paragraph.get(name)).unwrap_or_default();
    if field("Package") == package.name && field("Version") == package.version {
        return Ok(());
    }
    let text = format!("it says that it is {} {}", field("Package"), field("Version"));
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
}
