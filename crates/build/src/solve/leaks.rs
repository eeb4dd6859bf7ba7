//! Secrets where they must not be: in what a command prints, in the files that it leaves or that a copy brings, and in what instructions
//! say.

use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use shipway_linux::{Kind, Root};

use shipway_dockerfile::{Source, Span};
use shipway_oci::Digest;

use crate::copy::{Item, Tree};
use crate::{BuildError, Problem, Secret};

/// A shorter secret is found everywhere by chance.
const SHORTEST: usize = 8;
/// Bytes of a file that are looked at at a time.
const PIECE: usize = 1 << 20;
const STARS: &[u8] = b"****";

/// How a secret stays out of what a command leaves.
pub(super) const OF_COMMAND: &str = "remove the file in the same RUN, or keep the secret out of it";
/// And out of what is copied.
pub(super) const OF_COPY: &str =
    "leave the file out, by .dockerignore or --exclude, and give the secret to a RUN only";
/// And out of what is said.
const OF_TEXT: &str = "history and configuration keep such texts; give it to a RUN by --mount=type=secret";

/// Returns what must not appear of secrets. Those that end with a line are not needed with it.
pub(crate) fn needles<'a>(secrets: impl Iterator<Item = &'a Secret>) -> Vec<(&'a str, &'a [u8])> {
    let mut needles: Vec<(&str, &[u8])> = secrets
        .map(|secret| (secret.id.as_str(), secret.content.trim_ascii()))
        .filter(|(_, bytes)| bytes.len() >= SHORTEST)
        .collect();
    // One may be the beginning of another.
    needles.sort_by_key(|(_, bytes)| std::cmp::Reverse(bytes.len()));
    needles
}

/// Returns a text with stars in the place of secrets.
pub(crate) fn star(text: &str, secrets: &[Secret]) -> String {
    let mut text = text.to_owned();
    for (_, bytes) in needles(secrets.iter()) {
        if let Ok(secret) = std::str::from_utf8(bytes) {
            text = text.replace(secret, "****");
        }
    }
    text
}

/// Returns a problem of an instruction as an error with its text; a secret in that is not shown.
pub(crate) fn tell(
    problem: Problem,
    (source, span): (&Source, Span),
    secrets: &[Secret],
    step: &str,
) -> BuildError {
    if matches!(problem, Problem::SecretInLayer { .. }) {
        problem.at(&covered(source, secrets), span, step)
    } else {
        problem.at(source, span, step)
    }
}

/// Returns a source with stars in the place of secrets; every other byte stays where it is.
fn covered(source: &Source, secrets: &[Secret]) -> Source {
    let mut text = source.text().to_owned();
    for (_, bytes) in needles(secrets.iter()) {
        if let Ok(secret) = std::str::from_utf8(bytes) {
            text = text.replace(secret, &"*".repeat(secret.len()));
        }
    }
    Source::new(source.name(), text)
}

/// Refuses a text that the image would keep.
pub(crate) fn check_text(text: &str, what: &str, secrets: &[Secret]) -> Result<(), Problem> {
    match within(text.as_bytes(), &needles(secrets.iter())) {
        None => Ok(()),
        Some(id) => {
            Err(Problem::SecretInLayer { id: id.to_owned(), place: what.to_owned(), remedy: OF_TEXT })
        }
    }
}

/// Looks whether files that a copy has read are secrets themselves. Only digests are compared, so that it is also done where nothing is
/// copied because the cache has it.
pub(super) fn check_digests(tree: &Tree<'_>, items: &[Item], secrets: &[Secret]) -> Result<(), Problem> {
    let long = secrets.iter().filter(|secret| secret.content.trim_ascii().len() >= SHORTEST);
    let known: Vec<(&str, Digest)> = long
        .flat_map(|secret| {
            let forms = [secret.content.as_slice(), secret.content.trim_ascii()];
            forms.map(|bytes| (secret.id.as_str(), Digest::of(bytes)))
        })
        .collect();
    if known.is_empty() {
        return Ok(());
    }
    for item in items {
        for entry in &item.entries {
            let Some((id, _)) = known.iter().find(|(_, digest)| entry.digest.as_ref() == Some(digest)) else {
                continue;
            };
            let path = item.base.join(&entry.path);
            // Nothing is added for nothing, not even a slash.
            let path = if entry.path.as_os_str().is_empty() { &item.base } else { &path };
            let place = format!("`{}` of {}", path.display(), tree.place);
            return Err(Problem::SecretInLayer { id: (*id).to_owned(), place, remedy: OF_COPY });
        }
    }
    Ok(())
}

