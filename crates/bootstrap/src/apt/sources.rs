//! Sources of packages, in both of apt's forms. Spec: `sources.list(5)`.

use std::path::{Path, PathBuf};

use super::deb822::{Paragraph, paragraphs};

/// One suite of one mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The archive, without a slash at the end, perhaps with user name and password.
    pub(crate) uri: String,
    /// As written: a codename, an alias such as `stable`, with `-updates` or `-security`.
    pub(crate) suite: String,
    /// `main` and others.
    pub(crate) components: Vec<String>,
    /// Which keys sign it, if the source says so.
    pub(crate) signed_by: Vec<SignedBy>,
    /// Whether an old `Release` is an error, if the source says so.
    pub(crate) check_valid_until: Option<bool>,
    /// Where it is written.
    pub(crate) origin: PathBuf,
}

/// What `Signed-By` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SignedBy {
    /// A keyring file.
    File(PathBuf),
    /// Only this key, by its fingerprint in upper case, of whatever keyring.
    Fingerprint(String),
    /// An armoured key in the source itself.
    Block(String),
}

/// Returns the enabled binary sources of a `.sources` file.
pub(crate) fn parse_deb822(text: &str, origin: &Path, architecture: &str) -> Vec<Source> {
    paragraphs(text).iter().flat_map(|paragraph| from_paragraph(paragraph, origin, architecture)).collect()
}

fn from_paragraph(paragraph: &Paragraph, origin: &Path, architecture: &str) -> Vec<Source> {
    let enabled = paragraph.get("Enabled").is_none_or(|text| is_true(text) != Some(false));
    let binary = paragraph.words("Types").iter().any(|kind| kind == "deb");
    let architectures = paragraph.words("Architectures");
    let ours = architectures.is_empty() || architectures.iter().any(|name| name == architecture);
    if !enabled || !binary || !ours {
        return Vec::new();
    }
    let source = |uri: &String, suite: &String| Source {
        uri: uri.trim_end_matches('/').to_owned(),
        suite: suite.clone(),
        components: paragraph.words("Components"),
        signed_by: signed_by(paragraph.get("Signed-By").unwrap_or_default()),
        check_valid_until: paragraph.get("Check-Valid-Until").and_then(is_true),
        origin: origin.to_owned(),
    };
    let suites = paragraph.words("Suites");
    let uris = paragraph.words("URIs");
    uris.iter().flat_map(|uri| suites.iter().map(|suite| source(uri, suite)).collect::<Vec<_>>()).collect()
}

/// Returns the enabled binary sources of a `.list` file.
pub(crate) fn parse_one_line(text: &str, origin: &Path, architecture: &str) -> Vec<Source> {
    text.lines().filter_map(|line| from_line(line, origin, architecture)).collect()
}

fn from_line(line: &str, origin: &Path, architecture: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t', '['])?;
    let in_brackets = line.strip_prefix("deb").map(str::trim_start).is_some_and(|rest| rest.starts_with('['));
    let rest = rest.trim_start().trim_start_matches('[');
    let (options, rest) = if in_brackets { rest.split_once(']')? } else { ("", rest) };
    let mut source = Source {
        uri: String::new(),
        suite: String::new(),
        components: Vec::new(),
        signed_by: Vec::new(),
        check_valid_until: None,
        origin: origin.to_owned(),
    };
    for option in options.split_whitespace() {
        let (name, value) = option.split_once('=')?;
        match name.trim_end_matches(['+', '-']).to_ascii_lowercase().as_str() {
            "arch" if !value.split(',').any(|name| name == architecture) => return None,
            "signed-by" => source.signed_by = value.split(',').filter_map(key_or_file).collect(),
            "check-valid-until" => source.check_valid_until = is_true(value),
            _ => {}
        }
    }
    let mut words = rest.split_whitespace();
    source.uri = words.next()?.trim_end_matches('/').to_owned();
    source.suite = words.next()?.to_owned();
    source.components = words.map(str::to_owned).collect();
    Some(source)
}

fn signed_by(value: &str) -> Vec<SignedBy> {
    if value.contains("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
        // An empty line of the block is written as a dot.
        let lines: Vec<&str> =
            value.lines().map(str::trim).map(|line| if line == "." { "" } else { line }).collect();
        return vec![SignedBy::Block(format!("{}\n", lines.join("\n").trim_start()))];
    }
    value.split([',', ' ', '\t', '\n']).filter_map(key_or_file).collect()
}

fn key_or_file(text: &str) -> Option<SignedBy> {
    let text = text.trim();
    if text.starts_with('/') {
        return Some(SignedBy::File(PathBuf::from(text)));
    }
    let fingerprint = text.trim_end_matches('!');
    let hex = fingerprint.len() >= 40 && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| SignedBy::Fingerprint(fingerprint.to_ascii_uppercase()))
}

