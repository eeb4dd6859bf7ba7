//! Which suites of which archives make up the base image.

use std::path::{Path, PathBuf};

use crate::apt::{HostApt, SignedBy};
use crate::error::BootstrapError;
use crate::request::Request;
use crate::signature::{Keyring, SignatureError};
use crate::suite::{Distribution, Suite, pocket_belongs, split_pocket};

/// A suite to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedSource {
    /// The archive, perhaps with user name and password.
    pub(crate) uri: String,
    /// The suite as the archive names it.
    pub(crate) suite: String,
    pub(crate) components: Vec<String>,
    pub(crate) signed_by: Vec<SignedBy>,
    /// Whether it may be missing, because nobody has written it down.
    pub(crate) optional: bool,
    /// Whether an old `Release` is an error.
    pub(crate) check_valid_until: bool,
}

/// Returns what the request means on this host.
pub(crate) fn resolve_suite(request: &Request, host: &HostApt) -> Result<Suite, BootstrapError> {
    if let Some(suite) = &request.suite {
        return Ok(suite.clone());
    }
    let distribution = host.distribution.as_deref().and_then(Distribution::parse);
    match (distribution, &host.codename) {
        (Some(distribution), Some(codename)) => Ok(Suite { distribution, name: codename.clone() }),
        _ => Err(BootstrapError::NoSuite),
    }
}

/// Returns the sources for `suite`, its base first.
///
/// If the host's apt uses the suite, these are its sources. Otherwise they are those of the host's own suite, with the
/// other name. Sources of other vendors have other suites, or turn out by their `Release` file.
pub(crate) fn plan_sources(
    request: &Request,
    host: &HostApt,
    suite: &Suite,
) -> Result<Vec<PlannedSource>, BootstrapError> {
    if let Some(mirror) = &request.mirror {
        return Ok(from_mirror(request, mirror, &suite.name));
    }
    let candidates: Vec<_> = host
        .sources
        .iter()
        .map(|source| (source, split_pocket(&source.suite)))
        .filter(|(source, (_, pocket))| pocket_belongs(pocket) && !source.components.is_empty())
        .collect();
    let has_base = |wanted: &str| candidates.iter().any(|(_, (base, _))| *base == wanted);
    let host_is_it = host.distribution.as_deref() == Some(suite.distribution.name());
    let known_base = |base: &str| Suite::from_tag(suite.distribution, base).is_some();
    let from = if has_base(&suite.name) {
        Some(suite.name.as_str())
    } else {
        let own = host.codename.as_deref().filter(|codename| host_is_it && has_base(codename));
        own.or_else(|| candidates.iter().map(|(_, (base, _))| *base).find(|base| known_base(base)))
    };
    let written = |base: &str| base == suite.name;
    let mut planned: Vec<PlannedSource> = candidates
        .iter()
        .filter(|(_, (base, _))| Some(*base) == from)
        .map(|(source, (base, pocket))| PlannedSource {
            uri: source.uri.clone(),
            suite: if written(base) { source.suite.clone() } else { in_other_suite(&suite.name, pocket) },
            components: source.components.clone(),
            signed_by: request
                .keyring
                .as_ref()
                .map_or_else(|| source.signed_by.clone(), |file| vec![SignedBy::File(file.clone())]),
            optional: !written(base) && !pocket.is_empty(),
            check_valid_until: !request.accept_expired
                && source.check_valid_until.unwrap_or_else(|| host.conf.checks_valid_until()),
        })
        .collect();
    planned.dedup();
    planned.sort_by_key(|source| !split_pocket(&source.suite).1.is_empty());
    if !planned.iter().any(|source| split_pocket(&source.suite).1.is_empty()) {
        let distribution = format!("{}:{}", suite.distribution.name(), suite.name);
        return Err(BootstrapError::NoSources { distribution, looked_at: host.looked_at.clone() });
    }
    Ok(planned)
}

fn from_mirror(request: &Request, mirror: &str, suite: &str) -> Vec<PlannedSource> {
    let signed_by: Vec<SignedBy> = request.keyring.iter().cloned().map(SignedBy::File).collect();
    let source = |pocket: &str| PlannedSource {
        uri: mirror.trim_end_matches('/').to_owned(),
        suite: format!("{suite}{pocket}"),
        components: vec!["main".to_owned()],
        signed_by: signed_by.clone(),
        optional: !pocket.is_empty(),
        check_valid_until: !request.accept_expired,
    };
    // Security fixes may be in the same archive (Ubuntu) or in one that was not named.
    ["", "-updates", "-security"].map(source).into()
}

/// Spells a pocket as the suite does: up to Debian 10 fixes for security were in `buster/updates`.
fn in_other_suite(suite: &str, pocket: &str) -> String {
    let old = matches!(suite, "jessie" | "stretch" | "buster");
    match pocket {
        "-security" | "/updates" if old => format!("{suite}/updates"),
        "/updates" => format!("{suite}-security"),
        pocket => format!("{suite}{pocket}"),
    }
}

