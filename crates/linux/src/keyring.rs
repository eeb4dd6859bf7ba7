//! Secrets in the kernel's memory, for all processes of one user until the machine restarts.
//!
//! Spec: keyrings(7), user-keyring(7), keyctl(2). A key is found by its description; every process of the user may read it, whichever
//! session it belongs to.

use std::ffi::CString;
use std::io;

/// Spec: keyctl(2), `KEY_SPEC_USER_KEYRING`.
const USER_KEYRING: i32 = -4;
const TYPE: &std::ffi::CStr = c"user";
/// Spec: keyctl(2), `KEYCTL_*`.
const SET_PERMISSIONS: i32 = 5;
const UNLINK: i32 = 9;
const SEARCH: i32 = 10;
const READ: i32 = 11;
/// Everything for whoever possesses it and for its user, nothing for others. Spec: keyrings(7), Access rights.
const PERMISSIONS: u32 = 0x3f3f_0000;
/// Longest secret. Spec: keyrings(7), `user`.
const LONGEST: usize = 32_767;

/// Keeps a secret, in the place of one with the same description.
pub fn keep_secret(description: &str, secret: &[u8]) -> io::Result<()> {
    let description = CString::new(description)?;
    // SAFETY: both texts end with a zero, the secret has the length that is given; all live through the call.
    let key = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            TYPE.as_ptr(),
            description.as_ptr(),
            secret.as_ptr(),
            secret.len(),
            USER_KEYRING,
        )
    };
    let key = checked(key)?;
    // SAFETY: the arguments are numbers.
    checked(unsafe { libc::syscall(libc::SYS_keyctl, SET_PERMISSIONS, key, PERMISSIONS) }).map(drop)
}

/// Returns a secret; `None` if there is none of that description.
pub fn kept_secret(description: &str) -> io::Result<Option<Vec<u8>>> {
    let Some(key) = find(description)? else { return Ok(None) };
    let mut secret = vec![0; LONGEST];
    // SAFETY: the buffer has the length that is given.
    let read = unsafe { libc::syscall(libc::SYS_keyctl, READ, key, secret.as_mut_ptr(), secret.len()) };
    let length = usize::try_from(checked(read)?).unwrap_or_default();
    secret.truncate(length);
    Ok(Some(secret))
}

/// Forgets a secret; returns whether there was one.
pub fn forget_secret(description: &str) -> io::Result<bool> {
    let Some(key) = find(description)? else { return Ok(false) };
    // SAFETY: the arguments are numbers.
    checked(unsafe { libc::syscall(libc::SYS_keyctl, UNLINK, key, USER_KEYRING) })?;
    Ok(true)
}

fn find(description: &str) -> io::Result<Option<i64>> {
    let description = CString::new(description)?;
    // SAFETY: both texts end with a zero and live through the call.
    let key = unsafe {
        libc::syscall(libc::SYS_keyctl, SEARCH, USER_KEYRING, TYPE.as_ptr(), description.as_ptr(), 0)
    };
    match checked(key) {
        Ok(key) => Ok(Some(key)),
        // It was there once: gone, or too old.
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::ENOKEY | libc::EKEYREVOKED | libc::EKEYEXPIRED)) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn checked(answer: i64) -> io::Result<i64> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_kept_until_it_is_forgotten() {
        let name = format!("shipway:test:{}", std::process::id());
        if let Err(error) = keep_secret(&name, b"one") {
            // Containers often have no keyrings.
            assert!(matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)), "{error}");
            return;
        }
        assert_eq!(kept_secret(&name).unwrap().as_deref(), Some(&b"one"[..]));
        keep_secret(&name, b"another").unwrap();
        assert_eq!(kept_secret(&name).unwrap().as_deref(), Some(&b"another"[..]));
        assert!(forget_secret(&name).unwrap() && !forget_secret(&name).unwrap());
        assert_eq!(kept_secret(&name).unwrap(), None);
        assert!(keep_secret("no\0name", b"x").is_err());
    }
}