/// Looks for secrets in the files that an item has, which go to `top`.
pub(super) fn check_item(
    (tree, item): (&Tree<'_>, &Item),
    top: &Path,
    needles: &[(&str, &[u8])],
) -> Result<(), Problem> {
    if needles.is_empty() {
        return Ok(());
    }
    for entry in item.entries.iter().filter(|entry| !entry.path.as_os_str().is_empty()) {
        let from = item.base.join(&entry.path);
        let file = (tree.root, from.as_path(), entry.metadata.kind);
        check_file(file, entry.link.as_deref(), &top.join(&entry.path), (needles, OF_COPY))?;
    }
    Ok(())
}

/// Looks for secrets in a file, in its attributes, in its path, and in what it leads to if it is a link; `place` is where it is in the image.
fn check_file(
    (root, path, kind): (&Root, &Path, Kind),
    link: Option<&Path>,
    place: &Path,
    (needles, remedy): (&[(&str, &[u8])], &'static str),
) -> Result<(), Problem> {
    let found = match (within(place.as_os_str().as_encoded_bytes(), needles), kind, link) {
        (None, Kind::File | Kind::Directory, _) => {
            find(root, (path, kind), needles).map_err(Problem::io("read", path))?
        }
        (None, _, Some(link)) => within(link.as_os_str().as_encoded_bytes(), needles),
        (found, ..) => found,
    };
    let Some(id) = found else { return Ok(()) };
    // Its own name may be the secret.
    let shown = format!("/{}", place.display());
    let secrets = needles.iter().filter_map(|(_, bytes)| std::str::from_utf8(bytes).ok());
    let shown = secrets.fold(shown, |shown, secret| shown.replace(secret, "****"));
    Err(Problem::SecretInLayer { id: id.to_owned(), place: format!("`{shown}`"), remedy })
}

/// Looks for secrets in the files of a step, in their attributes and paths, and in what links lead to.
pub(super) fn check(upper: &Path, needles: &[(&str, &[u8])], remedy: &'static str) -> Result<(), Problem> {
    if needles.is_empty() {
        return Ok(());
    }
    let root = Root::open(upper).map_err(Problem::io("open", "the step's changes"))?;
    let mut todo = vec![PathBuf::new()];
    while let Some(directory) = todo.pop() {
        let at = if directory.as_os_str().is_empty() { Path::new(".") } else { &directory };
        for (name, metadata) in root.entries(at).map_err(Problem::io("read", at))? {
            let path = directory.join(name);
            let link = match metadata.kind {
                Kind::Symlink => Some(root.read_link(&path).map_err(Problem::io("read", &path))?),
                _ => None,
            };
            check_file((&root, &path, metadata.kind), link.as_deref(), &path, (needles, remedy))?;
            if metadata.kind == Kind::Directory {
                todo.push(path);
            }
        }
    }
    Ok(())
}

/// Returns the id of a secret that is in some bytes.
fn within<'n>(bytes: &[u8], needles: &[(&'n str, &[u8])]) -> Option<&'n str> {
    needles.iter().find(|(_, needle)| memchr::memmem::find(bytes, needle).is_some()).map(|(id, _)| *id)
}

