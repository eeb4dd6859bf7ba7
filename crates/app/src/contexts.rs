//! Where a build reads from: a directory, an archive or a Dockerfile on the standard input, an address.

use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use shipway_build::{MAX_DOCKERFILE, Material, Stop, is_tar_header};
use shipway_fetch::{Client, Request};
use shipway_layers::{Budget, LayerStore as _, Snapshot, decompress, unpack};
use shipway_linux::Root;
use shipway_oci::Hashing;

use crate::engine::Engine;
use crate::failure::Failure;
use crate::remotes::{Logins, git};
use crate::tasks;

/// Largest archive that is fetched.
const ARCHIVE: u64 = 64 << 30;
/// What a Dockerfile is called if nobody says.
const DOCKERFILE: &str = "Dockerfile";
/// The context of a Dockerfile of which something is asked, where there is no place for an empty one.
const NOTHING: &str = "/dev/null";
/// Bytes of a tar's first block.
const BLOCK: u64 = 512;

/// A context that is there. What was fetched for it goes with this value.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The directory.
    pub(crate) context: PathBuf,
    /// The Dockerfile, or only how messages call it.
    pub(crate) dockerfile: PathBuf,
    /// The Dockerfile's text, if it is in no file.
    pub(crate) text: Option<Vec<u8>>,
    /// Where it was fetched from.
    pub(crate) origin: Option<Material>,
    /// A Dockerfile that `--file` names for nothing: the context is one itself.
    pub(crate) unread: Option<PathBuf>,
    /// Keeps what was fetched.
    files: Option<Snapshot>,
}

/// How contexts are fetched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetching<'a> {
    /// A repository keeps its `.git`.
    pub(crate) keep_git_dir: bool,
    pub(crate) logins: &'a Logins,
    pub(crate) stop: &'a Stop,
}

/// Prepares what `PATH | URL | -` and `--file` name.
pub(crate) fn prepare(
    engine: Option<&Engine>,
    context: &str,
    file: Option<&Path>,
    how: Fetching<'_>,
) -> Result<Prepared, Failure> {
    let from_stdin = file == Some(Path::new("-"));
    if from_stdin && context == "-" {
        return Err(Failure::new(
            "the standard input cannot be both the Dockerfile and the context",
            "write one of them to a file",
        ));
    }
    // Compat: buildx, a Dockerfile may come from an address of its own.
    let address = file.and_then(Path::to_str).filter(|file| is_web_address(file));
    let (named, file) = (file, file.filter(|_| address.is_none()));
    let mut prepared =
        if context == "-" { of_stdin(engine, file)? } else { of_address(engine, context, file, how)? };
    if let Some(address) = address {
        if prepared.text.is_some() {
            prepared.unread = named.map(Path::to_owned);
        } else {
            prepared.text = Some(fetch_dockerfile(address)?);
            prepared.dockerfile = PathBuf::from(DOCKERFILE);
        }
    } else if from_stdin {
        prepared.text = Some(read_dockerfile(&mut std::io::stdin().lock())?);
        prepared.dockerfile = PathBuf::from(DOCKERFILE);
    } else if prepared.text.is_none() && prepared.files.is_some() {
        let missing = prepared.must_have_dockerfile(file);
        // Compat: buildx, that of an archive on the standard input is in the archive; one that is only on this machine is taken all the same.
        match file.filter(|file| is_local(file) && (context != "-" || missing.is_err())) {
            Some(local) => prepared.dockerfile = local.to_owned(),
            None => missing?,
        }
    }
    Ok(prepared)
}

/// Whether `--file` names a file of this machine, whatever the context is. Compat: buildx, another name is one of the context.
fn is_local(file: &Path) -> bool {
    file.is_absolute() && file.is_file()
}

/// Prepares what a named context's directory or address names; it needs no Dockerfile.
pub(crate) fn prepare_named(
    engine: Option<&Engine>,
    source: &str,
    how: Fetching<'_>,
) -> Result<Prepared, Failure> {
    let prepared = of_address(engine, source, None, Fetching { keep_git_dir: false, ..how })?;
    if prepared.text.is_some() {
        return Err(Failure::new(
            format!("the context `{source}` is no archive"),
            "name a tar, which may be compressed, a directory, or a git repository; a single file is what `ADD URL` is for",
        ));
    }
    Ok(prepared)
}

