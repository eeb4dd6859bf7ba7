//! What the commands work on: a scratch directory, an image of busybox, applications.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::program;

/// A directory that goes with the value, with everything that is mounted in it.
#[derive(Debug)]
pub(crate) struct Scratch(tempfile::TempDir);

impl Drop for Scratch {
    fn drop(&mut self) {
        let mounts = fs_err::read_to_string("/proc/self/mounts").unwrap_or_default();
        let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        // What is mounted last lies on top.
        for place in places.filter(|place| Path::new(place).starts_with(self.0.path())).rev() {
            drop(Command::new("umount").args(["--lazy", place]).status());
        }
    }
}

impl Scratch {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("swbench").tempdir();
        Ok(Self(dir.context("could not make a temporary directory")?))
    }

    /// Returns a path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Makes a root file system of a static busybox (`BUSYBOX`, or the one on `PATH`).
pub(crate) fn busybox_root(root: &Path) -> anyhow::Result<()> {
    let busybox = program::find("BUSYBOX", "busybox").context("no static `busybox`: set BUSYBOX to one")?;
    fs_err::create_dir_all(root.join("bin"))?;
    fs_err::copy(busybox, root.join("bin/busybox"))?;
    for name in ["sh", "true", "sleep", "httpd"] {
        fs_err::os::unix::fs::symlink("busybox", root.join("bin").join(name))?;
    }
    // Mount points, for runtimes that make none.
    ["proc", "sys", "dev", "tmp", "etc"]
        .iter()
        .try_for_each(|name| fs_err::create_dir_all(root.join(name)))?;
    Ok(())
}

/// Packs a directory.
pub(crate) fn pack(dir: &Path, archive: &Path) -> anyhow::Result<()> {
    program::output(Command::new("tar").arg("-C").arg(dir).arg("-cf").arg(archive).arg(".")).map(drop)
}

/// Makes an application of the image `box`: busybox's web server with one page.
pub(crate) fn web_app(dir: &Path) -> anyhow::Result<()> {
    fs_err::create_dir_all(dir)?;
    let dockerfile = "FROM box\nCOPY serve /bin/serve\nCOPY page /srv/index.html\nCMD [\"/bin/serve\"]\n";
    fs_err::write(dir.join("Dockerfile"), dockerfile)?;
    // As the first process it has no default for SIGTERM.
    fs_err::write(dir.join("serve"), "#!/bin/sh\ntrap 'exit 0' TERM\nhttpd -f -p 8080 -h /srv &\nwait\n")?;
    fs_err::set_permissions(dir.join("serve"), std::fs::Permissions::from_mode(0o755))?;
    fs_err::write(dir.join("page"), "first\n")?;
    fs_err::write(dir.join("shipway.toml"), "name = 'web'\nport = 8080\n[readiness]\npath = '/'\n")?;
    Ok(())
}

/// Copies an example twice: as it is, and for builders that do not know the host's certificate authorities by
/// themselves, whose Dockerfile gets them by COPY and ENV.
pub(crate) fn copy_example(name: &str, plain: &Path, with_authorities: &Path) -> anyhow::Result<()> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
    for dir in [plain, with_authorities] {
        fs_err::create_dir_all(dir)?;
        for file in fs_err::read_dir(&example)? {
            let file = file?;
            fs_err::copy(file.path(), dir.join(file.file_name()))?;
        }
    }
    let Some(bundle) = host_bundle() else { return Ok(()) };
    fs_err::copy(bundle, with_authorities.join("host-ca.crt"))?;
    let text = fs_err::read_to_string(with_authorities.join("Dockerfile"))?;
    fs_err::write(with_authorities.join("Dockerfile"), trusting(&text))?;
    Ok(())
}

/// Returns the host's bundle of certificates.
fn host_bundle() -> Option<PathBuf> {
    let known =
        ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];
    known.iter().map(PathBuf::from).find(|path| path.is_file())
}

/// Adds the host's authorities below the first FROM.
fn trusting(dockerfile: &str) -> String {
    let mut text = String::new();
    let mut added = false;
    for line in dockerfile.lines() {
        text.push_str(line);
        text.push('\n');
        if !added && line.starts_with("FROM ") {
            added = true;
            let path = "/run/host-ca.crt";
            let names = ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"];
            let settings: Vec<String> = names.iter().map(|name| format!("{name}={path}")).collect();
            text.push_str(&format!("COPY host-ca.crt {path}\nENV {}\n", settings.join(" ")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authorities_come_right_below_the_base() {
        let text = trusting("# x\nFROM debian\nRUN true\nFROM debian\n");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[2].starts_with("COPY host-ca.crt ") && lines[3].starts_with("ENV SSL_CERT_FILE="));
        assert_eq!((lines[4], lines.len()), ("RUN true", 6));
    }
}
