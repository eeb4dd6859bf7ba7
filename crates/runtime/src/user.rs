//! Who the container runs as: looked up in the container's own files, never by the host's libraries.

use std::io::Read as _;

use shipway_linux::{Kind, Root};

/// Largest `passwd` or `group` file that is read.
const FILE_LIMIT: u64 = 1 << 20;

/// Numbers of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: Option<String>,
}

/// Finds `user[:group]` in the files below `root`.
///
/// A number needs no entry. The error says what was not found or is no valid number.
pub(crate) fn resolve_user(root: &Root, text: &str) -> Result<User, String> {
    let (name, group) = text.split_once(':').map_or((text, None), |(name, group)| (name, Some(group)));
    // Compat: docker, `user:` is that user.
    let group = group.filter(|group| !group.is_empty());
    let name = if name.is_empty() { "0" } else { name };
    let passwd = read(root, "etc/passwd");
    let number = parse_id(name)?;
    // Compat: docker, a name wins over a number.
    let line = entries(&passwd).find(|fields| fields[0] == name).or_else(|| {
        let number = number?.to_string();
        entries(&passwd).find(|fields| fields.get(2) == Some(&number.as_str()))
    });
    let mut user = match (&line, number) {
        (Some(fields), _) => {
            let field = |at: usize| fields.get(at).copied().unwrap_or_default();
            let id = |at| {
                parse_id(field(at))
                    .ok()
                    .flatten()
                    .ok_or_else(|| format!("the entry of {name} in /etc/passwd is not valid"))
            };
            User { uid: id(2)?, gid: id(3)?, groups: Vec::new(), home: Some(field(5).to_owned()) }
        }
        (None, Some(uid)) => User { uid, ..User::default() },
        (None, None) => return Err(format!("no user {name} in the image's /etc/passwd")),
    };
    let file = read(root, "etc/group");
    match group {
        Some(group) => user.gid = resolve_group(&file, group)?,
        None => {
            let login = line.as_ref().map_or(name, |fields| fields[0]);
            user.groups = entries(&file)
                .filter(|fields| {
                    fields.get(3).is_some_and(|members| members.split(',').any(|member| member == login))
                })
                .filter_map(|fields| parse_id(fields.get(2)?).ok().flatten())
                .collect();
        }
    }
    if !user.groups.contains(&user.gid) {
        user.groups.insert(0, user.gid);
    }
    Ok(user)
}

fn resolve_group(file: &str, group: &str) -> Result<u32, String> {
    let line = entries(file).find(|fields| fields[0] == group);
    let found = line.and_then(|fields| parse_id(fields.get(2)?).ok().flatten());
    match (found, parse_id(group)?) {
        (Some(gid), _) | (None, Some(gid)) => Ok(gid),
        (None, None) => Err(format!("no group {group} in the image's /etc/group")),
    }
}

/// Parses decimal digits; text that is no number is `None`, a number that no user can have is an error.
fn parse_id(text: &str) -> Result<Option<u32>, String> {
    let looks_numeric =
        text.starts_with(['+', '-']) || text.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    if !looks_numeric || text.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        return Ok(None);
    }
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    // 2^32 - 1 means "no change" to the kernel.
    let number = text.parse::<u32>().ok().filter(|number| plain && *number != u32::MAX);
    number.map(Some).ok_or_else(|| format!("{text} is no valid id"))
}

fn entries(file: &str) -> impl Iterator<Item = Vec<&str>> {
    file.lines()
        .filter(|line| !line.starts_with('#') && line.contains(':'))
        .map(|line| line.split(':').collect())
}

/// Returns the file's text; anything but a regular file of a sane size counts as not there.
fn read(root: &Root, path: &str) -> String {
    let regular = root
        .metadata(path)
        .ok()
        .flatten()
        .is_some_and(|found| found.kind == Kind::File && found.size <= FILE_LIMIT);
    let mut text = String::new();
    if regular && let Ok(file) = root.open_file(path) {
        // What is not UTF-8 has no users that could be named.
        if file.take(FILE_LIMIT).read_to_string(&mut text).is_err() {
            text.clear();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("etc")).unwrap();
        fs_err::write(
            dir.path().join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n1000:x:0:0::/:\n",
        )
        .unwrap();
        fs_err::write(dir.path().join("etc/group"), "root:x:0:\nweb:x:34:\nlogs:x:40:web,other\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let cases = [
            ("empty is root", "", Some((0, 0, vec![0]))),
            ("name", "web", Some((33, 34, vec![34, 40]))),
            ("number with an entry", "33", Some((33, 34, vec![34, 40]))),
            ("number without an entry", "77", Some((77, 0, vec![0]))),
            ("group", "web:logs", Some((33, 40, vec![40]))),
            ("empty group", "web:", Some((33, 34, vec![34, 40]))),
            ("numbers", "5:6", Some((5, 6, vec![6]))),
            ("a numeric name", "1000", Some((0, 0, vec![0]))),
            ("unknown", "nobody", None),
            ("unknown group", "web:none", None),
            ("negative", "-1", None),
            ("too large", "4294967296", None),
            ("no change", "4294967295", None),
            ("signed", "+0", None),
            ("leading zero", "00", None),
            ("hexadecimal", "0x0", None),
            ("line break", "0\n0", None),
        ];
        for (name, text, want) in cases {
            let found = resolve_user(&root, text).ok().map(|user| (user.uid, user.gid, user.groups));
            assert_eq!(found, want, "case {name}");
        }
    }
}
