//! What is attested of files, in documents beside them. Compat: BuildKit, their names, and that they are about each file.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use shipway_build::Built;
use shipway_linux::{Kind, Root};
use shipway_oci::{Hasher, Statement, Subject};

use super::found;
use crate::engine::Engine;

/// What a tar archive ends with.
const END: usize = 1024;

/// What is wanted of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::verbs::build) struct Wish {
    /// Provenance is for images only.
    pub(in crate::verbs::build) is_inline_only: bool,
    /// When they were written, in seconds since the epoch; now by default.
    pub(in crate::verbs::build) epoch: Option<u64>,
}

/// A document.
#[derive(Debug)]
pub(super) struct Document {
    /// Where it goes, below all files.
    pub(super) path: PathBuf,
    pub(super) content: Vec<u8>,
}

/// Returns the documents about an image's files. `place` says where one of a name goes.
pub(super) fn of(
    engine: &Engine,
    (image, files): (&Built, &Root),
    wish: Wish,
    place: &dyn Fn(&str) -> PathBuf,
) -> io::Result<Vec<Document>> {
    let attested = image.index.and_then(|_| engine.store.attested(&found(image)));
    let statements = attested.map(|attested| attested.statements(&image.manifest)).unwrap_or_default();
    let named = statements.into_iter().filter_map(|statement| {
        let name = name_of(&statement.predicate_type, wish.is_inline_only)?;
        Some((name, statement))
    });
    let named: Vec<(&str, Statement)> = named.collect();
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let mut subject = Vec::new();
    list(files, Path::new(""), &mut subject)?;
    let document = |(name, mut statement): (&str, Statement)| {
        statement.subject.clone_from(&subject);
        let content = serde_json::to_vec_pretty(&statement).expect("a statement is always JSON");
        Document { path: place(name), content }
    };
    Ok(named.into_iter().map(document).collect())
}

fn name_of(predicate_type: &str, is_inline_only: bool) -> Option<&'static str> {
    match predicate_type {
        Statement::SPDX => Some("sbom.spdx.json"),
        _ if is_inline_only => None,
        _ => Some("provenance.json"),
    }
}

/// Lists the regular files below a directory with their digests.
fn list(files: &Root, directory: &Path, subjects: &mut Vec<Subject>) -> io::Result<()> {
    for name in files.names(directory)? {
        let path = directory.join(name);
        let Some(found) = files.metadata(&path)? else { continue };
        match found.kind {
            Kind::Directory => list(files, &path, subjects)?,
            Kind::File => {
                let mut hasher = Hasher::default();
                io::copy(&mut files.open_file(&path)?, &mut hasher)?;
                let digest = BTreeMap::from([("sha256".to_owned(), hasher.finish().hex())]);
                subjects.push(Subject { name: path.to_string_lossy().into_owned(), digest });
            }
            Kind::Symlink | Kind::Special => {}
        }
    }
    Ok(())
}

/// Writes an archive with documents behind what `files` writes, which is an archive as well.
pub(super) fn append(
    documents: &[Document],
    mtime: u64,
    out: &mut dyn Write,
    files: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut open = Open { out, held: Vec::with_capacity(2 * END) };
    files(&mut open)?;
    let mut archive = tar::Builder::new(out);
    for document in documents {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o600);
        header.set_mtime(mtime);
        header.set_size(document.content.len() as u64);
        archive.append_data(&mut header, &document.path, document.content.as_slice())?;
    }
    archive.finish()
}

/// An archive without its end.
struct Open<'a> {
    out: &'a mut dyn Write,
    /// What may be the end.
    held: Vec<u8>,
}

impl Write for Open<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        let passed = self.held.len().saturating_sub(END);
        self.out.write_all(&self.held[..passed])?;
        self.held.drain(..passed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use shipway_layers::serialise;

    use super::*;

    #[test]
    fn documents_are_in_the_same_archive_as_the_files() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("a")).unwrap();
        fs_err::write(dir.path().join("a/long"), vec![b'x'; 5000]).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let document = Document { path: "linux_amd64/provenance.json".into(), content: b"{}".to_vec() };
        let mut bytes = Vec::new();
        append(&[document], 7, &mut bytes, |out| serialise(&root, out)).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let read = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let header = entry.header();
            (entry.path().unwrap().display().to_string(), header.mode().unwrap() & 0o777, content.len())
        });
        let read: Vec<_> = read.collect();
        assert_eq!(
            read[1..],
            [("a/long".to_owned(), read[1].1, 5000), ("linux_amd64/provenance.json".to_owned(), 0o600, 2),]
        );
        assert!(bytes.len() % 512 == 0 && bytes[bytes.len() - END..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn files_are_listed_with_their_digests_and_links_are_not() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("b")).unwrap();
        fs_err::write(dir.path().join("b/file"), "").unwrap();
        fs_err::write(dir.path().join("a"), "").unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        let mut subjects = Vec::new();
        list(&Root::open(dir.path()).unwrap(), Path::new(""), &mut subjects).unwrap();
        let names: Vec<&str> = subjects.iter().map(|subject| subject.name.as_str()).collect();
        assert_eq!(names, ["a", "b/file"]);
        assert!(subjects[0].digest["sha256"].starts_with("e3b0c44298fc1c149afbf4c8996fb924"));
    }

    #[test]
    fn documents_have_buildkits_names() {
        for (kind, inline_only, want) in [
            (Statement::SPDX, true, Some("sbom.spdx.json")),
            (Statement::PROVENANCE_V02, false, Some("provenance.json")),
            (Statement::PROVENANCE_V1, false, Some("provenance.json")),
            (Statement::PROVENANCE_V1, true, None),
        ] {
            assert_eq!(name_of(kind, inline_only), want, "case {kind} {inline_only}");
        }
    }
}
