//! What of the context a build would send to a builder elsewhere.

use shipway_dockerfile::MountKind;

use super::Solver;
use crate::context::Glob;
use crate::plan::{Action, SourceWord};
use crate::state::clean_path;

impl Solver<'_> {
    /// Returns whether a source of the context other than `but` names a directory, something below it, or one that it is in.
    ///
    /// Nothing is sent here: this is for what BuildKit does where nothing is there.
    pub(super) fn is_sent(&self, directory: &str, but: &str) -> bool {
        let mut actions = self.plan.stages.iter().flat_map(|stage| &stage.steps).map(|step| &step.action);
        actions.any(|action| match action {
            Action::Copy(copy, _) if copy.from.is_none() => copy.sources.iter().any(|source| match source {
                SourceWord::Path { path, .. } => path != but && meets(&clean_path(path), directory),
                SourceWord::Inline { .. } | SourceWord::Remote { .. } => false,
            }),
            Action::Run(run, _) => {
                run.mounts.iter().any(|(mount, origin)| mount.kind == MountKind::Bind && origin.is_none())
            }
            _ => false,
        })
    }
}

/// Returns whether a pattern may stand for a path, something below it, or one that it is in.
fn meets(pattern: &str, path: &str) -> bool {
    let pattern = pattern.trim_matches('/').split('/').filter(|part| !matches!(*part, "" | "."));
    pattern.zip(path.split('/')).all(|(pattern, name)| match Glob::new(pattern) {
        Ok(glob) => glob.matches(name),
        Err(_malformed) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_meet_what_they_name_and_what_is_around_it() {
        for (pattern, path, want) in [
            ("/", "a", true),
            ("a", "a", true),
            ("/a/b", "a", true),
            ("a", "a/b", true),
            ("a/*.md", "a", true),
            ("?", "a", true),
            ("*.json", "a", false),
            ("b", "a", false),
            ("a/c", "a/b", false),
        ] {
            assert_eq!(meets(pattern, path), want, "{pattern} {path}");
        }
    }
}
