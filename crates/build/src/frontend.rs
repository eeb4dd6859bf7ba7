//! Which frontend a Dockerfile or whoever builds it asks for.
//!
//! Nothing of a frontend is fetched or run: the language of `docker/dockerfile`, from wherever that comes, is built in, and no other.

use shipway_dockerfile::Dockerfile;

use crate::{BuildError, BuildRequest};

/// Names a frontend in place of the Dockerfile. Compat: BuildKit.
const ARGUMENT: &str = "BUILDKIT_SYNTAX";

/// Refuses a frontend that is another than that of Dockerfiles.
pub(crate) fn check(request: &BuildRequest, file: &Dockerfile) -> Result<(), BuildError> {
    let (name, place, remedy) = match (request.build_arg(ARGUMENT), &file.directives.syntax) {
        (Some(given), _) => (given, "--build-arg BUILDKIT_SYNTAX", "leave the build argument out"),
        (None, Some(named)) => (named.as_str(), "`# syntax=`", "delete its line `# syntax=`"),
        (None, None) => return Ok(()),
    };
    // What follows are arguments of the frontend.
    let name = name.split_whitespace().next().unwrap_or_default();
    if is_of_dockerfiles(name) {
        return Ok(());
    }
    let span = file.directives.syntax_span.filter(|_| request.build_arg(ARGUMENT).is_none());
    let text = span.map(|_| file.source.clone());
    Err(BuildError::Frontend { name: name.to_owned(), place, remedy, text, span })
}

/// Returns whether an image is called as that of Dockerfiles is, whoever keeps it: `docker/dockerfile:1`,
/// `docker/dockerfile-upstream:master`, `mirror.example.com/hub/docker/dockerfile@sha256:…`.
fn is_of_dockerfiles(image: &str) -> bool {
    let path = image.split_once('@').map_or(image, |(path, _digest)| path);
    let name = path.rsplit('/').next().unwrap_or(path);
    let name = name.split(':').next().unwrap_or(name);
    name.split(['-', '_', '.']).any(|part| part == "dockerfile")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frontends_of_dockerfiles_are_known_by_their_names() {
        for (image, want) in [
            ("docker/dockerfile", true),
            ("docker/dockerfile:1.7-labs", true),
            ("docker/dockerfile-upstream:master", true),
            ("docker.io/docker/dockerfile:1@sha256:00", true),
            ("localhost:5000/hub/docker/dockerfile:1", true),
            ("localhost:5000/hub/docker-dockerfile", true),
            ("tonistiigi/buildpacks:1", false),
            ("dockerfile/other:1", false),
            ("example.com/other:dockerfile", false),
            ("ghcr.io/r2d4/mockerfile", false),
            ("", false),
        ] {
            assert_eq!(is_of_dockerfiles(image), want, "{image}");
        }
    }
}
