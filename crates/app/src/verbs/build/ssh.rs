//! `--ssh`. Compat: buildx, `ID[=SOCKET|KEY[,KEY]]`.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shipway_build::SshAgent;

use crate::failure::Failure;
use crate::ssh::{KeyAgent, SocketAgent};

const HINT: &str = "start an agent, give it the key, and name it: `eval $(ssh-agent); ssh-add KEY`, then --ssh default; or name \
                    the file of a key: --ssh default=KEY";

/// Reads one agent; without a socket or keys it is that of this shell.
pub(super) fn agent(text: &str) -> Result<(String, Arc<dyn SshAgent>), Failure> {
    let (id, places) = text.split_once('=').unwrap_or((text, ""));
    let id = if id.is_empty() { "default" } else { id };
    if places.is_empty() {
        let socket = std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from);
        let socket =
            socket.ok_or_else(|| Failure::new("there is no ssh agent: SSH_AUTH_SOCK is not set", HINT))?;
        if !is_socket(&socket, text)? {
            let message = format!("SSH_AUTH_SOCK: `{}` is no agent's socket", socket.display());
            return Err(Failure::new(message, HINT));
        }
        return Ok((id.to_owned(), Arc::new(SocketAgent(socket))));
    }
    let places: Vec<&Path> = places.split(',').map(Path::new).collect();
    let mut sockets = Vec::new();
    for place in &places {
        if is_socket(place, text)? {
            sockets.push(*place);
        }
    }
    match (sockets.as_slice(), places.as_slice()) {
        ([], keys) => Ok((id.to_owned(), Arc::new(KeyAgent::load(keys)?))),
        ([socket], [_]) => Ok((id.to_owned(), Arc::new(SocketAgent((*socket).to_owned())))),
        _ => Err(Failure::new(
            format!("--ssh `{text}`: an agent has one socket, and no keys beside it"),
            "give each an id of its own: --ssh one=SOCKET --ssh two=KEY",
        )),
    }
}

fn is_socket(path: &Path, text: &str) -> Result<bool, Failure> {
    let found =
        fs_err::metadata(path).map_err(|error| Failure::new(format!("--ssh `{text}`: {error}"), HINT))?;
    Ok(found.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn sockets_are_told_from_keys() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, key) = (dir.path().join("socket"), dir.path().join("key"));
        let _listener = UnixListener::bind(&socket).unwrap();
        fs_err::write(&key, "none").unwrap();
        let (socket, key) = (socket.display(), key.display());
        assert_eq!(agent(&format!("a={socket}")).unwrap().0, "a");
        assert_eq!(agent(&format!("={socket}")).unwrap().0, "default");
        for (text, want) in [
            (format!("a={key}"), "is no private ssh key: it does not begin as one"),
            (format!("a={socket},{key}"), "an agent has one socket"),
            (format!("a={socket},{socket}"), "an agent has one socket"),
            ("a=/nowhere".to_owned(), "--ssh `a=/nowhere`: "),
        ] {
            let failure = agent(&text).unwrap_err();
            assert!(failure.text().contains(want) && failure.text().contains("hint: "), "{}", failure.text());
        }
    }
}
