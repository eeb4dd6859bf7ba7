//! The `Release` file: what an archive says of one of its suites.

use std::collections::HashMap;

use shipway_oci::Digest;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::apt::paragraphs;

/// A suite, as its verified `Release` file describes it.
#[derive(Clone, Debug)]
pub(crate) struct Release {
    pub(crate) origin: String,
    pub(crate) codename: String,
    suite: String,
    pub(crate) date: Option<OffsetDateTime>,
    pub(crate) valid_until: Option<OffsetDateTime>,
    pub(crate) by_hash: bool,
    architectures: Vec<String>,
    files: HashMap<String, IndexFile>,
}

/// Digest and length of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexFile {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

const DATE: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day padding:none] [month repr:short] [year] [hour]:[minute]:[second]"
);

impl Release {
    /// Parses the signed text. What is missing is empty; what uses it decides whether that matters.
    pub(crate) fn parse(text: &str) -> Self {
        let paragraphs = paragraphs(text);
        let field =
            |name: &str| paragraphs.first().and_then(|paragraph| paragraph.get(name)).unwrap_or_default();
        Self {
            origin: field("Origin").to_owned(),
            codename: field("Codename").to_owned(),
            suite: field("Suite").to_owned(),
            date: parse_date(field("Date")),
            valid_until: parse_date(field("Valid-Until")),
            by_hash: field("Acquire-By-Hash") == "yes",
            architectures: field("Architectures").split_whitespace().map(str::to_owned).collect(),
            files: field("SHA256").lines().filter_map(parse_file).collect(),
        }
    }

    /// Whether it describes the suite that was asked for: no signed description may stand for another one.
    ///
    /// Debian's `Codename` has the pocket, Ubuntu's has not, but its `Suite` has; `buster/updates` has it in neither.
    pub(crate) fn is_of_suite(&self, asked: &str) -> bool {
        let old_security = asked.strip_suffix("/updates");
        asked == self.codename
            || asked == self.suite
            || old_security.is_some_and(|base| base == self.codename)
    }

    pub(crate) fn has_architecture(&self, architecture: &str) -> bool {
        self.architectures.is_empty() || self.architectures.iter().any(|name| name == architecture)
    }

    /// Returns the package index of a component: its path in the suite and what it must be, the smallest form we read.
    pub(crate) fn package_index(&self, component: &str, architecture: &str) -> Option<(String, IndexFile)> {
        ["xz", "gz"].iter().find_map(|extension| {
            let path = format!("{component}/binary-{architecture}/Packages.{extension}");
            let file = *self.files.get(&path)?;
            Some((path, file))
        })
    }
}

fn parse_file(line: &str) -> Option<(String, IndexFile)> {
    let mut words = line.split_whitespace();
    let digest = format!("sha256:{}", words.next()?).parse().ok()?;
    let size = words.next()?.parse().ok()?;
    Some((words.next()?.to_owned(), IndexFile { digest, size }))
}

/// Parses a date as archives write it: `Sat, 07 Jun 2025 10:00:00 UTC`.
fn parse_date(text: &str) -> Option<OffsetDateTime> {
    let text = text.trim();
    let text = text
        .strip_suffix("UTC")
        .or_else(|| text.strip_suffix("GMT"))
        .or_else(|| text.strip_suffix("+0000"))?;
    // Some archives pad the day with a space.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    PrimitiveDateTime::parse(&text, DATE).ok().map(PrimitiveDateTime::assume_utc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_read() {
        let sum = "a".repeat(64);
        let release = Release::parse(&format!(
            "Origin: Debian\nCodename: bookworm\nDate: Sat,  7 Jun 2025 10:00:00 UTC\n\
             Valid-Until: Sat, 14 Jun 2025 10:00:00 UTC\nAcquire-By-Hash: yes\nArchitectures: all amd64\n\
             MD5Sum:\n {} 9 main/binary-amd64/Packages.xz\nSHA256:\n {sum} 12 main/binary-amd64/Packages.gz\n {sum}  7 main/binary-amd64/Packages.xz\n",
            "b".repeat(32)
        ));
        assert_eq!((release.origin.as_str(), release.codename.as_str()), ("Debian", "bookworm"));
        assert_eq!(
            release.valid_until.unwrap().unix_timestamp() - release.date.unwrap().unix_timestamp(),
            7 * 86_400
        );
        assert!(release.by_hash && release.has_architecture("amd64") && !release.has_architecture("s390x"));
        let (path, file) = release.package_index("main", "amd64").unwrap();
        assert_eq!((path.as_str(), file.size), ("main/binary-amd64/Packages.xz", 7));
        assert_eq!(release.package_index("contrib", "amd64"), None);
        for (suite, want) in
            [("bookworm", true), ("bookworm-security", false), ("bookworm/updates", true), ("sid", false)]
        {
            assert_eq!(release.is_of_suite(suite), want, "suite {suite}");
        }
    }

    #[test]
    fn dates_of_archives_are_read() {
        for (text, want) in [
            ("Thu, 01 Jan 1970 00:01:00 UTC", Some(60)),
            ("Thu, 1 Jan 1970 00:01:00 +0000", Some(60)),
            ("Thu, 01 Jan 1970 00:01:00 GMT", Some(60)),
            ("Thu, 01 Jan 1970 00:01:00 CEST", None),
            ("tomorrow", None),
        ] {
            assert_eq!(parse_date(text).map(OffsetDateTime::unix_timestamp), want, "{text}");
        }
    }
}
