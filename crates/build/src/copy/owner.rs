//! Names of users and groups, looked up in an image.

use std::io::Read as _;
use std::path::Path;

use shipway_linux::Root;

use crate::Problem;

const ROOT: &str = "root";
/// The largest number.
const NOBODY: &str = "4294967295";
/// A larger passwd or group file is not read further.
const MAX_FILE: u64 = 16 << 20;

/// Returns the numbers of `user[:group]`.
///
/// A number needs no entry and is its own group; a name has the group of its entry. Compat: BuildKit, `root` is 0 whatever the files
/// say, also where there are none, and so is the group of `user:`.
pub(crate) fn resolve_owner(root: &Root, text: &str) -> Result<(u32, u32), Problem> {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    if [user, group.unwrap_or_default()].contains(&NOBODY) {
        return Err(Problem::invalid(format!(
            "--chown: `{NOBODY}` is nobody's number, it means \"leave it\" to the kernel"
        )));
    }
    let (uid, own_group) = match user.parse::<u32>() {
        Ok(uid) => (uid, uid),
        Err(_) if user.is_empty() || user == ROOT => (0, 0),
        Err(_) => {
            let fields = find(root, "/etc/passwd", user)?;
            let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok());
            number(2).zip(number(3)).ok_or_else(|| unknown(user, "/etc/passwd"))?
        }
    };
    let gid = match group {
        None => own_group,
        Some("") => 0,
        Some(group) => match group.parse::<u32>() {
            Ok(gid) => gid,
            Err(_) if group == ROOT => 0,
            Err(_) => {
                let fields = find(root, "/etc/group", group)?;
                fields
                    .get(2)
                    .and_then(|field| field.parse().ok())
                    .ok_or_else(|| unknown(group, "/etc/group"))?
            }
        },
    };
    Ok((uid, gid))
}

fn unknown(name: &str, file: &'static str) -> Problem {
    Problem::UnknownUser { name: name.to_owned(), file }
}

fn find(root: &Root, file: &'static str, name: &str) -> Result<Vec<String>, Problem> {
    let mut bytes = Vec::new();
    if root.metadata(Path::new(file)).map_err(Problem::io("read", file))?.is_some() {
        let opened = root.open_file(file).map_err(Problem::io("read", file))?;
        opened.take(MAX_FILE).read_to_end(&mut bytes).map_err(Problem::io("read", file))?;
    }
    let text = String::from_utf8_lossy(&bytes);
    text.lines()
        .map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>())
        .find(|fields| fields.first().is_some_and(|first| first == name))
        .ok_or_else(|| unknown(name, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("etc")).unwrap();
        fs_err::write(dir.path().join("etc/passwd"), "root:x:0:0::/:\nweb:x:33:34::/:\nbroken:x\n").unwrap();
        fs_err::write(dir.path().join("etc/group"), "root:x:0:\nstaff:x:50:\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        for (name, text, want) in [
            ("name", "web", Some((33, 34))),
            ("name and group", "web:staff", Some((33, 50))),
            ("number", "1000", Some((1000, 1000))),
            ("numbers", "1:2", Some((1, 2))),
            ("name and an empty group", "web:", Some((33, 0))),
            ("number and an empty group", "1000:", Some((1000, 0))),
            ("only a group", ":staff", Some((0, 50))),
            ("root's own name", "root:root", Some((0, 0))),
            ("no such user", "nosuch", None),
            ("no such group", "web:nosuch", None),
            ("broken line", "broken", None),
            ("negative", "-1", None),
            ("the largest", "4294967294:4294967294", Some((u32::MAX - 1, u32::MAX - 1))),
            ("what is nobody's", "4294967295", None),
            ("what is no group's", "1:4294967295", None),
        ] {
            assert_eq!(resolve_owner(&root, text).ok(), want, "case {name}");
        }
        fs_err::remove_dir_all(dir.path().join("etc")).unwrap();
        assert_eq!(resolve_owner(&root, "root:root").ok(), Some((0, 0)));
        assert!(resolve_owner(&root, "web").is_err());
    }
}