/// Returns the id of a secret that the attributes of a file or directory or the bytes of a file contain.
fn find<'n>(
    root: &Root,
    (path, kind): (&Path, Kind),
    needles: &[(&'n str, &[u8])],
) -> io::Result<Option<&'n str>> {
    let of_attributes = |attributes: Vec<(String, Vec<u8>)>| {
        attributes
            .iter()
            .find_map(|(name, value)| within(name.as_bytes(), needles).or_else(|| within(value, needles)))
    };
    if kind == Kind::Directory {
        return root.xattrs(path).map(of_attributes);
    }
    let mut file = root.open_file(path)?;
    if let Some(id) = of_attributes(shipway_linux::xattrs_of(&file)?) {
        return Ok(Some(id));
    }
    let longest = needles.iter().map(|(_, bytes)| bytes.len()).max().unwrap_or_default();
    let mut buffer = Vec::new();
    loop {
        // One may begin in one piece and end in the next.
        let kept = buffer.len().min(longest - 1);
        buffer.drain(..buffer.len() - kept);
        let read = (&mut file).take(PIECE as u64).read_to_end(&mut buffer)?;
        if read == 0 {
            return Ok(None);
        }
        if let Some(id) = within(&buffer, needles) {
            return Ok(Some(id));
        }
    }
}

/// Writes stars in the place of secrets. What may be the beginning of one waits for the rest, at most until this goes.
pub(super) struct Redact<'n, W: Write> {
    inner: W,
    needles: Vec<&'n [u8]>,
    waiting: Vec<u8>,
}

impl<'n, W: Write> Redact<'n, W> {
    pub(super) fn new(inner: W, needles: &[(&str, &'n [u8])]) -> Self {
        Self { inner, needles: needles.iter().map(|(_, bytes)| *bytes).collect(), waiting: Vec::new() }
    }

    /// Writes what waits.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.waiting);
        if rest.is_empty() { Ok(()) } else { self.inner.write_all(&rest) }
    }
}

impl<W: Write> Write for Redact<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.needles.is_empty() {
            return self.inner.write(bytes);
        }
        self.waiting.extend_from_slice(bytes);
        for needle in &self.needles {
            while let Some(at) = memchr::memmem::find(&self.waiting, needle) {
                self.waiting.splice(at..at + needle.len(), STARS.iter().copied());
            }
        }
        let begins = |length: &usize| {
            let end = &self.waiting[self.waiting.len() - length..];
            self.needles.iter().any(|needle| needle.len() > *length && needle.starts_with(end))
        };
        let longest = self.needles.iter().map(|needle| needle.len()).max().unwrap_or_default();
        let kept = (1..longest.min(self.waiting.len() + 1)).rev().find(begins).unwrap_or_default();
        let ready: Vec<u8> = self.waiting.drain(..self.waiting.len() - kept).collect();
        if !ready.is_empty() {
            self.inner.write_all(&ready)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed_however_they_come() {
        let needles: [(&str, &[u8]); 2] = [("a", b"secret-one"), ("b", b"secret-two")];
        let text = b"x secret-one, secret-tw secret-twosecret-one secre";
        for size in 1..text.len() {
            let mut out = Vec::new();
            let mut redact = Redact::new(&mut out, &needles);
            text.chunks(size).for_each(|piece| redact.write_all(piece).unwrap());
            redact.finish().unwrap();
            assert_eq!(String::from_utf8_lossy(&out), "x ****, secret-tw ******** secre", "pieces of {size}");
        }
    }

    #[test]
    fn a_file_with_a_secret_is_found() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("deep")).unwrap();
        let mut bytes = vec![b'x'; PIECE - 4];
        fs_err::write(dir.path().join("deep/file"), &bytes).unwrap();
        let secret = Secret { id: "key".to_owned(), content: b"secret-one\n".to_vec() };
        let short = Secret { id: "short".to_owned(), content: b"xxxx".to_vec() };
        let needles = needles([&secret, &short].into_iter());
        check(dir.path(), &needles, OF_COMMAND).unwrap();
        bytes.extend(b"secret-one");
        fs_err::write(dir.path().join("deep/file"), &bytes).unwrap();
        let problem = check(dir.path(), &needles, OF_COMMAND).unwrap_err().to_string();
        assert_eq!(problem, "the secret `key` is in `/deep/file`");
    }
}
