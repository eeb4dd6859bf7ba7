//! A package that is installed.

use shipway_oci::PackageUrl;

use crate::Release;

/// Which world a package is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ecosystem {
    /// Alpine and its relatives.
    Apk,
    /// Rust's crates, in programs that tell of them.
    Cargo,
    /// Debian and its relatives.
    Deb,
    /// Go's modules, in programs.
    Go,
    /// Node's modules.
    Node,
    /// Python's distributions.
    Python,
    /// Fedora and its relatives.
    Rpm,
}

impl Ecosystem {
    /// Returns its type in package URLs. Spec: package-url, purl-types.
    pub fn purl_type(self) -> &'static str {
        match self {
            Self::Apk => "apk",
            Self::Cargo => "cargo",
            Self::Deb => "deb",
            Self::Go => "golang",
            Self::Node => "npm",
            Self::Python => "pypi",
            Self::Rpm => "rpm",
        }
    }
}

/// A package that is installed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its world.
    pub ecosystem: Ecosystem,
    /// Its name there.
    pub name: String,
    /// Its version, as that world writes it.
    pub version: String,
    /// What it is built for, as that world writes it.
    pub architecture: Option<String>,
    /// Name and version of the source package that it was built of, where that has another name or version.
    pub source: Option<(String, String)>,
    /// What it says of its licence, as it says it.
    pub licence: Option<String>,
    /// Who looks after it: `Name <address>`.
    pub maintainer: Option<String>,
    /// Where more about it is to be found.
    pub homepage: Option<String>,
    /// The file that says all this, from the root of the image.
    pub place: String,
}

impl Package {
    /// Bytes of its texts.
    pub(crate) fn text_len(&self) -> usize {
        let maybe = [&self.architecture, &self.licence, &self.maintainer, &self.homepage];
        let maybe = maybe.into_iter().flatten();
        let source = self.source.iter().flat_map(|(name, version)| [name, version]);
        [&self.name, &self.version, &self.place].into_iter().chain(maybe).chain(source).map(String::len).sum()
    }

    pub(crate) fn new(ecosystem: Ecosystem, name: &str, version: &str, place: &str) -> Self {
        Self {
            ecosystem,
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: None,
            source: None,
            licence: None,
            maintainer: None,
            homepage: None,
            place: place.to_owned(),
        }
    }

    /// Returns its package URL; `release` is the distribution that it is installed in.
    pub fn purl(&self, release: Option<&Release>) -> String {
        let distribution = release.map(Release::short).unwrap_or_default();
        let architecture = self.architecture.as_deref().unwrap_or_default();
        let of_release = |other| release.map_or(other, |release| release.id.as_str());
        let split = |name: &str| {
            let (before, name) = name.rsplit_once('/').unwrap_or(("", name));
            (before.to_owned(), name.to_owned())
        };
        let (namespace, name) = match self.ecosystem {
            Ecosystem::Apk => (of_release("alpine").to_owned(), self.name.clone()),
            Ecosystem::Deb => (of_release("debian").to_owned(), self.name.clone()),
            Ecosystem::Cargo => (String::new(), self.name.clone()),
            // Spec: purl-types, golang: in lower case.
            Ecosystem::Go => split(&self.name.to_lowercase()),
            Ecosystem::Node => split(&self.name),
            Ecosystem::Python => (String::new(), normalized(&self.name)),
            Ecosystem::Rpm => (of_release("fedora").to_owned(), self.name.clone()),
        };
        // Spec: purl-types, rpm: the epoch is no part of the version.
        let epoch = self.version.split_once(':').filter(|_| self.ecosystem == Ecosystem::Rpm);
        let (epoch, version) = epoch.unwrap_or(("", &self.version));
        let of_distribution = [("arch", architecture), ("distro", distribution.as_str()), ("epoch", epoch)];
        let is_of_release = matches!(self.ecosystem, Ecosystem::Apk | Ecosystem::Deb | Ecosystem::Rpm);
        let qualifiers = if is_of_release { &of_distribution[..] } else { &[] };
        let kind = self.ecosystem.purl_type();
        PackageUrl { kind, namespace: &namespace, name: &name, version, qualifiers }.render()
    }
}

/// Spec: PyPA, names and normalization: lower case, one dash for any run of `-`, `_` and `.`.
fn normalized(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_world_has_its_urls() {
        let debian = Release { id: "debian".to_owned(), version: "12".to_owned(), name: String::new() };
        for (ecosystem, name, version, arch, want) in [
            (
                Ecosystem::Deb,
                "bash",
                "5.2.15-2+b7",
                Some("amd64"),
                "pkg:deb/debian/bash@5.2.15-2%2Bb7?arch=amd64&distro=debian-12",
            ),
            (Ecosystem::Apk, "musl", "1.2.5-r0", None, "pkg:apk/debian/musl@1.2.5-r0?distro=debian-12"),
            (Ecosystem::Node, "@types/node", "20.1.0", None, "pkg:npm/%40types/node@20.1.0"),
            (Ecosystem::Node, "express", "4.19.2", None, "pkg:npm/express@4.19.2"),
            (Ecosystem::Python, "Zope.Interface__x", "6.0", None, "pkg:pypi/zope-interface-x@6.0"),
        ] {
            let package = Package {
                architecture: arch.map(str::to_owned),
                ..Package::new(ecosystem, name, version, "/x")
            };
            assert_eq!(package.purl(Some(&debian)), want);
        }
        assert_eq!(Package::new(Ecosystem::Deb, "a", "1", "/x").purl(None), "pkg:deb/debian/a@1");
    }
}
