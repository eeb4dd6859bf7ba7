//! The kernel modules that a guest needs, each after those that it needs itself.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// What the guest and our program use. One that is missing is taken to be part of the kernel itself.
const WANTED: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "ext4",
    "overlay",
    "veth",
    "bridge",
    "br_netfilter",
    "nf_tables",
    "nft_chain_nat",
    "nft_ct",
    "nft_masq",
    "nft_nat",
    "nft_redir",
    "nft_compat",
];

/// A module by its name, and its bytes.
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
}

/// Loads the wanted modules of a directory in the order in which the kernel accepts them.
pub(crate) fn load(dir: &Path, busybox: &Path) -> anyhow::Result<Vec<Module>> {
    let mut files = HashMap::new();
    find(dir, &mut files)?;
    ensure!(!files.is_empty(), "{} holds no kernel module", dir.display());
    let mut order = Order { files, busybox, seen: HashSet::new(), sorted: Vec::new() };
    for name in WANTED {
        order.visit(name)?;
    }
    Ok(order.sorted)
}

struct Order<'a> {
    files: HashMap<String, PathBuf>,
    busybox: &'a Path,
    seen: HashSet<String>,
    sorted: Vec<Module>,
}

impl Order<'_> {
    fn visit(&mut self, name: &str) -> anyhow::Result<()> {
        let Some(path) = self.files.get(name) else { return Ok(()) };
        if !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let content = read(path, self.busybox)?;
        for needed in dependencies(&content) {
            self.visit(&needed)?;
        }
        self.sorted.push(Module { name: name.to_owned(), content });
        Ok(())
    }
}

fn find(dir: &Path, files: &mut HashMap<String, PathBuf>) -> anyhow::Result<()> {
    for entry in fs_err::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            find(&entry.path(), files)?;
        } else if let Some((stem, _)) = entry.file_name().to_string_lossy().split_once(".ko") {
            files.insert(stem.replace('-', "_"), entry.path());
        }
    }
    Ok(())
}

fn read(path: &Path, busybox: &Path) -> anyhow::Result<Vec<u8>> {
    let unpack = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xzcat",
        Some("gz") => "zcat",
        _ => return Ok(fs_err::read(path)?),
    };
    let output = Command::new(busybox).arg(unpack).arg(path).output().context("could not start busybox")?;
    ensure!(output.status.success(), "could not unpack {}", path.display());
    Ok(output.stdout)
}

/// Reads the line `depends=a,b` of a module's own description.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let text = module[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(text).replace('-', "_");
    names.split(',').filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_name_what_they_need() {
        assert_eq!(dependencies(b"x\0license=GPL\0depends=nf-nat,nf_tables\0more"), ["nf_nat", "nf_tables"]);
        assert!(dependencies(b"x\0depends=\0").is_empty());
    }
}
