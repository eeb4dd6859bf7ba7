//! What containers need of the machine, looked at before anything is begun: one clear error instead of a puzzling one later.

mod facts;
mod tried;

use std::io;
use std::path::PathBuf;

pub(crate) use facts::{Cgroups, Facts};
use tried::Tried;

use crate::roots::Roots;

/// Linux that can stack an overlay's layers one by one.
const OVERLAY_SINCE: (u32, u32) = (6, 5);

/// The first thing that the machine lacks.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum Lack {
    #[error("images are built, and containers run, by root only")]
    #[diagnostic(
        code(machine::root),
        help("run it as root (`sudo shipway …`): running without root is not there yet")
    )]
    Root,
    #[error("this process may not mount: it lacks the capability CAP_SYS_ADMIN")]
    #[diagnostic(code(machine::admin), help("inside of a container, start that one with `--privileged`"))]
    Admin,
    #[error("this kernel (Linux {kernel}) has no {kind} namespaces")]
    #[diagnostic(
        code(machine::namespace),
        help("use a kernel with CONFIG_NAMESPACES and CONFIG_{}_NS, as those of distributions are", kind.to_uppercase())
    )]
    Namespace { kernel: String, kind: &'static str },
    #[error("no {kind} namespaces are allowed on this machine: user.max_{kind}_namespaces is 0")]
    #[diagnostic(code(machine::namespace_limit), help("run `sysctl -w user.max_{kind}_namespaces=10000`"))]
    NamespaceLimit { kind: &'static str },
    #[error("this kernel (Linux {kernel}) has no overlayfs")]
    #[diagnostic(
        code(machine::overlay),
        help("load it with `modprobe overlay`, or use a kernel with CONFIG_OVERLAY_FS")
    )]
    Overlay { kernel: String },
    #[error("Linux {kernel} is too old: its overlayfs does not know `lowerdir+`")]
    #[diagnostic(code(machine::old), help("use Linux 6.5 or newer"))]
    OldOverlay { kernel: String },
    #[error("overlayfs cannot work on the file system of `{}`", path.display())]
    #[diagnostic(
        code(machine::overlay_refused),
        help("choose a directory on a local ext4, xfs or btrfs: --root DIR")
    )]
    OverlayRefused { path: PathBuf, source: io::Error },
    #[error("the file system of `{}` keeps no attributes of users (`user.*`), which overlayfs needs", path.display())]
    #[diagnostic(
        code(machine::user_attributes),
        help("choose a directory on a local ext4, xfs or btrfs: --root DIR")
    )]
    UserAttributes { path: PathBuf },
    #[error("no control groups are mounted at /sys/fs/cgroup")]
    #[diagnostic(code(machine::cgroups), help("run `mount -t cgroup2 none /sys/fs/cgroup`"))]
    Cgroups,
    #[error("the control groups at /sys/fs/cgroup cannot be written")]
    #[diagnostic(
        code(machine::cgroups_read_only),
        help("inside of a container, start that one with `--privileged`")
    )]
    CgroupsReadOnly,
}

/// Looks at the machine, and at the file system that images lie on. What can only be found out by trying is tried once, and again
/// after a restart of the machine, under another kernel, or on another file system.
pub(crate) fn check(roots: &Roots) -> Result<(), Lack> {
    let tried = Tried::before(roots);
    first_lack(if tried.is_known() { Facts::look(roots) } else { Facts::find(roots) })?;
    tried.remember();
    Ok(())
}

/// Returns the first thing that is missing of what containers need.
pub(crate) fn first_lack(facts: Facts) -> Result<(), Lack> {
    let Facts { kernel, root, admin, namespaces, overlay, user_attributes, cgroups, path } = facts;
    if !root {
        return Err(Lack::Root);
    }
    if !admin {
        return Err(Lack::Admin);
    }
    if let Some(kind) = namespaces.missing.first() {
        return Err(Lack::Namespace { kernel, kind });
    }
    if let Some(kind) = namespaces.forbidden.first() {
        return Err(Lack::NamespaceLimit { kind });
    }
    if let Err(source) = overlay {
        return Err(match source.raw_os_error() {
            Some(NO_DEVICE) => Lack::Overlay { kernel },
            _ if version(&kernel) < Some(OVERLAY_SINCE) => Lack::OldOverlay { kernel },
            _ => Lack::OverlayRefused { path, source },
        });
    }
    if !user_attributes {
        return Err(Lack::UserAttributes { path });
    }
    match cgroups {
        Cgroups { version: 0, .. } => Err(Lack::Cgroups),
        Cgroups { writable: false, .. } => Err(Lack::CgroupsReadOnly),
        Cgroups { .. } => Ok(()),
    }
}

/// `ENODEV`: no such file system. Spec: fsopen(2).
const NO_DEVICE: i32 = 19;

/// Returns the first two numbers of a release such as `6.12.9-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|char: char| !char.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirements::facts::Namespaces;

    fn good() -> Facts {
        Facts {
            kernel: "6.12.9-amd64".to_owned(),
            root: true,
            admin: true,
            namespaces: Namespaces::default(),
            overlay: Ok(()),
            user_attributes: true,
            cgroups: Cgroups { version: 2, controllers: Vec::new(), writable: true },
            path: PathBuf::from("/var/lib/shipway"),
        }
    }

    #[test]
    fn whatever_is_missing_is_named() {
        assert!(first_lack(good()).is_ok());
        let refused = |code| Err(io::Error::from_raw_os_error(code));
        let namespaces = |missing, forbidden| Namespaces { missing, forbidden };
        let cgroups = |version, writable| Cgroups { version, writable, controllers: Vec::new() };
        for (facts, want) in [
            (Facts { root: false, ..good() }, "by root only"),
            (Facts { admin: false, ..good() }, "CAP_SYS_ADMIN"),
            (
                Facts { namespaces: namespaces(vec!["pid"], vec![]), ..good() },
                "(Linux 6.12.9-amd64) has no pid namespaces",
            ),
            (Facts { namespaces: namespaces(vec![], vec!["net"]), ..good() }, "user.max_net_namespaces is 0"),
            (Facts { overlay: refused(NO_DEVICE), ..good() }, "(Linux 6.12.9-amd64) has no overlayfs"),
            (
                Facts { overlay: refused(22), kernel: "6.1.0-18-amd64".to_owned(), ..good() },
                "Linux 6.1.0-18-amd64 is too old: its overlayfs does not know `lowerdir+`",
            ),
            (
                Facts { overlay: refused(22), ..good() },
                "cannot work on the file system of `/var/lib/shipway`",
            ),
            (Facts { user_attributes: false, ..good() }, "`/var/lib/shipway` keeps no attributes"),
            (Facts { cgroups: cgroups(0, true), ..good() }, "no control groups"),
            (Facts { cgroups: cgroups(1, false), ..good() }, "cannot be written"),
        ] {
            let failure = crate::failure::Failure::from(first_lack(facts).unwrap_err());
            assert!(failure.text().contains(want) && failure.text().contains("hint: "), "{}", failure.text());
        }
    }

    #[test]
    fn releases_are_compared_as_numbers() {
        for (release, want) in
            [("6.5.0", Some((6, 5))), ("6.12-rc1", Some((6, 12))), ("10.0", Some((10, 0))), ("odd", None)]
        {
            assert_eq!(version(release), want, "{release}");
        }
        assert!(version("6.4.99") < Some(OVERLAY_SINCE) && version("6.10.1") > Some(OVERLAY_SINCE));
    }
}