/// Returns the keys that may sign a source.
pub(crate) fn load_keyring(
    source: &PlannedSource,
    host: &HostApt,
    root: &Path,
) -> Result<Keyring, SignatureError> {
    let mut keyring = Keyring::default();
    let mut needs_default = true;
    for signed_by in &source.signed_by {
        match signed_by {
            SignedBy::File(path) => {
                needs_default = false;
                keyring.add_file(&below(root, path))?;
            }
            SignedBy::Block(text) => {
                needs_default = false;
                keyring.add(text.as_bytes());
            }
            SignedBy::Fingerprint(fingerprint) => keyring.restrict_to(fingerprint),
        }
    }
    if needs_default {
        for path in &host.default_keyrings {
            // One file that cannot be read must not hide the others: without a key the signature is refused anyway.
            if let Err(error) = keyring.add_file(path) {
                tracing::debug!(path = %path.display(), %error, "a keyring was left out");
            }
        }
    }
    Ok(keyring)
}

/// A path of the host's configuration, below the root it was read from.
fn below(root: &Path, path: &Path) -> PathBuf {
    if root == Path::new("/") || path.starts_with(root) {
        return path.to_owned();
    }
    let inside = root.join(path.strip_prefix("/").unwrap_or(path));
    if inside.exists() { inside } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apt::Source;
    use std::time::UNIX_EPOCH;

    fn host(suites: &[(&str, &str)]) -> HostApt {
        let source = |(uri, suite): &(&str, &str)| Source {
            uri: (*uri).to_owned(),
            suite: (*suite).to_owned(),
            components: vec!["main".to_owned()],
            signed_by: Vec::new(),
            check_valid_until: None,
            origin: PathBuf::from("/f"),
        };
        HostApt {
            sources: suites.iter().map(source).collect(),
            distribution: Some("debian".to_owned()),
            codename: Some("bookworm".to_owned()),
            ..HostApt::default()
        }
    }

    fn planned(host: &HostApt, suite: &str) -> Vec<(String, String, bool)> {
        let suite = Suite { distribution: Distribution::Debian, name: suite.to_owned() };
        let sources = plan_sources(&Request::new(UNIX_EPOCH), host, &suite).unwrap();
        sources.into_iter().map(|source| (source.uri, source.suite, source.optional)).collect()
    }

    fn want(rows: &[(&str, &str, bool)]) -> Vec<(String, String, bool)> {
        rows.iter()
            .map(|(uri, suite, optional)| ((*uri).to_owned(), (*suite).to_owned(), *optional))
            .collect()
    }

    #[test]
    fn the_hosts_own_suite_comes_from_its_sources_and_others_by_the_other_name() {
        let host = host(&[
            ("u", "nodistro"),
            ("s", "bookworm-security"),
            ("m", "bookworm"),
            ("m", "bookworm-updates"),
            ("m", "bookworm-backports"),
            ("c", "cloud-sdk-bookworm"),
        ]);
        assert_eq!(
            planned(&host, "bookworm"),
            want(&[
                ("m", "bookworm", false),
                ("s", "bookworm-security", false),
                ("m", "bookworm-updates", false)
            ])
        );
        assert_eq!(
            planned(&host, "trixie"),
            want(&[("m", "trixie", false), ("s", "trixie-security", true), ("m", "trixie-updates", true)])
        );
        assert_eq!(planned(&host, "buster")[1], want(&[("s", "buster/updates", true)])[0]);
    }

    #[test]
    fn a_host_without_a_fitting_archive_is_an_error_and_a_mirror_helps() {
        let suite = Suite { distribution: Distribution::Debian, name: "bookworm".to_owned() };
        let mut request = Request::new(UNIX_EPOCH);
        for (name, host) in [
            ("none", host(&[])),
            ("other vendor", host(&[("u", "nodistro")])),
            ("updates only", host(&[("u", "bookworm-updates")])),
        ] {
            let error = plan_sources(&request, &host, &suite).unwrap_err();
            assert!(matches!(error, BootstrapError::NoSources { .. }), "case {name}: {error:?}");
        }
        request.mirror = Some("http://m.test/debian/".to_owned());
        request.keyring = Some(PathBuf::from("/k.gpg"));
        let sources = plan_sources(&request, &HostApt::default(), &suite).unwrap();
        assert_eq!(sources[0].uri, "http://m.test/debian");
        assert_eq!(sources[0].signed_by, [SignedBy::File(PathBuf::from("/k.gpg"))]);
        assert!(sources[0].check_valid_until && !sources[0].optional && sources[1].optional);
    }

    #[test]
    fn without_a_request_it_is_the_hosts_suite() {
        let request = Request::new(UNIX_EPOCH);
        assert_eq!(resolve_suite(&request, &host(&[])).unwrap().name, "bookworm");
        assert!(matches!(resolve_suite(&request, &HostApt::default()), Err(BootstrapError::NoSuite)));
    }
}