/// Compat: apt's words for yes and no.
pub(crate) fn is_true(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "yes" | "true" | "with" | "on" | "enable" | "1" => Some(true),
        "no" | "false" | "without" | "off" | "disable" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> SignedBy {
        SignedBy::File(PathBuf::from(path))
    }

    #[test]
    fn a_deb822_source_is_one_per_mirror_and_suite() {
        let text = "Types: deb deb-src\nURIs: http://a.test/debian/ http://b.test/debian\nSuites: bookworm bookworm-updates\n\
                    Components: main contrib\nSigned-By: /usr/share/keyrings/a.gpg\n\n\
                    Types: deb\nURIs: http://c.test\nSuites: x\nComponents: main\nEnabled: no\n\n\
                    Types: deb-src\nURIs: http://d.test\nSuites: x\nComponents: main\n\n\
                    Types: deb\nURIs: http://e.test\nSuites: x\nComponents: main\nArchitectures: riscv64\n";
        let sources = parse_deb822(text, Path::new("/f"), "amd64");
        let seen: Vec<(&str, &str)> =
            sources.iter().map(|source| (source.uri.as_str(), source.suite.as_str())).collect();
        assert_eq!(
            seen,
            [
                ("http://a.test/debian", "bookworm"),
                ("http://a.test/debian", "bookworm-updates"),
                ("http://b.test/debian", "bookworm"),
                ("http://b.test/debian", "bookworm-updates"),
            ]
        );
        assert_eq!(sources[0].components, ["main", "contrib"]);
        assert_eq!(sources[0].signed_by, [file("/usr/share/keyrings/a.gpg")]);
    }

    #[test]
    fn keys_are_files_fingerprints_or_blocks() {
        let fingerprint = "A".repeat(40);
        for (name, value, want) in [
            ("file", "/a.gpg".to_owned(), file("/a.gpg")),
            ("fingerprint", format!("{}!", "a".repeat(40)), SignedBy::Fingerprint(fingerprint)),
            (
                "block",
                "\n-----BEGIN PGP PUBLIC KEY BLOCK-----\n.\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----"
                    .to_owned(),
                SignedBy::Block(
                    "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n"
                        .to_owned(),
                ),
            ),
        ] {
            assert_eq!(signed_by(&value), [want], "case {name}");
        }
        assert_eq!(signed_by("/a.gpg, /b.asc"), [file("/a.gpg"), file("/b.asc")]);
        assert_eq!(signed_by("nonsense"), []);
    }

    #[test]
    fn one_line_sources_have_options_in_brackets() {
        let text = "# deb http://no.test x main\n\
                    deb http://a.test/debian bookworm main contrib # end\n\
                    deb-src http://a.test/debian bookworm main\n\
                    deb [ arch=amd64,arm64 signed-by=/k.gpg check-valid-until=no ] http://b.test/debian/ trixie main\n\
                    deb [arch=i386] http://c.test/debian trixie main\n\
                    deb [trusted=yes] http://d.test ./\n\
                    nonsense\n";
        let sources = parse_one_line(text, Path::new("/f"), "amd64");
        let seen: Vec<(&str, &str, usize)> = sources
            .iter()
            .map(|source| (source.uri.as_str(), source.suite.as_str(), source.components.len()))
            .collect();
        assert_eq!(
            seen,
            [
                ("http://a.test/debian", "bookworm", 2),
                ("http://b.test/debian", "trixie", 1),
                ("http://d.test", "./", 0)
            ]
        );
        assert_eq!(sources[1].signed_by, [file("/k.gpg")]);
        assert_eq!(sources[1].check_valid_until, Some(false));
    }
}
