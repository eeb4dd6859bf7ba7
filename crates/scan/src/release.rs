//! Which distribution a file system is of. Spec: os-release(5).

/// A distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// `debian`, `alpine`, …
    pub id: String,
    /// `12`, `3.20.1`; a code name where there is no number; may be empty.
    pub version: String,
    /// As people call it.
    pub name: String,
}

impl Release {
    /// Returns it as package URLs name it: `debian-12`.
    pub fn short(&self) -> String {
        if self.version.is_empty() { self.id.clone() } else { format!("{}-{}", self.id, self.version) }
    }

    /// Reads `/etc/os-release`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let value = |wanted: &str| {
            let found =
                text.lines().filter_map(|line| line.trim().split_once('=')).find(|(key, _)| *key == wanted);
            found.map(|(_, value)| unquoted(value)).filter(|value| !value.is_empty())
        };
        // Spec: os-release(5), ID: lower-case letters, digits, `.`, `_` and `-`.
        let is_id =
            |id: &String| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        let id = value("ID").filter(is_id)?;
        let version = value("VERSION_ID").or_else(|| value("VERSION_CODENAME")).unwrap_or_default();
        let name = value("PRETTY_NAME").unwrap_or_else(|| id.clone());
        Some(Self { id, version, name })
    }
}

/// Spec: os-release(5), the quotes of a shell; what is escaped in them stands for itself.
fn unquoted(value: &str) -> String {
    let inner = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    let mut text = String::new();
    let mut chars = inner.unwrap_or(value).chars();
    while let Some(c) = chars.next() {
        text.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_are_known_by_what_they_say() {
        for (name, text, want) in [
            (
                "debian",
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n",
                Some("debian-12"),
            ),
            ("alpine", "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.23.0\n", Some("alpine-3.23.0")),
            ("sid", "ID=debian\nVERSION_CODENAME=sid\n", Some("debian-sid")),
            ("rolling", "ID='arch'\n", Some("arch")),
            ("a path", "ID=../../x\n", None),
            ("nothing", "", None),
        ] {
            assert_eq!(Release::parse(text).map(|release| release.short()).as_deref(), want, "case {name}");
        }
        assert_eq!(unquoted(r#""a \"b\" \$c""#), r#"a "b" $c"#);
    }
}
