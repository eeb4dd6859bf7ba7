//! Dockerfiles of others as cases: each one below a directory, with the directory that it lies in as its context.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::case::Case;

/// Loads all Dockerfiles below a directory, in the order of their paths.
pub(crate) fn load(top: &Path) -> anyhow::Result<Vec<Case>> {
    let top = fs_err::canonicalize(top)?;
    let mut files = Vec::new();
    let mut todo = vec![top.clone()];
    while let Some(directory) = todo.pop() {
        for entry in fs_err::read_dir(&directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                todo.push(entry.path());
            } else if kind.is_file() && is_dockerfile(&entry.file_name().to_string_lossy()) {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "no Dockerfile is below {}", top.display());
    files.iter().map(|file| case(&top, file)).collect()
}

fn is_dockerfile(name: &str) -> bool {
    let begins = ["Dockerfile", "Containerfile"].iter().any(|begin| name.starts_with(begin));
    (begins || name.ends_with(".Dockerfile")) && !name.ends_with("ignore")
}

fn case(top: &Path, file: &Path) -> anyhow::Result<Case> {
    let directory = file.parent().unwrap_or(top);
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let quoted = directory.display().to_string().replace('\'', r"'\''");
    Ok(Case {
        name: file.strip_prefix(top).unwrap_or(file).display().to_string(),
        dockerfile: String::from_utf8_lossy(&fs_err::read(file)?).into_owned(),
        base: None,
        context: format!("cp -a '{quoted}/.' ."),
        args: vec!["-f".to_owned(), name],
        again: None,
        needs: None,
        known: None,
        differs: Vec::new(),
    })
}

/// Returns the images that cases name: both builders are to know them.
pub(crate) fn images(cases: &[Case]) -> BTreeSet<String> {
    let mut images = BTreeSet::new();
    for case in cases {
        for line in case.dockerfile.lines() {
            let mut words = line.split_whitespace();
            let is_from = words.next().is_some_and(|word| word.eq_ignore_ascii_case("from"));
            let base = words.clone().find(|word| !word.starts_with("--")).filter(|_| is_from);
            let copied = words.filter_map(|word| word.strip_prefix("--from="));
            let named = base.into_iter().chain(copied);
            images.extend(named.filter(|name| is_plain(name)).map(str::to_owned));
        }
    }
    images
}

fn is_plain(name: &str) -> bool {
    let is_of_names = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/:".contains(c);
    !name.is_empty()
        && name != "scratch"
        && name.chars().all(is_of_names)
        && !name.starts_with(['.', '/', '-', ':'])
}

/// Returns where the cases are, if the arguments name such a directory.
pub(crate) fn directory(text: &str) -> anyhow::Result<PathBuf> {
    fs_err::canonicalize(text).context("a corpus is a directory of Dockerfiles")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockerfiles_are_found_with_the_images_that_they_name() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(dir.path().join("a/it's")).unwrap();
        let text = "FROM --platform=linux/amd64 busybox:1 AS one\nfrom $BASE\nCOPY --from=alpine /a /b\nFROM scratch\n";
        for name in ["a/Dockerfile", "a/it's/x.Dockerfile", "a/Dockerfile.dockerignore", "a/other"] {
            fs_err::write(dir.path().join(name), text).unwrap();
        }
        let cases = load(dir.path()).unwrap();
        let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["a/Dockerfile", "a/it's/x.Dockerfile"]);
        assert!(cases[1].context.contains(r"it'\''s"), "{}", cases[1].context);
        assert_eq!(images(&cases).into_iter().collect::<Vec<_>>(), ["alpine", "busybox:1"]);
        assert!(load(&dir.path().join("a/none")).is_err());
    }
}
