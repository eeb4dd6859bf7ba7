//! What of this host a container sees: `-v`, `--mount`, `--tmpfs`.

use std::path::{Path, PathBuf};

use shipway_runtime::{Mount, MountKind};

use crate::cli::RunArgs;
use crate::failure::Failure;
use crate::units;

/// Returns the mounts that were typed, parents before what is in them.
pub(super) fn of(args: &RunArgs) -> Result<Vec<Mount>, Failure> {
    let mut mounts = Vec::new();
    for text in &args.volumes {
        mounts.push(volume(text)?);
    }
    for text in &args.mounts {
        mounts.push(mount(text)?);
    }
    for text in &args.tmpfs {
        mounts.push(tmpfs(text)?);
    }
    mounts.sort_by_key(|mount| mount.target.components().count());
    Ok(mounts)
}

fn refused(text: &str, why: &str, form: &str) -> Failure {
    Failure::new(format!("cannot mount `{text}`: {why}"), format!("write it as {form}"))
}

fn target(text: &str, target: &str) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(target);
    if path.is_absolute() && path.components().count() > 1 {
        return Ok(path);
    }
    let why = format!("`{target}` is no absolute path in the container, or all of it");
    Err(refused(text, &why, "-v SOURCE:TARGET[:ro]"))
}

/// `TARGET[:OPTIONS]`
fn tmpfs(text: &str) -> Result<Mount, Failure> {
    const FORM: &str = "--tmpfs TARGET[:size=64m,ro]";
    let (place, options) = text.split_once(':').unwrap_or((text, ""));
    let mut mount =
        Mount { kind: MountKind::Tmpfs, target: target(text, place)?, read_only: false, size: None };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=').unwrap_or((option, "")) {
            ("ro", "") => mount.read_only = true,
            // As it is anyway.
            ("rw" | "nosuid" | "nodev", "") => {}
            ("size", size) => {
                let bytes = units::bytes(size).ok_or_else(|| refused(text, "its size is no size", FORM))?;
                mount.size = Some(bytes);
            }
            (other, _) => return Err(refused(text, &format!("option `{other}` is not there yet"), FORM)),
        }
    }
    Ok(mount)
}

/// `SOURCE:TARGET[:OPTIONS]`. Compat: docker, a source that is not there becomes a directory.
fn volume(text: &str) -> Result<Mount, Failure> {
    const FORM: &str = "-v SOURCE:TARGET[:ro]";
    let mut parts = text.splitn(3, ':');
    let (source, place) = match (parts.next().unwrap_or_default(), parts.next()) {
        (_, None) => return Err(refused(text, "volumes without a name are not there yet", FORM)),
        (source, Some(place)) => (source, place),
    };
    if !source.starts_with(['/', '.']) {
        return Err(refused(text, "named volumes are not there yet; a path begins with / or ./", FORM));
    }
    let mut read_only = false;
    for option in parts.next().into_iter().flat_map(|options| options.split(',')) {
        match option {
            "ro" => read_only = true,
            // The first is the default; the labels of SELinux are not used here.
            "rw" | "z" | "Z" => {}
            other => return Err(refused(text, &format!("option `{other}` is not there yet"), FORM)),
        }
    }
    let place = target(text, place)?;
    if !Path::new(source).exists() {
        fs_err::create_dir_all(source).map_err(|error| refused(text, &error.to_string(), FORM))?;
    }
    bind(text, source, place, read_only)
}

fn bind(text: &str, source: &str, target: PathBuf, read_only: bool) -> Result<Mount, Failure> {
    // The shim works in another directory.
    let source = fs_err::canonicalize(source)
        .map_err(|error| refused(text, &error.to_string(), "type=bind,source=PATH,target=PATH"))?;
    Ok(Mount { kind: MountKind::Bind(source), target, read_only, size: None })
}

/// `type=bind,source=…,target=…[,readonly]`
fn mount(text: &str) -> Result<Mount, Failure> {
    const FORM: &str = "--mount type=bind,source=PATH,target=PATH[,readonly]";
    let (mut kind, mut source, mut place, mut read_only, mut size) = ("volume", None, None, false, None);
    for part in text.split(',') {
        let (key, value) = part.split_once('=').unwrap_or((part, "true"));
        match (key, value) {
            ("type", value) => kind = value,
            ("source" | "src", value) => source = Some(value),
            ("target" | "destination" | "dst", value) => place = Some(value),
            ("readonly" | "ro", "true" | "1") => read_only = true,
            ("readonly" | "ro", "false" | "0") => read_only = false,
            ("tmpfs-size", value) => {
                let bytes =
                    units::bytes(value).ok_or_else(|| refused(text, "tmpfs-size is no size", FORM))?;
                size = Some(bytes);
            }
            (other, _) => return Err(refused(text, &format!("option `{other}` is not there yet"), FORM)),
        }
    }
    let place = target(text, place.ok_or_else(|| refused(text, "it names no target", FORM))?)?;
    match (kind, source) {
        ("bind", Some(source)) => bind(text, source, place, read_only),
        ("bind", None) => Err(refused(text, "it names no source", FORM)),
        ("tmpfs", None) => Ok(Mount { kind: MountKind::Tmpfs, target: place, read_only, size }),
        ("tmpfs", Some(_)) => Err(refused(text, "a tmpfs has no source", "--mount type=tmpfs,target=PATH")),
        (other, _) => Err(refused(text, &format!("type `{other}` is not there yet"), FORM)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_in_both_forms() {
        let bound = |read_only| Mount {
            kind: MountKind::Bind("/usr".into()),
            target: "/u".into(),
            read_only,
            size: None,
        };
        let tmpfs = Mount { kind: MountKind::Tmpfs, target: "/t".into(), read_only: false, size: None };
        assert_eq!(volume("/usr:/u").unwrap(), bound(false));
        assert_eq!(volume("/usr:/u:ro,z").unwrap(), bound(true));
        assert_eq!(mount("type=bind,source=/usr,target=/u").unwrap(), bound(false));
        assert_eq!(mount("type=bind,src=/usr,dst=/u,readonly").unwrap(), bound(true));
        assert_eq!(mount("type=tmpfs,target=/t").unwrap(), tmpfs);
    }

    #[test]
    fn what_cannot_be_mounted_is_named() {
        for (text, why) in [
            ("/data", "without a name are not there yet"),
            ("data:/data", "named volumes are not there yet"),
            ("/usr:data", "no absolute path"),
            ("/usr:/", "or all of it"),
            ("/usr:/u:rslave", "option `rslave` is not there yet"),
        ] {
            assert!(volume(text).unwrap_err().text().contains(why), "case {text}");
        }
        for (text, why) in [
            ("source=/usr,target=/u", "type `volume` is not there yet"),
            ("type=bind,target=/u", "it names no source"),
            ("type=bind,source=/usr", "it names no target"),
            ("type=bind,source=/no/such/path,target=/u", "/no/such/path"),
            (
                "type=bind,source=/usr,target=/u,bind-propagation=shared",
                "`bind-propagation` is not there yet",
            ),
        ] {
            assert!(mount(text).unwrap_err().text().contains(why), "case {text}");
        }
    }
}
