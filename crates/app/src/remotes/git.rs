//! Git repositories, by the program `git`: contexts of builds, and what ADD names.
//!
//! Compat: BuildKit, `URL#REF:SUBDIR` and `URL?ref=…&subdir=…`. Nothing of what a repository says is run: no hooks, no filters that it
//! brings; its addresses and names never look like options (SECURITY.md, row 19).

use std::fmt;
use std::fs::FileTimes;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use shipway_linux::Root;

use super::{Logins, RemoteError};
use crate::units;

/// Longest part of what git says that is told.
const SAID: usize = 2000;
/// What git says where a repository names its commits by another digest; the second one where plain files of a web server are one.
const OTHER_NAMES: [&str; 2] = ["mismatched algorithms", "did not send all necessary objects"];
/// Digits of a commit that is named whole: SHA-1, SHA-256.
const COMMITS: [usize; 2] = [40, 64];
/// So often it is looked whether git should stop.
const INTERVAL: Duration = Duration::from_millis(100);
/// What an address says without a value.
const FLAGS: [&str; 3] = ["keep-git-dir", "submodules", "fetch-by-commit"];

/// A place in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// What git is given.
    pub(crate) remote: String,
    /// Branch, tag or commit; what the repository shows by itself if empty.
    pub(crate) reference: String,
    /// The directory that is wanted; all of it if empty.
    pub(crate) subdir: String,
    /// The commit must be this one, or begin so.
    pub(crate) checksum: Option<String>,
    /// `.git` stays, or does not; nothing is said of it if `None`.
    pub(crate) keep_git_dir: Option<bool>,
    /// Repositories within it come too.
    pub(crate) submodules: bool,
    /// The commit is asked for by its name alone, whatever branch or tag is named beside it.
    pub(crate) by_commit: bool,
    /// Files are as old as the commit.
    pub(crate) commit_times: bool,
}

impl Address {
    /// Adds what flags say beside the address. Compat: BuildKit, both must say the same.
    pub(crate) fn with_flags(
        mut self,
        keep_git_dir: Option<bool>,
        checksum: Option<&str>,
    ) -> Result<Self, String> {
        if keep_git_dir.is_some_and(|keep| self.keep_git_dir.is_some_and(|known| known != keep)) {
            return Err("the address and --keep-git-dir say different things of `.git`".to_owned());
        }
        if let (Some(known), Some(given)) = (&self.checksum, checksum)
            && known != given
        {
            return Err(format!("the address says that the commit is `{known}`, and --checksum `{given}`"));
        }
        if let Some(given) = checksum.filter(|given| !is_of_a_commit(given)) {
            return Err(not_of_a_commit(given));
        }
        self.keep_git_dir = keep_git_dir.or(self.keep_git_dir);
        self.checksum = checksum.map(str::to_owned).or(self.checksum);
        if self.by_commit && !is_commit(&self.reference) && !self.checksum.as_deref().is_some_and(is_commit) {
            return Err("`fetch-by-commit` needs the commit by its whole name: `checksum=COMMIT`".to_owned());
        }
        Ok(self)
    }
}

/// As it is written. Compat: BuildKit, `URL#REF:SUBDIR`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.remote)?;
        match (self.reference.as_str(), self.subdir.trim_start_matches('/')) {
            ("", "") => Ok(()),
            (reference, "") => write!(f, "#{reference}"),
            (reference, subdir) => write!(f, "#{reference}:{subdir}"),
        }
    }
}

/// Whether a text is read as ADD reads its sources, or as a context, where more is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Source,
    Context,
}