fn of_address(
    engine: Option<&Engine>,
    address: &str,
    file: Option<&Path>,
    how: Fetching<'_>,
) -> Result<Prepared, Failure> {
    match git::parse(address, git::Form::Context) {
        Some(parsed) => {
            let kept = |address: git::Address| git::Address {
                keep_git_dir: Some(address.keep_git_dir.unwrap_or(false) || how.keep_git_dir),
                ..address
            };
            let checked = parsed.and_then(|address| address.with_flags(None, None));
            of_repository(engine, checked.map(kept), file, how)
        }
        None if is_web_address(address) => of_archive(engine, address, file, how.logins),
        None if address.contains("://") => Err(Failure::new(
            format!("`{address}` is no address that a context is fetched from"),
            "name a directory, an `https://` archive, or a git repository",
        )),
        None => of_directory(Path::new(address), file),
    }
}

fn is_web_address(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

fn fetch_dockerfile(address: &str) -> Result<Vec<u8>, Failure> {
    let client = Client::new(tasks::fetching()?);
    let mut body = client.open(&Request::get(address, MAX_DOCKERFILE + 1))?.into_body();
    read_dockerfile(&mut body)
}

fn of_stdin(engine: Option<&Engine>, file: Option<&Path>) -> Result<Prepared, Failure> {
    let prepared = of_stream(engine, Box::new(std::io::stdin()), "the standard input", file)?;
    if prepared.unread.is_some() {
        return Err(Failure::new(
            "the standard input is a Dockerfile, and --file names another one",
            "leave --file out",
        ));
    }
    Ok(prepared)
}

fn of_archive(
    engine: Option<&Engine>,
    address: &str,
    file: Option<&Path>,
    logins: &Logins,
) -> Result<Prepared, Failure> {
    let client = Client::new(tasks::fetching()?);
    let mut request = Request::get(address, ARCHIVE);
    if let Some(authorization) = logins.of_file(address) {
        request = request.private_header("authorization", authorization);
    }
    let mut body = Hashing::new(client.open(&request)?.into_body());
    let mut prepared = of_stream(engine, Box::new(&mut body), address, file)?;
    // What is behind the end of an archive belongs to its digest.
    std::io::copy(&mut body, &mut std::io::sink()).map_err(|error| {
        Failure::new(format!("could not read {address} to its end: {error}"), "fetch it again")
    })?;
    prepared.origin = Some(Material::at(address, "sha256", body.digest().hex()));
    Ok(prepared)
}

fn of_directory(context: &Path, file: Option<&Path>) -> Result<Prepared, Failure> {
    if !context.is_dir() {
        return Err(Failure::new(
            format!("the build context `{}` is no directory", context.display()),
            "name a directory of this machine, often `.`",
        ));
    }
    let dockerfile = file.map_or_else(|| in_any_case(context.join(DOCKERFILE)), Path::to_owned);
    let context = context.to_owned();
    Ok(Prepared { context, dockerfile, text: None, origin: None, unread: None, files: None })
}

/// Returns a path, or that of `dockerfile` where there is only that. Compat: docker.
fn in_any_case(dockerfile: PathBuf) -> PathBuf {
    let lower = dockerfile.with_file_name("dockerfile");
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    if !is_there(&dockerfile) && is_there(&lower) { lower } else { dockerfile }
}

/// Reads an archive, or else a Dockerfile with nothing beside it.
fn of_stream(
    engine: Option<&Engine>,
    mut stream: Box<dyn Read + Send + '_>,
    what: &str,
    file: Option<&Path>,
) -> Result<Prepared, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::new(format!("could not read {what}: {error}"), "give it an archive (tar), or a Dockerfile")
    };
    let mut start = Vec::new();
    stream.by_ref().take(BLOCK).read_to_end(&mut start).map_err(unreadable)?;
    let is_archive = is_archive(&start);
    let whole = Cursor::new(start).chain(stream);
    if !is_archive {
        let text = read_dockerfile(&mut { whole })?;
        let files = engine.map(|engine| place(Some(engine))).transpose()?;
        return Ok(Prepared {
            context: files.as_ref().map_or_else(|| PathBuf::from(NOTHING), |files| files.upper.clone()),
            dockerfile: PathBuf::from(DOCKERFILE),
            text: Some(text),
            origin: None,
            unread: file.filter(|file| *file != Path::new("-")).map(Path::to_owned),
            files,
        });
    }
    let files = place(engine)?;
    let root = Root::open(&files.upper).map_err(unreadable)?;
    let mut archive = decompress(Box::new(whole))?;
    unpack(&root, &mut *archive, Budget::default())?;
    drop(archive);
    Ok(within(files.upper.clone(), file, files))
}

