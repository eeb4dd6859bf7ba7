//! Package URLs: names of packages that scanners and advisories agree on.

use std::fmt::Write as _;

use crate::{Digest, Platform, Reference};

/// What names a package. Spec: package-url, purl-specification.md.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageUrl<'a> {
    /// `deb`, `npm`, …
    pub kind: &'a str,
    /// What is before the name, with `/` between its parts; may be empty.
    pub namespace: &'a str,
    /// The name.
    pub name: &'a str,
    /// The version; may be empty.
    pub version: &'a str,
    /// More that tells packages apart; those with empty values are left out.
    pub qualifiers: &'a [(&'a str, &'a str)],
}

impl PackageUrl<'_> {
    /// Returns the canonical text.
    pub fn render(&self) -> String {
        let mut text = format!("pkg:{}/", self.kind);
        for part in self.namespace.split('/').filter(|part| !part.is_empty()) {
            escape_all(part, &mut text);
            text.push('/');
        }
        escape_all(self.name, &mut text);
        if !self.version.is_empty() {
            text.push('@');
            escape(self.version, &mut text);
        }
        let mut qualifiers: Vec<_> = self.qualifiers.iter().filter(|(_, value)| !value.is_empty()).collect();
        qualifiers.sort();
        for (at, (key, value)) in qualifiers.into_iter().enumerate() {
            text.push(if at == 0 { '?' } else { '&' });
            text.push_str(key);
            text.push('=');
            escape(value, &mut text);
        }
        text
    }
}

/// Returns the package URL of an image. Compat: BuildKit, `pkg:docker/NAME@TAG?platform=linux%2Famd64`.
pub fn image_purl(reference: &Reference, platform: Option<&Platform>) -> String {
    let version = reference.tag().unwrap_or_default();
    purl("docker", (&reference.familiar_name(), version), reference.digest(), platform)
}

/// Returns the package URL of an image of an OCI layout, which has the name that a build has for it. Compat: BuildKit.
pub fn layout_purl(name: &str, digest: Digest, platform: Option<&Platform>) -> String {
    purl("oci", (name, ""), Some(digest), platform)
}

fn purl(
    kind: &str,
    (name, version): (&str, &str),
    digest: Option<Digest>,
    platform: Option<&Platform>,
) -> String {
    let (namespace, name) = name.rsplit_once('/').unwrap_or(("", name));
    let digest = digest.map(|digest| digest.to_string()).unwrap_or_default();
    let platform = platform.map(ToString::to_string).unwrap_or_default();
    let qualifiers = [("digest", digest.as_str()), ("platform", platform.as_str())];
    PackageUrl { kind, namespace, name, version, qualifiers: &qualifiers }.render()
}

/// Compat: BuildKit, in names the port of a registry is `%3A5000`.
fn escape_all(text: &str, into: &mut String) {
    for (at, part) in text.split(':').enumerate() {
        into.push_str(if at == 0 { "" } else { "%3A" });
        escape(part, into);
    }
}

/// Spec: purl-specification.md, Character encoding: all but letters, digits, `.-_~` and `:` is written as `%XX`.
fn escape(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_~:".contains(&byte) {
            into.push(char::from(byte));
        } else {
            write!(into, "%{byte:02X}").expect("a string takes everything");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_have_the_urls_that_buildkit_gives_them() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (name, want) in [
            ("alpine", "pkg:docker/alpine@latest?platform=linux%2Famd64".to_owned()),
            ("acme/web:1.0", "pkg:docker/acme/web@1.0?platform=linux%2Famd64".to_owned()),
            ("r.test:5000/a/b:x", "pkg:docker/r.test%3A5000/a/b@x?platform=linux%2Famd64".to_owned()),
            (
                &format!("alpine@{digest}"),
                format!("pkg:docker/alpine?digest={digest}&platform=linux%2Famd64"),
            ),
        ] {
            let platform = Platform::linux("amd64");
            assert_eq!(image_purl(&name.parse().unwrap(), Some(&platform)), want, "case {name}");
        }
        let (empty, platform) = (Digest::of(b""), Platform::linux("arm64"));
        let want = format!("pkg:oci/team/base?digest={empty}&platform=linux%2Farm64");
        assert_eq!(layout_purl("team/base", empty, Some(&platform)), want);
    }

    #[test]
    fn what_means_something_in_a_url_is_escaped() {
        let url = PackageUrl {
            kind: "deb",
            namespace: "debian",
            name: "libstdc++6",
            version: "1:12.2.0-14+deb12u1",
            qualifiers: &[("distro", "debian-12"), ("arch", "amd64"), ("epoch", "")],
        };
        assert_eq!(
            url.render(),
            "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12"
        );
        let scoped = PackageUrl { kind: "npm", namespace: "@a", name: "b/c", version: "1", qualifiers: &[] };
        assert_eq!(scoped.render(), "pkg:npm/%40a/b%2Fc@1");
    }
}