/// Reads an address of a repository; `None` if the text is none.
pub(crate) fn parse(text: &str, form: Form) -> Option<Result<Address, String>> {
    let (before, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (remote, query) = before.split_once('?').unwrap_or((before, ""));
    let is_git = match remote.split_once("://") {
        Some(("git" | "ssh" | "git+ssh", _)) => true,
        Some(("http" | "https", path)) => path.ends_with(".git"),
        Some(_) => false,
        // Spec: git-fetch(1), the short form of ssh.
        None => {
            let at = remote.split_once('@').and_then(|(user, rest)| Some((user, rest.split_once(':')?)));
            at.is_some_and(|(user, (host, _))| !user.contains('/') && !host.contains('/'))
                || form == Form::Context && remote.starts_with("github.com/")
        }
    };
    // Spec: RFC 3986, section 3.5; the short form of ssh is no URL.
    let fragment =
        if remote.contains("://") { shipway_fetch::decode_percent(fragment) } else { fragment.to_owned() };
    is_git.then(|| address(remote, query, &fragment))
}

fn address(remote: &str, query: &str, fragment: &str) -> Result<Address, String> {
    let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
    let remote =
        if remote.starts_with("github.com/") { format!("https://{remote}") } else { remote.to_owned() };
    let mut address = Address {
        remote,
        reference: reference.to_owned(),
        subdir: subdir.to_owned(),
        checksum: None,
        keep_git_dir: None,
        submodules: true,
        by_commit: false,
        commit_times: false,
    };
    let mut seen = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = shipway_fetch::decode_percent(value);
        if seen.contains(&key) {
            return Err(format!("the address says `{key}` twice"));
        }
        seen.push(key);
        if value.is_empty() && !FLAGS.contains(&key) {
            return Err(format!("`{key}` needs a value in an address of a repository"));
        }
        let flag = || match value.as_str() {
            "" => Ok(true),
            _ => units::truth(&value).ok_or_else(|| format!("`{key}` is true or false, not `{value}`")),
        };
        match key {
            "ref" => once(&mut address.reference, value)?,
            "branch" => once(&mut address.reference, below("refs/heads/", &value))?,
            "tag" => once(&mut address.reference, below("refs/tags/", &value))?,
            "subdir" => once(&mut address.subdir, value)?,
            "checksum" | "commit" if !is_of_a_commit(&value) => return Err(not_of_a_commit(&value)),
            "checksum" | "commit" => address.checksum = Some(value),
            "keep-git-dir" => address.keep_git_dir = Some(flag()?),
            "submodules" => address.submodules = flag()?,
            "fetch-by-commit" => address.by_commit = flag()?,
            "mtime" => {
                address.commit_times = match value.as_str() {
                    "checkout" => false,
                    "commit" => true,
                    _ => return Err(format!("`mtime` is checkout or commit, not `{value}`")),
                }
            }
            _ => return Err(format!("`{key}` means nothing in an address of a repository")),
        }
    }
    for (what, text) in [("an address", &address.remote), ("a branch, tag or commit", &address.reference)] {
        if text.starts_with('-') || text.contains(|c: char| c.is_control() || c == ' ') {
            return Err(format!("`{text}` is not {what}"));
        }
    }
    Ok(address)
}

/// Returns whether a text is the whole name of a commit.
fn is_commit(text: &str) -> bool {
    COMMITS.contains(&text.len()) && is_of_a_commit(text)
}