fn of_repository(
    engine: Option<&Engine>,
    parsed: Result<git::Address, String>,
    file: Option<&Path>,
    how: Fetching<'_>,
) -> Result<Prepared, Failure> {
    let address =
        parsed.map_err(|why| Failure::new(why, "write it as `https://HOST/PATH.git#REF:DIRECTORY`"))?;
    let files = place(engine)?;
    let (top, commit) = git::fetch(&address, &files.upper, how.logins, &|| how.stop.is_set())?;
    let mut prepared = within(top, file, files);
    prepared.origin = Some(Material::commit(&address.to_string(), &commit));
    Ok(prepared)
}

/// What was fetched, with the Dockerfile that may be in it.
fn within(context: PathBuf, file: Option<&Path>, files: Snapshot) -> Prepared {
    let named = file.filter(|file| *file != Path::new("-"));
    let file = named.unwrap_or(Path::new(DOCKERFILE));
    let dockerfile = context.join(file.strip_prefix("/").unwrap_or(file));
    let dockerfile = if named.is_none() { in_any_case(dockerfile) } else { dockerfile };
    Prepared { context, dockerfile, text: None, origin: None, unread: None, files: Some(files) }
}

impl Prepared {
    /// Refuses what was fetched without its Dockerfile, or with one that a link leads elsewhere.
    fn must_have_dockerfile(&self, file: Option<&Path>) -> Result<(), Failure> {
        let top = fs_err::canonicalize(&self.context);
        if let (Ok(found), Ok(top)) = (fs_err::canonicalize(&self.dockerfile), top)
            && found.starts_with(top)
        {
            return Ok(());
        }
        let file = file.unwrap_or(Path::new(DOCKERFILE));
        let place = if file.is_absolute() { "on this machine, nor " } else { "" };
        Err(Failure::new(
            format!("there is no `{}` {place}in the context that was fetched", file.display()),
            "name the Dockerfile in it: -f PATH; or one of this machine, by its whole path: -f /PATH",
        ))
    }
}

/// A question about a Dockerfile needs no store, but for what is fetched.
fn place(engine: Option<&Engine>) -> Result<Snapshot, Failure> {
    let no_store = || {
        Failure::new(
            "a context that is fetched needs a place below the data root, and that cannot be used",
            "run it as root (`sudo shipway …`), choose another place (--root DIR --state DIR), or name a directory",
        )
    };
    Ok(engine.ok_or_else(no_store)?.layers.prepare(&[])?)
}

fn read_dockerfile(stream: &mut dyn Read) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let read = stream.take(MAX_DOCKERFILE + 1).read_to_end(&mut text);
    read.map_err(|error| Failure::new(format!("could not read the Dockerfile: {error}"), "try again"))?;
    if text.len() as u64 > MAX_DOCKERFILE {
        return Err(Failure::new("the Dockerfile is larger than 16 MiB", "give it another Dockerfile"));
    }
    Ok(text)
}

/// Returns whether something begins as a tar archive does, or a compressed one.
fn is_archive(start: &[u8]) -> bool {
    let packed: [&[u8]; 4] =
        [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd], b"BZh", &[0xfd, b'7', b'z', b'X', b'Z', 0]];
    packed.iter().any(|magic| start.starts_with(magic)) || is_tar_header(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_told_from_dockerfiles() {
        // Of the oldest format: only the sum of its bytes tells it.
        let mut tar = vec![0; 512];
        tar[0] = b'a';
        tar[148..156].copy_from_slice(b"000541\0 ");
        assert!(is_archive(&tar) && is_archive(&[0x1f, 0x8b, 8]) && is_archive(b"BZh9"));
        assert!(!is_archive(b"FROM scratch\n") && !is_archive(b""));
    }
}
