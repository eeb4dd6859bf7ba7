//! What a stage's image says after some of its instructions. Files are not here: they are the solver's.

use shipway_oci::{HistoryEntry, ImageConfig, Platform};

use crate::records::INLINE_CACHE;
use crate::variables::{Variables, set_env};

const HISTORY_COMMENT: &str = "buildkit.dockerfile.v0";
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The system whose images are unlike the others in some things.
pub(crate) const WINDOWS: &str = "windows";

/// A stage between two instructions.
#[derive(Clone, Debug)]
pub(crate) struct StageState {
    /// The image's document; diff IDs and times are filled in at the end.
    pub(crate) image: ImageConfig,
    /// What instructions see: ENV and ARG together, the last one wins.
    pub(crate) scope: Variables,
    /// ARGs in order, for the history of RUN.
    pub(crate) args: Vec<(String, Option<String>)>,
    /// CMD was given in this stage, so ENTRYPOINT leaves it.
    pub(crate) cmd_set: bool,
}

impl StageState {
    /// `FROM scratch`
    pub(crate) fn scratch(platform: &Platform) -> Self {
        let mut image = ImageConfig {
            architecture: platform.architecture.clone(),
            variant: platform.variant.clone(),
            os: platform.os.clone(),
            ..ImageConfig::default()
        };
        // Compat: BuildKit says so of scratch, and of no other image.
        "/".clone_into(&mut image.config.working_dir);
        Self::start(image)
    }

    /// `FROM image`
    pub(crate) fn of_image(base: &ImageConfig) -> Self {
        Self::start(ImageConfig { created: None, ..base.clone() })
    }

    fn start(mut image: ImageConfig) -> Self {
        image.config.on_build.clear();
        // Of a base image's steps, not of these.
        image.other.remove(INLINE_CACHE);
        if image.os != WINDOWS && !image.config.env.iter().any(|text| text.starts_with("PATH=")) {
            set_env(&mut image.config.env, "PATH", DEFAULT_PATH);
        }
        let scope = Variables::of_env(&image.config.env);
        Self { image, scope, args: Vec::new(), cmd_set: false }
    }

    /// `FROM stage`
    pub(crate) fn of_stage(stage: &Self) -> Self {
        let mut child = stage.clone();
        child.image.config.on_build.clear();
        child.cmd_set = false;
        // Compat: BuildKit, ENV wins over an ARG below it that the stage had for itself.
        for text in &child.image.config.env {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            child.scope.set(name, value);
        }
        child
    }

    /// Returns the working directory, absolute.
    pub(crate) fn cwd(&self) -> &str {
        match self.image.config.working_dir.as_str() {
            "" => "/",
            cwd => cwd,
        }
    }

    /// Returns a path in the image, absolute and without dots; a slash at the end stays.
    pub(crate) fn absolute(&self, path: &str) -> String {
        let slashes = (self.image.os == WINDOWS).then(|| without_drive(&path.replace('\\', "/")).to_owned());
        let path = slashes.as_deref().unwrap_or(path);
        let is_directory = path.is_empty() || path == "." || path.ends_with('/') || path.ends_with("/.");
        let joined = if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", self.cwd()) };
        let mut clean = clean_path(&joined);
        if is_directory && !clean.ends_with('/') {
            clean.push('/');
        }
        clean
    }

    /// Adds a history entry without a time and returns its place.
    pub(crate) fn remember(
        &mut self,
        created_by: String,
        created: Option<String>,
        with_layer: bool,
    ) -> usize {
        self.image.history.push(HistoryEntry {
            created,
            created_by: Some(created_by),
            author: None,
            comment: Some(HISTORY_COMMENT.to_owned()),
            empty_layer: !with_layer,
        });
        self.image.history.len() - 1
    }
}

/// Returns a path of Windows without `C:`.
fn without_drive(path: &str) -> &str {
    match path.split_once(':') {
        Some((drive, rest)) if drive.len() == 1 && drive.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            rest
        }
        _ => path,
    }
}

/// Resolves `.`, `..` and double slashes of an absolute path by its text alone, as Docker does with paths in images.
pub(crate) fn clean_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scratch_says_where_it_is() {
        assert_eq!(StageState::scratch(&Platform::linux("amd64")).image.config.working_dir, "/");
        assert_eq!(StageState::of_image(&ImageConfig::default()).image.config.working_dir, "");
    }

    #[test]
    fn a_stage_sees_the_variables_of_the_image_that_it_is_on() {
        let mut base = StageState::scratch(&Platform::linux("amd64"));
        set_env(&mut base.image.config.env, "X", "env");
        base.scope.set("X", "arg");
        base.scope.set("Y", "arg");
        let child = StageState::of_stage(&base);
        assert_eq!((child.scope.get("X"), child.scope.get("Y")), (Some("env"), Some("arg")));
    }

    #[test]
    fn paths_of_windows_have_drives_and_two_kinds_of_slashes() {
        let mut state = StageState::scratch(&"windows/amd64".parse().unwrap());
        state.image.config.working_dir = "/app".to_owned();
        for (path, want) in
            [(r"C:\a\b", "/a/b"), (r"c\d", "/app/c/d"), ("d:/e/", "/e/"), ("ab:c", "/app/ab:c")]
        {
            assert_eq!(state.absolute(path), want, "case {path}");
        }
    }

    #[test]
    fn paths_are_relative_to_the_working_directory() {
        let mut state = StageState::scratch(&Platform::linux("amd64"));
        state.image.config.working_dir = "/app".to_owned();
        for (name, path, want) in [
            ("dot", ".", "/app/"),
            ("dot slash", "./", "/app/"),
            ("name", "x", "/app/x"),
            ("directory", "x/", "/app/x/"),
            ("up", "../x", "/x"),
            ("absolute", "/y//z/../w", "/y/w"),
            ("root", "/", "/"),
            ("too far up", "../../..", "/"),
        ] {
            assert_eq!(state.absolute(path), want, "case {name}");
        }
    }
}