/// Returns whether the name of a commit can begin so.
fn is_of_a_commit(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn not_of_a_commit(text: &str) -> String {
    format!("`{text}` is no commit: that is called by hexadecimal digits")
}

/// Compat: BuildKit, an address that names two different things is refused.
fn once(known: &mut String, value: String) -> Result<(), String> {
    if !known.is_empty() && *known != value {
        return Err(format!("the address names both `{known}` and `{value}`"));
    }
    *known = value;
    Ok(())
}

/// Returns the whole name of a branch or tag.
fn below(place: &str, name: &str) -> String {
    if name.starts_with(place) { name.to_owned() } else { format!("{place}{name}") }
}

/// Fetches the files of a repository into `into`, an empty directory, and returns where the wanted ones are, and the commit.
pub(crate) fn fetch(
    address: &Address,
    into: &Path,
    logins: &Logins,
    is_stopped: &dyn Fn() -> bool,
) -> Result<(PathBuf, String), RemoteError> {
    let calls = Calls { dir: into, login: Login::of(&address.remote, logins), is_stopped };
    let failed = match fetch_by(&[], address, &calls) {
        Err(failed) if !is_stopped() => failed,
        done => return done,
    };
    let is_of_names = |failed: &RemoteError| {
        let said = failed.to_string();
        OTHER_NAMES.iter().any(|words| said.contains(words))
    };
    if !is_of_names(&failed) {
        return Err(failed);
    }
    fs_err::remove_dir_all(into.join(".git"))
        .map_err(|error| RemoteError::io("remove `.git` of", into, &error))?;
    fetch_by(&["--object-format=sha256"], address, &calls)
        .map_err(|again| if is_of_names(&again) { failed } else { again })
}

/// Fetches into a repository that is made with these options.
fn fetch_by(
    options: &[&str],
    address: &Address,
    calls: &Calls<'_>,
) -> Result<(PathBuf, String), RemoteError> {
    let (into, is_stopped) = (calls.dir, calls.is_stopped);
    let git = |args: &[&str]| calls.run(args);
    let (remote, keeps_git_dir) = (address.remote.as_str(), address.keep_git_dir.unwrap_or(false));
    let wanted = match (address.reference.as_str(), &address.checksum) {
        (reference, Some(checksum)) if address.by_commit && !is_commit(reference) => checksum.as_str(),
        ("", Some(checksum)) if COMMITS.contains(&checksum.len()) => checksum.as_str(),
        ("", _) => "HEAD",
        (reference, _) => reference,
    };
    git(&[&["init", "-q"], options].concat())?;
    // Addresses of repositories within it may be relative to its own, which stays in `.git`, but without a password.
    let origin = if keeps_git_dir { shipway_oci::without_credentials(remote) } else { remote.to_owned() };
    git(&["remote", "add", "--", "origin", &origin])?;
    // Not every server gives a part of its history, and not every one a commit by its name; all branches and tags come then.
    let shallow = git(&["fetch", "-q", "--no-tags", "--depth", "1", "--", remote, wanted]);
    let named = shallow.or_else(|_| git(&["fetch", "-q", "--no-tags", "--", remote, wanted]));
    let found = match named {
        Ok(_) => "FETCH_HEAD".to_owned(),
        Err(stopped) if is_stopped() => return Err(stopped),
        Err(_) => {
            let all = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
            git(&[&["fetch", "-q", "--", remote][..], &all].concat())?;
            let names =
                [wanted.to_owned(), format!("refs/remotes/origin/{wanted}"), format!("refs/tags/{wanted}")];
            let commit = |name: &String| {
                git(&["rev-parse", "-q", "--verify", "--end-of-options", &format!("{name}^{{commit}}")]).ok()
            };
            let found = names.iter().find_map(commit).map(|said| said.trim().to_owned());
            found.ok_or_else(|| {
                RemoteError::new(
                    format!("`{wanted}` is no branch, tag or commit of {remote}"),
                    format!("list them: `git ls-remote {remote}`"),
                )
            })?
        }
    };
    git(&["checkout", "-q", "--detach", &found, "--"])?;
    let commit = git(&["rev-parse", "HEAD"])?.trim().to_owned();
    check(address, &commit, git(&["rev-parse", "--verify", "--end-of-options", &found])?.trim())?;
    if address.submodules && into.join(".gitmodules").is_file() {
        let update = ["submodule", "-q", "update", "--init", "--recursive"];
        // As above, not every server gives a part of its history.
        match git(&[&update[..], &["--depth", "1"]].concat()) {
            Err(stopped) if is_stopped() => return Err(stopped),
            Err(_) => drop(git(&update)?),
            Ok(_) => {}
        }
    }
    let made = if address.commit_times { Some(git(&["log", "-1", "--format=%ct", &commit])?) } else { None };
    if keeps_git_dir {
        git(&["reflog", "expire", "--all", "--expire=now"])?;
        match fs_err::remove_file(into.join(".git/FETCH_HEAD")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(RemoteError::io("tidy `.git` of", into, &error));
            }
            _ => {}
        }
    } else {
        fs_err::remove_dir_all(into.join(".git"))
            .map_err(|error| RemoteError::io("remove `.git` of", into, &error))?;
    }
    if let Some(seconds) = made.and_then(|said| said.trim().parse().ok()) {
        set_times(into, seconds).map_err(|error| RemoteError::io("set the times of", into, &error))?;
    }
    let top = inside(into, &address.subdir).ok_or_else(|| {
        RemoteError::new(
            format!("`{}` is no directory of {remote} at {commit}", address.subdir),
            "name a directory below the repository's root: `#REF:DIRECTORY`",
        )
    })?;
    Ok((top, commit))
}

/// Refuses another commit than the one that is wanted; `named` is that or, of a tag with a message, the tag itself.
fn check(address: &Address, commit: &str, named: &str) -> Result<(), RemoteError> {
    match &address.checksum {
        Some(wanted) if !commit.starts_with(wanted.as_str()) && !named.starts_with(wanted.as_str()) => {
            Err(RemoteError::new(
                format!("{} is at commit {commit}, not {wanted}", address.remote),
                "see which commit is wanted, and change the checksum if it is another one now",
            ))
        }
        _ => Ok(()),
    }
}

