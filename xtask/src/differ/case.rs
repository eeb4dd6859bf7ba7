//! The cases: `xtask/differ/*.toml`, one file per area.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

/// A Dockerfile with its context, and how the builders may differ.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// A sentence; unique.
    pub(crate) name: String,
    pub(crate) dockerfile: String,
    /// Dockerfile of an image that is built first; the build argument `BASE` is its name.
    pub(crate) base: Option<String>,
    /// Makes the context: a script for `sh -eu` with umask 022, in the context's directory, where `Dockerfile` lies already.
    #[serde(default)]
    pub(crate) context: String,
    /// What is typed between `build` and the context.
    #[serde(default)]
    pub(crate) args: Vec<String>,
    /// Changes the context for a second build; what that one gives is compared.
    pub(crate) again: Option<String>,
    /// The first release of Docker whose builder knows what the case uses.
    pub(crate) needs: Option<u32>,
    /// Why both differ: a case of `docs/compatibility.md`, or `old: …`, a fault that later releases of Docker do not have.
    pub(crate) known: Option<String>,
    /// The places of the differences that `known` explains; `*` at the end stands for anything.
    #[serde(default)]
    pub(crate) differs: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

/// What begins a reason that `docs/compatibility.md` need not have.
const OLD: &str = "old: ";

impl Case {
    /// Returns whether a difference at this place is explained.
    pub(crate) fn explains(&self, place: &str) -> bool {
        self.differs.iter().any(|known| match known.strip_suffix('*') {
            Some(start) => place.starts_with(start),
            None => place == known,
        })
    }

    /// Checks what no type says.
    fn check(&self, compatibility: &str) -> anyhow::Result<()> {
        ensure!(self.known.is_some() != self.differs.is_empty(), "`known` and `differs` belong together");
        let is_told =
            |known: &String| known.starts_with(OLD) || compatibility.contains(&format!("| {known} |"));
        if let Some(known) = self.known.as_ref().filter(|known| !is_told(known)) {
            bail!("docs/compatibility.md has no row `{known}`");
        }
        Ok(())
    }
}

/// Loads all cases of a directory in the order of their names.
///
/// # Errors
/// A file is none, two cases have one name, or a known difference stands in no table.
pub(crate) fn load(dir: &Path, compatibility: &Path) -> anyhow::Result<Vec<Case>> {
    let compatibility = fs_err::read_to_string(compatibility)?;
    let mut files =
        fs_err::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut cases: Vec<Case> = Vec::new();
    for file in files {
        let text = fs_err::read_to_string(&file)?;
        let read: File =
            toml::from_str(&text).with_context(|| format!("could not read {}", file.display()))?;
        for case in read.case {
            let told = || format!("{}: case `{}`", file.display(), case.name);
            ensure!(
                cases.iter().all(|known| known.name != case.name),
                "{}: a second one of that name",
                told()
            );
            case.check(&compatibility).with_context(told)?;
            cases.push(case);
        }
    }
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cases_can_be_read_and_their_differences_are_told() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let cases = load(&root.join("differ"), &root.join("../docs/compatibility.md")).unwrap();
        assert!(cases.len() >= 100, "{}", cases.len());
    }

    #[test]
    fn a_star_explains_what_begins_so() {
        let text = "name = 'x'\ndockerfile = ''\nknown = 'old: x'\ndiffers = ['/a mode', '/b*']";
        let case: Case = toml::from_str(text).unwrap();
        assert!(case.explains("/a mode") && case.explains("/b/c owner") && !case.explains("/a"));
        case.check("").unwrap();
        let untold: Case = toml::from_str(&text.replace("old: x", "a row")).unwrap();
        assert!(untold.check("| another row |").is_err() && untold.check("| a row | x |").is_ok());
    }
}
