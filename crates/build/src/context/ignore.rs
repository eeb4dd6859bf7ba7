//! `.dockerignore` and `--exclude`.
//!
//! Compat: moby's patternmatcher. The last pattern that matches a path or one of its parents decides; `!` takes paths
//! back in, also below a directory that is out.

use std::io;
use std::path::Path;

use super::{Glob, own_ignore_file};
use crate::BuildError;

/// A list of patterns, some of which take back.
#[derive(Clone, Debug, Default)]
pub(crate) struct PatternList {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug)]
struct Pattern {
    glob: Glob,
    text: String,
    takes_back: bool,
}

/// Which patterns match a directory; its children need it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matched(Vec<bool>);

impl PatternList {
    /// Compiles patterns; the error names the one that cannot be.
    pub(crate) fn new<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut patterns = Vec::new();
        for line in lines {
            let trimmed = line.trim();
            let (takes_back, text) =
                trimmed.strip_prefix('!').map_or((false, trimmed), |rest| (true, rest.trim()));
            if text.is_empty() {
                if takes_back {
                    return Err(line.to_owned());
                }
                continue;
            }
            // Compat: moby, the whole context is nothing to take back.
            if takes_back && text.trim_matches('/').is_empty() {
                return Err(line.to_owned());
            }
            let text = clean(text);
            let glob = Glob::new(&text).map_err(|_bad| line.to_owned())?;
            patterns.push(Pattern { glob, text, takes_back });
        }
        Ok(Self { patterns })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Returns whether a path is out, given what is known of its directory.
    pub(crate) fn matches(&self, path: &str, parent: &Matched) -> (bool, Matched) {
        let mut out = false;
        let mut matched = Vec::with_capacity(self.patterns.len());
        for (index, pattern) in self.patterns.iter().enumerate() {
            let hit = parent.0.get(index).copied().unwrap_or(false) || pattern.glob.matches(path);
            if hit {
                out = !pattern.takes_back;
            }
            matched.push(hit);
        }
        (out, Matched(matched))
    }

    /// Returns whether a path is out, looking at its parents too.
    pub(crate) fn matches_alone(&self, path: &str) -> bool {
        let (mut out, mut matched) = (false, Matched::default());
        for (at, _) in path.match_indices('/').chain([(path.len(), "")]) {
            (out, matched) = self.matches(&path[..at], &matched);
        }
        out
    }

    /// Returns whether what a COPY names is certainly out. Compat: BuildKit, nothing is where something is taken back, and the context as
    /// a whole is only where a pattern says all.
    pub(crate) fn leaves_out_source(&self, path: &str) -> bool {
        if self.patterns.iter().any(|pattern| pattern.takes_back) {
            return false;
        }
        match clean_source(path).as_str() {
            "." | "/" => self.patterns.iter().any(|pattern| matches!(&*pattern.text, "*" | "**" | "**/*")),
            path => self.matches_alone(path),
        }
    }

    /// Returns what is known of a directory for its children.
    pub(crate) fn matched_of(&self, directory: &str) -> Matched {
        let mut matched = Matched::default();
        if !directory.is_empty() {
            for (at, _) in directory.match_indices('/').chain([(directory.len(), "")]) {
                matched = self.matches(&directory[..at], &matched).1;
            }
        }
        matched
    }

    /// Returns whether something below a directory that is out may be in again.
    pub(crate) fn may_take_back_below(&self, directory: &str) -> bool {
        self.patterns.iter().any(|pattern| {
            pattern.takes_back
                && (pattern.glob.is_wild()
                    || pattern.text.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')))
        })
    }
}

/// The ignore file of a build.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ignore {
    pub(crate) list: PatternList,
    /// Its name, for hints.
    pub(crate) file: Option<String>,
}

impl Ignore {
    /// Reads `<Dockerfile>.dockerignore`, or else `.dockerignore` of the context.
    pub(crate) fn load(context: &Path, dockerfile: Option<&Path>) -> Result<Self, BuildError> {
        let own = dockerfile.map(own_ignore_file);
        for path in own.into_iter().chain([context.join(".dockerignore")]) {
            let bytes = match fs_err::read(&path) {
                Ok(bytes) => bytes,
                // Compat: BuildKit, a directory says nothing.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory
                    ) =>
                {
                    continue;
                }
                Err(source) => return Err(BuildError::OpenContext { path, source }),
            };
            let text = String::from_utf8_lossy(&bytes);
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            let list = PatternList::new(lines).map_err(|pattern| BuildError::OpenContext {
                path: path.clone(),
                source: io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("the pattern `{pattern}` is malformed"),
                ),
            })?;
            let file = path.file_name().map(|name| name.to_string_lossy().into_owned());
            return Ok(Self { list, file });
        }
        Ok(Self::default())
    }
}