/// Makes a directory and everything below it as old as `seconds` since 1970 say.
fn set_times(directory: &Path, seconds: u32) -> std::io::Result<()> {
    let root = Root::open(directory)?;
    let mut directories = vec![PathBuf::from("/")];
    let mut at = 0;
    while let Some(directory) = directories.get(at).cloned() {
        at += 1;
        for name in root.names(&directory)? {
            let path = directory.join(name);
            if root.metadata(&path)?.is_some_and(|metadata| metadata.is_directory()) {
                directories.push(path.clone());
            }
            root.set_mtime(&path, (seconds.into(), 0))?;
        }
    }
    let time = UNIX_EPOCH + Duration::from_secs(seconds.into());
    std::fs::File::open(directory)?.set_times(FileTimes::new().set_modified(time))
}

/// Returns a directory that is really below another one.
fn inside(root: &Path, below: &str) -> Option<PathBuf> {
    let root = fs_err::canonicalize(root).ok()?;
    let found = fs_err::canonicalize(root.join(below.trim_start_matches('/'))).ok()?;
    (found.starts_with(&root) && found.is_dir()).then_some(found)
}

/// What a server is told of who asks. It is in the environment of git alone, where other users do not see it.
struct Login {
    /// The addresses that it is for.
    scope: String,
    authorization: String,
}

impl Login {
    fn of(remote: &str, logins: &Logins) -> Option<Self> {
        let authorization = logins.of_repository(remote)?;
        // Compat: BuildKit, repositories within one of github's are often github's as well.
        let all = ["https://github.com/", "https://www.github.com/"].into_iter();
        let scope = all.into_iter().find(|all| remote.starts_with(all)).unwrap_or(remote).to_owned();
        Some(Self { scope, authorization })
    }

