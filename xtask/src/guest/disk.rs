//! What the guest boots from, and the disk that becomes its root.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::cpio::Archive;
use super::kernel_modules;
use super::options::Options;

/// The guest's own scripts.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/guest");

const DISK_BYTES: u64 = 4 << 30;

/// Writes the archive with kernel modules, busybox, program, scripts and tests.
pub(crate) fn write_initrd(options: &Options, to: &Path) -> anyhow::Result<()> {
    let mut archive = Archive::new(BufWriter::new(fs_err::File::create(to)?.into_file()));
    for name in ["bin", "dev", "modules", "new", "payload", "payload/checks", "payload/tests", "payload/add"]
    {
        archive.directory(name)?;
    }
    archive.device("dev/console", (5, 1))?;
    archive.file("bin/busybox", 0o755, &fs_err::read(&options.busybox)?)?;
    archive.file("init", 0o755, &fs_err::read(Path::new(SCRIPTS).join("init"))?)?;
    let mut order = String::new();
    for module in kernel_modules::load(&options.modules, &options.busybox)? {
        order.push_str(&format!("{}\n", module.name));
        archive.file(&format!("modules/{}", module.name), 0o644, &module.content)?;
    }
    archive.file("modules.order", 0o644, order.as_bytes())?;
    archive.file("payload/shipway", 0o755, &fs_err::read(&options.program)?)?;
    for name in ["checks.sh", "lib.sh"] {
        archive.file(&format!("payload/{name}"), 0o755, &fs_err::read(Path::new(SCRIPTS).join(name))?)?;
    }
    for path in sorted(&Path::new(SCRIPTS).join("checks"))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.contains(&options.only) {
            archive.file(&format!("payload/checks/{name}"), 0o755, &fs_err::read(&path)?)?;
        }
    }
    add_files(options, &mut archive)?;
    archive.finish()?;
    Ok(())
}

fn add_files(options: &Options, archive: &mut Archive<impl Write>) -> anyhow::Result<()> {
    for (name, file) in &options.tests {
        archive.file(&format!("payload/tests/{name}"), 0o755, &fs_err::read(file)?)?;
    }
    let mut places = String::new();
    for (number, (host, guest)) in options.add.iter().enumerate() {
        archive.file(&format!("payload/add/{number}"), 0o755, &fs_err::read(host)?)?;
        places.push_str(&format!("{number} {guest}\n"));
    }
    archive.file("payload/add.list", 0o644, places.as_bytes())?;
    Ok(())
}

fn sorted(dir: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut paths =
        fs_err::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}

/// Makes an empty disk: files in memory have no user attributes on older kernels, which layers need.
pub(crate) fn make_disk(image: &Path) -> anyhow::Result<()> {
    let file: File = fs_err::File::create(image)?.into_file();
    file.set_len(DISK_BYTES)?;
    let made = Command::new("mkfs.ext4")
        .args(["-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1"])
        .arg(image)
        .status()
        .context("could not start mkfs.ext4 (Debian: e2fsprogs)")?;
    ensure!(made.success(), "could not make a file system for the guest");
    Ok(())
}