/// Removes `.`, `..` and slashes at the end of a source, and keeps the slash that it begins with.
fn clean_source(path: &str) -> String {
    match (path.starts_with('/'), clean(path)) {
        (false, path) => path,
        (true, path) if path == "." => "/".to_owned(),
        (true, path) => format!("/{path}"),
    }
}

/// Removes `.`, `..` and slashes at both ends.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_match_decides() {
        for (name, lines, path, want) in [
            ("nothing", vec![], "a", false),
            ("literal", vec!["a"], "a", true),
            ("child of a match", vec!["a"], "a/b/c", true),
            ("leading slash", vec!["/a"], "a", true),
            ("trailing slash", vec!["a/"], "a/b", true),
            ("dot slash", vec!["./a"], "a", true),
            ("only at the top", vec!["a"], "b/a", false),
            ("star only at the top", vec!["*.md"], "d/x.md", false),
            ("star anywhere", vec!["**/*.md"], "d/x.md", true),
            ("taken back", vec!["*.md", "!README.md"], "README.md", false),
            ("out again", vec!["*.md", "!README*.md", "README-secret.md"], "README-secret.md", true),
            ("order matters", vec!["!README.md", "*.md"], "README.md", true),
            ("child taken back", vec!["a", "!a/keep"], "a/keep", false),
            ("sibling of a child taken back", vec!["a", "!a/keep"], "a/other", true),
            ("deep child taken back", vec!["a", "!a/keep"], "a/keep/x", false),
            ("everything but one", vec!["*", "!src"], "src/main.rs", false),
            ("everything", vec!["*"], "x/y", true),
            ("double star back", vec!["**", "!**/*.go"], "a/b.go", false),
            ("parent dots", vec!["a/../b"], "b", true),
            ("spaces around", vec!["  a  "], "a", true),
            ("space after the mark", vec!["*", "! a"], "a", false),
        ] {
            let list = PatternList::new(lines).unwrap();
            assert_eq!(list.matches_alone(path), want, "case {name}");
        }
        for pattern in ["!", "!/", "! //"] {
            assert!(PatternList::new([pattern]).is_err(), "{pattern}");
        }
        assert!(PatternList::new(["[a"]).is_err());
    }

    #[test]
    fn a_source_is_left_out_only_where_that_is_certain() {
        for (name, lines, path, want) in [
            ("nothing", vec![], "a", false),
            ("a file", vec!["a"], "./a", true),
            ("below a directory", vec!["a"], "a/b/", true),
            ("by way of another", vec!["a"], "b/../a", true),
            ("another file", vec!["a"], "b", false),
            ("taken back", vec!["**", "!a"], "./a", false),
            ("beside what is taken back", vec!["**", "!a"], "b", false),
            ("the context", vec!["*"], ".", true),
            ("the context by another name", vec!["**"], "./", true),
            ("the context of an old form", vec!["**/*"], "/", true),
            ("the context but for hidden files", vec![".*"], ".", false),
            ("the context but for one file", vec!["a"], ".", false),
            ("a pattern that is the source", vec!["*.md"], "*.md", true),
        ] {
            assert_eq!(PatternList::new(lines).unwrap().leaves_out_source(path), want, "case {name}");
        }
    }

    #[test]
    fn directories_are_left_out_only_when_nothing_below_can_come_back() {
        for (name, lines, directory, want) in [
            ("no take-back", vec!["a"], "a", false),
            ("below", vec!["a", "!a/b"], "a", true),
            ("elsewhere", vec!["a", "!b/c"], "a", false),
            ("a name that only starts alike", vec!["a", "!ab/c"], "a", false),
            ("wild", vec!["a", "!**/keep"], "a", true),
        ] {
            assert_eq!(PatternList::new(lines).unwrap().may_take_back_below(directory), want, "case {name}");
        }
    }

    #[test]
    fn the_dockerfiles_own_ignore_file_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join(".dockerignore"), "# comment\na\n").unwrap();
        let other = dir.path().join("Dockerfile.dev");
        let load = || Ignore::load(dir.path(), Some(&other)).unwrap();
        assert!(load().list.matches_alone("a"));
        fs_err::write(dir.path().join("Dockerfile.dev.dockerignore"), "b\n").unwrap();
        assert!(!load().list.matches_alone("a") && load().list.matches_alone("b"));
        assert_eq!(load().file.as_deref(), Some("Dockerfile.dev.dockerignore"));
        fs_err::remove_file(dir.path().join("Dockerfile.dev.dockerignore")).unwrap();
        fs_err::remove_file(dir.path().join(".dockerignore")).unwrap();
        fs_err::create_dir(dir.path().join(".dockerignore")).unwrap();
        assert!(load().file.is_none() && !load().list.matches_alone("a"));
    }
}
