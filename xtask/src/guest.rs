//! `cargo xtask guest`: the program on another kernel, in an emulated machine with nothing but cgroup v2.
//!
//! The machine has the kernel and modules that it is given, a static busybox, our program and the checks of `xtask/guest/checks`, which
//! are shell scripts that run one after the other as root. What it prints on its console decides.

mod console;
mod cpio;
mod disk;
mod kernel_modules;
mod options;

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use options::Options;

/// Runs the checks in a guest and prints how each went.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let options = Options::parse(arguments)?;
    let dir = std::env::temp_dir().join(format!("shipway-guest-{}", std::process::id()));
    fs_err::create_dir(&dir)?;
    let done = run_in(&options, &dir);
    drop(fs_err::remove_dir_all(&dir));
    done
}

fn run_in(options: &Options, dir: &Path) -> anyhow::Result<()> {
    let (initrd, image) = (dir.join("initrd"), dir.join("disk"));
    disk::write_initrd(options, &initrd)?;
    disk::make_disk(&image)?;
    let drive = format!("file={},format=raw,if=virtio,cache=unsafe", image.display());
    let mut machine = Command::new(&options.qemu)
        .args(["-machine", "q35", "-cpu", "max", "-smp", "2", "-m", "3G", "-accel", "tcg,thread=multi"])
        .args(["-nographic", "-no-reboot", "-nic", "none", "-monitor", "none", "-serial", "stdio"])
        .arg("-kernel")
        .arg(&options.kernel)
        .arg("-initrd")
        .arg(&initrd)
        .args(["-append", "console=ttyS0 panic=-1 quiet cgroup_no_v1=all", "-drive", &drive])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start {}", options.qemu))?;
    let output = machine.stdout.take().context("the guest has no console")?;
    let seen = console::follow(output);
    // One that was lost does not end by itself.
    drop(machine.kill());
    machine.wait()?;
    let seen = seen?;
    ensure!(seen.finished, "the guest ended before its checks did");
    ensure!(seen.failed.is_empty(), "failed: {}", seen.failed.join(", "));
    ensure!(seen.passed > 0, "no check ran");
    println!("==> guest: {} checks passed", seen.passed);
    Ok(())
}