    /// Spec: git-config(1), settings by the environment.
    fn give(&self, command: &mut Command) {
        let count =
            std::env::var("GIT_CONFIG_COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(0_u32);
        // Git would send it along to wherever the server points.
        command.args(["-c", "http.followRedirects=false"]);
        command
            .env("GIT_CONFIG_COUNT", count.saturating_add(1).to_string())
            .env(format!("GIT_CONFIG_KEY_{count}"), format!("http.{}.extraheader", self.scope))
            .env(format!("GIT_CONFIG_VALUE_{count}"), format!("Authorization: {}", self.authorization));
    }
}

/// Returns git as it is called in a directory: it looks at the repository there, runs nothing of it, reads nothing and speaks English.
pub(crate) fn command(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.args(["-c", "core.fsmonitor=false"]).current_dir(directory);
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"] {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// How git is called to fetch.
struct Calls<'a> {
    dir: &'a Path,
    login: Option<Login>,
    is_stopped: &'a dyn Fn() -> bool,
}

impl Calls<'_> {
    fn run(&self, args: &[&str]) -> Result<String, RemoteError> {
        let Self { dir, login, is_stopped } = self;
        let mut command = command(dir);
        // What comes from outside may be fetched in these ways only, and nothing of it is run.
        for setting in [
            "protocol.allow=never",
            "protocol.http.allow=always",
            "protocol.https.allow=always",
            "protocol.git.allow=always",
            "protocol.ssh.allow=always",
            "core.hooksPath=/dev/null",
            "advice.detachedHead=false",
            "init.defaultBranch=main",
            "submodule.recurse=false",
        ] {
            command.args(["-c", setting]);
        }
        if let Some(login) = login {
            login.give(&mut command);
        }
        command.args(args).env("GIT_TERMINAL_PROMPT", "0");
        let (mut reader, writer) =
            std::io::pipe().map_err(|error| RemoteError::io("talk to git in", dir, &error))?;
        let spawned = command.stdout(Stdio::piped()).stderr(writer).spawn();
        drop(command);
        let mut child = spawned.map_err(|error| {
            let hint = if error.kind() == std::io::ErrorKind::NotFound {
                "install git"
            } else {
                "see that `git` runs"
            };
            RemoteError::new(format!("`git` could not be started: {error}"), hint)
        })?;
        let mut said = Vec::new();
        let mut printed = Vec::new();
        let failed = |error: std::io::Error| RemoteError::io("wait for git in", dir, &error);
        loop {
            if !shipway_linux::wait_pidfd(&reader, INTERVAL).map_err(failed)? {
                if is_stopped() {
                    drop(child.kill());
                }
                continue;
            }
            let mut piece = [0; 4096];
            let read = std::io::Read::read(&mut reader, &mut piece).map_err(failed)?;
            if read == 0 {
                break;
            }
            said.extend_from_slice(&piece[..read]);
        }
        if let Some(mut stdout) = child.stdout.take() {
            std::io::Read::read_to_end(&mut stdout, &mut printed).map_err(failed)?;
        }
        let status = child.wait().map_err(failed)?;
        if status.success() {
            return Ok(String::from_utf8_lossy(&printed).into_owned());
        }
        let said = String::from_utf8_lossy(&said);
        let said: String = said.trim().chars().take(SAID).collect();
        let verb = args.first().copied().unwrap_or_default();
        Err(RemoteError::new(
            format!("`git {verb}` failed: {said}"),
            "see that this address can be reached, and that git has the credentials for it, or give them: --secret id=GIT_AUTH_TOKEN,src=FILE",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Address, String> {
        parse(text, Form::Source).unwrap()
    }

    #[test]
    fn an_address_names_one_thing() {
        for (text, reference, subdir) in [
            ("https://h/x.git?tag=v1#refs/tags/v1", "refs/tags/v1", ""),
            ("https://h/x.git?tag=refs/tags/v1", "refs/tags/v1", ""),
            ("https://h/x.git?branch=a%2Fb&subdir=c%20d", "refs/heads/a/b", "c d"),
            ("https://h/x.git?ref=v1&subdir=s#v1:s", "v1", "s"),
            ("https://h/x.git#a%2Fb:my%20directory", "a/b", "my directory"),
            ("me@h:x.git#a%20:b", "a%20", "b"),
        ] {
            let found = read(text).unwrap();
            assert_eq!((found.reference.as_str(), found.subdir.as_str()), (reference, subdir), "{text}");
        }
        for text in [
            "https://h/x.git?tag=v1&branch=main",
            "https://h/x.git?tag=v1#v2",
            "https://h/x.git?ref=a#b",
            "https://h/x.git?subdir=a#main:b",
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains("names both"), "{text}: {refused}");
        }
    }

    #[test]
    fn an_address_says_how_it_is_fetched() {
        let commit = "0123456789012345678901234567890123456789";
        let found =
            read(&format!("https://h/x.git?mtime=commit&fetch-by-commit&checksum={commit}#v1")).unwrap();
        assert!(found.commit_times && found.by_commit);
        assert!(found.with_flags(None, None).is_ok());
        let found = read(&format!("https://h/x.git?mtime=checkout&fetch-by-commit=0#{commit}")).unwrap();
        assert!(!found.commit_times && !found.by_commit);
        let found = read("https://h/x.git?fetch-by-commit#main").unwrap();
        assert!(found.clone().with_flags(None, Some("0123")).is_err());
        assert!(found.with_flags(None, Some(commit)).is_ok());
        for query in [
            "mtime=yesterday",
            "mtime=",
            "fetch-by-commit=maybe",
            "checksum=main",
            "ref=",
            "ref=a&ref=a",
            "nosuch=1",
        ] {
            assert!(read(&format!("https://h/x.git?{query}")).is_err(), "{query}");
        }
    }

    #[test]
    fn flags_and_address_say_the_same() {
        let address = read("https://h/x.git?keep-git-dir=false&checksum=01").unwrap();
        assert!(address.clone().with_flags(Some(true), None).is_err());
        assert!(address.clone().with_flags(None, Some("0123")).is_err());
        assert!(read("https://h/x.git").unwrap().with_flags(None, Some("main")).is_err());
        let both = address.with_flags(Some(false), Some("01")).unwrap();
        assert_eq!((both.keep_git_dir, both.checksum.as_deref()), (Some(false), Some("01")));
        let given = read("https://h/x.git").unwrap().with_flags(Some(true), Some("01")).unwrap();
        assert_eq!((given.keep_git_dir, given.checksum.as_deref()), (Some(true), Some("01")));
    }
}
