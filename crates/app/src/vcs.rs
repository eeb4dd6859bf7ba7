//! Which commit of which repository a directory is, by the program `git`. Compat: buildx, what provenance tells of it.

use std::path::Path;
use std::process::Stdio;

use crate::remotes::git;
use crate::units;

/// Whether it is told; it is if this does not say no.
const TOLD: &str = "BUILDX_GIT_INFO";

/// Returns what is told of a context and of the directory of its Dockerfile: nothing if they are in no repository, or if that is another
/// user's.
pub(crate) fn of(context: &Path, dockerfile: &Path) -> Vec<(String, String)> {
    if std::env::var(TOLD).is_ok_and(|told| units::truth(&told) == Some(false)) {
        return Vec::new();
    }
    let git = |args: &[&str]| said(context, args);
    let Some(top) = git(&["rev-parse", "--show-toplevel"]) else { return Vec::new() };
    let mut told = Vec::new();
    let of_dockerfile = dockerfile.parent().filter(|parent| !parent.as_os_str().is_empty());
    for (name, directory) in [("context", Some(context)), ("dockerfile", of_dockerfile)] {
        let within = fs_err::canonicalize(directory.unwrap_or(Path::new("."))).ok();
        let within = within.as_ref().and_then(|directory| directory.strip_prefix(&top).ok());
        told.extend(within.map(|within| {
            let within = if within.as_os_str().is_empty() { Path::new(".") } else { within };
            (format!("localdir:{name}"), within.display().to_string())
        }));
    }
    told.extend(git(&["rev-parse", "-q", "--verify", "HEAD"]).map(|commit| ("revision".to_owned(), commit)));
    let of_branch = git(&["symbolic-ref", "-q", "--short", "HEAD"])
        .and_then(|branch| git(&["config", "--get", &format!("branch.{branch}.remote")]));
    let names = of_branch.as_deref().into_iter().chain(["origin", "upstream"]);
    let source =
        names.filter(|name| !name.starts_with('-')).find_map(|name| git(&["remote", "get-url", name]));
    told.extend(source.map(|source| ("source".to_owned(), shipway_oci::without_credentials(&source))));
    told
}

/// Returns what git says, if that is something.
fn said(directory: &Path, args: &[&str]) -> Option<String> {
    let said = git::command(directory).args(args).stderr(Stdio::null()).output().ok()?;
    let said = String::from_utf8(said.stdout).ok().filter(|_| said.status.success())?;
    Some(said.trim().to_owned()).filter(|said| !said.is_empty())
}
