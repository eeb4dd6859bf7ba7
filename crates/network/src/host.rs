//! Settings of the kernel (`/proc/sys/net`), of the network namespace of the calling thread.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::NetworkError;

pub(crate) const FORWARDING: &str = "ipv4/ip_forward";

fn path(name: &str) -> PathBuf {
    Path::new("/proc/sys/net").join(name)
}

pub(crate) fn setting(name: &str) -> Result<String, NetworkError> {
    let text = fs_err::read_to_string(path(name)).map_err(NetworkError::io("read", path(name)))?;
    Ok(text.trim().to_owned())
}

/// Changes a setting. One that this kernel does not have (no IPv6, say) is left alone.
pub(crate) fn set(name: &str, value: &str) -> Result<(), NetworkError> {
    match fs_err::write(path(name), value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(NetworkError::io("change", path(name))),
    }
}
