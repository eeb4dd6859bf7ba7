//! Names of distributions and suites.

use shipway_oci::Reference;

/// A distribution that can be bootstrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// Debian.
    Debian,
    /// Ubuntu.
    Ubuntu,
}

/// What a name such as `debian:12` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suite {
    /// Of which distribution.
    pub distribution: Distribution,
    /// A codename or an alias that the archive knows, such as `bookworm` or `stable`.
    pub name: String,
}

/// Numbers of releases and their codenames; a number that is newer than this program is not known.
const DEBIAN: [(&str, &str); 8] = [
    ("8", "jessie"),
    ("9", "stretch"),
    ("10", "buster"),
    ("11", "bullseye"),
    ("12", "bookworm"),
    ("13", "trixie"),
    ("14", "forky"),
    ("", "sid"),
];
const UBUNTU: [(&str, &str); 7] = [
    ("18.04", "bionic"),
    ("20.04", "focal"),
    ("22.04", "jammy"),
    ("24.04", "noble"),
    ("24.10", "oracular"),
    ("25.04", "plucky"),
    ("25.10", "questing"),
];
const ALIASES: [&str; 6] = ["stable", "oldstable", "oldoldstable", "testing", "unstable", "devel"];

impl Distribution {
    /// Returns the name as images and os-release have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Ubuntu => "ubuntu",
        }
    }

    /// Returns what a Release file of it says as `Origin`.
    pub(crate) fn origin(self) -> &'static str {
        match self {
            Self::Debian => "Debian",
            Self::Ubuntu => "Ubuntu",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Debian, Self::Ubuntu].into_iter().find(|distribution| distribution.name() == name)
    }

    fn releases(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Debian => &DEBIAN,
            Self::Ubuntu => &UBUNTU,
        }
    }
}

impl Suite {
    /// Whether the name means another suite at another time. `sid` is a name of its own and stays.
    pub(crate) fn is_alias(&self) -> bool {
        ALIASES.contains(&self.name.as_str())
    }

    /// Returns the suite that the tag of an official image names.
    ///
    /// `bookworm`, `bookworm-slim`, `12`, `12.5` (its point releases are one suite), `12-slim`, `stable`, `latest`.
    pub(crate) fn from_tag(distribution: Distribution, tag: &str) -> Option<Self> {
        let tag = tag.strip_suffix("-slim").unwrap_or(tag);
        let releases = distribution.releases();
        let known =
            |name: &str| releases.iter().any(|(_, codename)| *codename == name) || ALIASES.contains(&name);
        let number = |text: &str| releases.iter().find(|(number, _)| *number == text).map(|(_, name)| *name);
        let major = tag.split('.').next().filter(|_| distribution == Distribution::Debian);
        let name = match (distribution, tag) {
            (Distribution::Debian, "latest") => Some("stable"),
            (Distribution::Ubuntu, "latest" | "rolling") => None,
            (_, name) if known(name) => Some(name),
            (_, text) => number(text).or_else(|| {
                let minor_is_number = text.split('.').skip(1).all(|part| part.parse::<u32>().is_ok());
                major.filter(|_| minor_is_number).and_then(number)
            }),
        };
        name.map(|name| Self { distribution, name: name.to_owned() })
    }
}

/// Returns the suite that an image name asks for, if a base image for it can be made from a package archive.
pub fn suite_of(reference: &Reference) -> Option<Suite> {
    let official = reference.registry() == "docker.io" && reference.digest().is_none();
    let distribution = reference.repository().strip_prefix("library/").and_then(Distribution::parse);
    let distribution = distribution.filter(|_| official)?;
    Suite::from_tag(distribution, reference.tag()?)
}

/// Returns whether [`suite_of`] knows the name.
pub fn supports(reference: &Reference) -> bool {
    suite_of(reference).is_some()
}

/// Splits a suite as sources write it into its base and what follows: `bookworm-updates`, `buster/updates`.
pub(crate) fn split_pocket(suite: &str) -> (&str, &str) {
    const POCKETS: [&str; 6] =
        ["-proposed-updates", "-updates", "-security", "/updates", "-backports-sloppy", "-backports"];
    let found = POCKETS.iter().find_map(|pocket| Some((suite.strip_suffix(pocket)?, *pocket)));
    found.unwrap_or((suite, ""))
}

/// Whether packages of a pocket belong to the base image: fixes do, newer features do not.
pub(crate) fn pocket_belongs(pocket: &str) -> bool {
    matches!(pocket, "" | "-updates" | "-security" | "/updates")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_official_images_map_to_suites() {
        for (name, want) in [
            ("debian:bookworm", Some("bookworm")),
            ("debian:bookworm-slim", Some("bookworm")),
            ("debian:12", Some("bookworm")),
            ("debian:12.5-slim", Some("bookworm")),
            ("debian", Some("stable")),
            ("debian:latest", Some("stable")),
            ("debian:stable-slim", Some("stable")),
            ("debian:unstable", Some("unstable")),
            ("docker.io/library/debian:13", Some("trixie")),
            ("ubuntu:24.04", Some("noble")),
            ("ubuntu:noble", Some("noble")),
            ("ubuntu", None),
            ("debian:bookworm-20250520", None),
            ("debian:12.x", None),
            ("debian:experimental", None),
            ("python:3.12", None),
            ("acme/debian:bookworm", None),
            ("quay.io/library/debian:bookworm", None),
        ] {
            let suite = suite_of(&name.parse().unwrap());
            assert_eq!(suite.as_ref().map(|suite| suite.name.as_str()), want, "case {name}");
            assert_eq!(supports(&name.parse().unwrap()), want.is_some(), "case {name}");
        }
    }

    #[test]
    fn fixes_belong_to_the_base_and_backports_do_not() {
        for (suite, base, pocket, belongs) in [
            ("bookworm", "bookworm", "", true),
            ("bookworm-updates", "bookworm", "-updates", true),
            ("bookworm-security", "bookworm", "-security", true),
            ("buster/updates", "buster", "/updates", true),
            ("bookworm-backports", "bookworm", "-backports", false),
            ("bookworm-proposed-updates", "bookworm", "-proposed-updates", false),
        ] {
            assert_eq!(split_pocket(suite), (base, pocket), "case {suite}");
            assert_eq!(pocket_belongs(pocket), belongs, "case {suite}");
        }
    }
}
