//! Programs of other architectures, which the kernel hands to an emulator that somebody registered.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use shipway_build::SeamError;
use shipway_linux::{MountAttributes, new_filesystem};
use shipway_oci::Platform;

/// Where the registered ones are told. Spec: Linux admin-guide/binfmt-misc.rst.
const REGISTERED: &str = "/proc/sys/fs/binfmt_misc";

/// GOARCH, bits, byte order and `e_machine` of its programs. Spec: elf(5), psABI supplements.
const MACHINES: &[(&str, u8, Order, u16)] = &[
    ("386", 1, Order::Little, 3),
    ("amd64", 2, Order::Little, 62),
    ("arm", 1, Order::Little, 40),
    ("arm64", 2, Order::Little, 183),
    ("loong64", 2, Order::Little, 258),
    ("mips64", 2, Order::Big, 8),
    ("mips64le", 2, Order::Little, 8),
    ("ppc64", 2, Order::Big, 21),
    ("ppc64le", 2, Order::Little, 21),
    ("riscv64", 2, Order::Little, 243),
    ("s390x", 2, Order::Big, 22),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

/// Nothing here runs such programs.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("programs for {platform} do not run on this machine, and no emulator is registered for them")]
#[diagnostic(
    code(build::emulation),
    help(
        "install one (Debian: `apt install qemu-user-static`), or let the step run here and make what the other platform needs: \
         FROM --platform=$BUILDPLATFORM … AS build, ARG TARGETARCH, then COPY --from=build"
    )
)]
pub(super) struct NoEmulator {
    platform: Platform,
}

/// No emulator helps.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("a stage for {platform} cannot run commands on Linux")]
#[diagnostic(
    code(build::emulation),
    help(
        "let the step run here and make what the other system needs: FROM --platform=$BUILDPLATFORM … AS build, ARG TARGETOS, \
         then COPY --from=build"
    )
)]
pub(super) struct OtherSystem {
    platform: Platform,
}

/// Fails where neither the processor nor a registered emulator runs the programs of a platform.
pub(super) fn check(platform: &Platform) -> Result<(), SeamError> {
    let host = Platform::host();
    if platform.os != host.os {
        return Err(SeamError::new(OtherSystem { platform: platform.clone() }));
    }
    if platform.architecture == host.architecture {
        return Ok(());
    }
    let entries = entries().unwrap_or_default();
    let starts = starts_of(&platform.architecture);
    if starts.iter().any(|start| entries.iter().any(|entry| takes(entry, start))) {
        Ok(())
    } else {
        Err(SeamError::new(NoEmulator { platform: platform.clone() }))
    }
}

/// Returns what is said of each registered format.
fn entries() -> io::Result<Vec<String>> {
    // It may be mounted nowhere.
    let (directory, _mount) = match Path::new(REGISTERED).join("status").exists() {
        true => (PathBuf::from(REGISTERED), None),
        false => {
            let mount = new_filesystem("binfmt_misc", &[], MountAttributes::default())?;
            (PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd())), Some(mount))
        }
    };
    let mut entries = Vec::new();
    for entry in fs_err::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name() != "status" && entry.file_name() != "register" {
            entries.push(fs_err::read_to_string(entry.path())?);
        }
    }
    Ok(entries)
}

/// Returns how programs of an architecture begin, those at a fixed address and those at any.
fn starts_of(architecture: &str) -> Vec<[u8; 20]> {
    let known = MACHINES.iter().find(|(name, ..)| *name == architecture);
    let Some((_, bits, order, machine)) = known else { return Vec::new() };
    let number = |value: u16| match order {
        Order::Little => value.to_le_bytes(),
        Order::Big => value.to_be_bytes(),
    };
    let start = |kind: u16| {
        let mut start = [0; 20];
        start[..4].copy_from_slice(b"\x7fELF");
        start[4..7].copy_from_slice(&[*bits, if *order == Order::Little { 1 } else { 2 }, 1]);
        start[16..18].copy_from_slice(&number(kind));
        start[18..].copy_from_slice(&number(*machine));
        start
    };
    vec![start(2), start(3)]
}

/// Returns whether a registered format is the one of programs that begin so.
fn takes(entry: &str, start: &[u8]) -> bool {
    let field = |name: &str| entry.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let offset = field("offset ").and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
    let Some(magic) = field("magic ").and_then(hex) else { return false };
    let mask = field("mask ").and_then(hex).unwrap_or_else(|| vec![0xff; magic.len()]);
    let Some(start) = start.get(offset..).and_then(|start| start.get(..magic.len())) else { return false };
    entry.lines().next() == Some("enabled")
        && mask.len() == magic.len()
        && start.iter().zip(&magic).zip(&mask).all(|((found, wanted), mask)| found & mask == wanted & mask)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| digit.try_into().ok()))
        .collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_is_known_by_what_it_takes() {
        let entry = |state: &str, magic: &str, mask: &str| {
            format!("{state}\ninterpreter /usr/bin/qemu\nflags: OCF\noffset 0\nmagic {magic}\n{mask}")
        };
        let arm64 = "7f454c460201010000000000000000000200b700";
        let any = "mask ffffffffffffff00fffffffffffffffffeffffff\n";
        for (name, entry, architecture, wanted) in [
            ("its own", entry("enabled", arm64, any), "arm64", true),
            ("without a mask", entry("enabled", arm64, ""), "arm64", true),
            ("another", entry("enabled", arm64, any), "riscv64", false),
            ("switched off", entry("disabled", arm64, any), "arm64", false),
            ("too long", entry("enabled", &arm64.repeat(2), ""), "arm64", false),
            ("odd", entry("enabled", "7f4", ""), "arm64", false),
            ("by its name", "enabled\ninterpreter /x\nflags:\nextension .jar\n".to_owned(), "arm64", false),
            ("unknown", entry("enabled", arm64, any), "pdp11", false),
        ] {
            let starts = starts_of(architecture);
            assert_eq!(starts.iter().any(|start| takes(&entry, start)), wanted, "case {name}");
        }
        assert!(check(&Platform::host()).is_ok());
        let other = check(&"darwin/amd64".parse().unwrap()).unwrap_err();
        assert!(other.to_string().contains("a stage for darwin/amd64"), "{other}");
        assert!(check(&Platform::linux("pdp11")).is_err());
    }
}
