//! Reading the host's configuration.

use std::path::{Path, PathBuf};

use super::conf::AptConf;
use super::sources::{Source, parse_deb822, parse_one_line};

/// What the host's apt would use.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostApt {
    pub(crate) sources: Vec<Source>,
    pub(crate) conf: AptConf,
    /// `ID` of os-release, such as `debian`.
    pub(crate) distribution: Option<String>,
    /// `VERSION_CODENAME` of os-release.
    pub(crate) codename: Option<String>,
    /// Keyrings that sign sources without `Signed-By`.
    pub(crate) default_keyrings: Vec<PathBuf>,
    /// Every place that was looked at, for messages.
    pub(crate) looked_at: Vec<PathBuf>,
}

impl HostApt {
    /// Reads the configuration below `root`, which is `/` but for tests. Files that cannot be read count as empty.
    pub(crate) fn load(root: &Path, architecture: &str) -> Self {
        let mut host = Self::default();
        let path = |name: &str| root.join(name.trim_start_matches('/'));
        let read = |path: &Path| fs_err::read_to_string(path).unwrap_or_default();
        let list = path("/etc/apt/sources.list");
        host.sources.extend(parse_one_line(&read(&list), &list, architecture));
        let parts = path("/etc/apt/sources.list.d");
        for file in files_in(&parts) {
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("list") => host.sources.extend(parse_one_line(&read(&file), &file, architecture)),
                Some("sources") => host.sources.extend(parse_deb822(&read(&file), &file, architecture)),
                _ => {}
            }
        }
        host.looked_at = vec![list, parts];
        let is_conf = |file: &PathBuf| {
            let extension = file.extension().and_then(|extension| extension.to_str());
            matches!(extension, None | Some("conf"))
        };
        for file in files_in(&path("/etc/apt/apt.conf.d")).into_iter().filter(is_conf) {
            host.conf.add(&read(&file));
        }
        host.conf.add(&read(&path("/etc/apt/apt.conf")));
        host.read_release(&[path("/etc/os-release"), path("/usr/lib/os-release")]);
        host.default_keyrings = default_keyrings(root, host.distribution.as_deref());
        host
    }

    fn read_release(&mut self, files: &[PathBuf]) {
        let Some(text) = files.iter().find_map(|file| fs_err::read_to_string(file).ok()) else { return };
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.map(|value| value.trim().trim_matches(['"', '\'']).to_owned())
                .filter(|value| !value.is_empty())
        };
        self.distribution = value("ID");
        self.codename = value("VERSION_CODENAME");
    }
}

/// Compat: apt reads `trusted.gpg` and what lies in `trusted.gpg.d`; a host without apt may have the keyring package.
fn default_keyrings(root: &Path, distribution: Option<&str>) -> Vec<PathBuf> {
    let is_keyring = |file: &PathBuf| {
        matches!(file.extension().and_then(|extension| extension.to_str()), Some("gpg" | "asc"))
    };
    let mut found: Vec<PathBuf> = vec![root.join("etc/apt/trusted.gpg")];
    found.extend(files_in(&root.join("etc/apt/trusted.gpg.d")).into_iter().filter(is_keyring));
    let distribution = distribution.unwrap_or("debian");
    found.push(root.join(format!("usr/share/keyrings/{distribution}-archive-keyring.gpg")));
    found.retain(|file| file.is_file());
    found
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.is_file());
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_of_a_host_are_read_in_order() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        };
        write("etc/apt/sources.list", "deb http://a.test/debian bookworm main\n");
        write(
            "etc/apt/sources.list.d/b.sources",
            "Types: deb\nURIs: http://b.test/debian\nSuites: bookworm-security\nComponents: main\n",
        );
        write("etc/apt/sources.list.d/c.list.disabled", "deb http://c.test x main\n");
        write("etc/apt/apt.conf.d/10a", "Acquire::Check-Valid-Until \"false\";\n");
        write("etc/apt/apt.conf.d/99b.dpkg-old", "Acquire::Check-Valid-Until \"true\";\n");
        write("etc/apt/trusted.gpg.d/k.asc", "");
        write("etc/os-release", "ID=debian\nVERSION_CODENAME=\"bookworm\"\n");
        let host = HostApt::load(root.path(), "amd64");
        let uris: Vec<&str> = host.sources.iter().map(|source| source.uri.as_str()).collect();
        assert_eq!(uris, ["http://a.test/debian", "http://b.test/debian"]);
        assert!(!host.conf.checks_valid_until());
        assert_eq!(
            (host.distribution.as_deref(), host.codename.as_deref()),
            (Some("debian"), Some("bookworm"))
        );
        assert_eq!(host.default_keyrings, [root.path().join("etc/apt/trusted.gpg.d/k.asc")]);
        assert!(HostApt::load(&root.path().join("nothing"), "amd64").sources.is_empty());
    }
}
