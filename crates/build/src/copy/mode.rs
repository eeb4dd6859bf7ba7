//! `--chmod`: octal, or symbolic as chmod(1) takes it.

use std::iter::Peekable;
use std::str::Chars;

use crate::Problem;

/// A change of permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModeChange {
    /// These bits.
    Octal(u32),
    /// `u=rwX,go=rX`, as what is done one after another.
    Symbolic(Vec<Change>),
}

/// One change of some bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Add(u32),
    Remove(u32),
    /// `X`: adds execution to directories, and to what was executable before all changes.
    AddExecution(u32),
    /// `g=u`: the permissions of one class, of which `shift` are the bits on their right, for others.
    Copy {
        shift: u32,
        to: u32,
        op: Op,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Add,
    Remove,
    Set,
}

/// Permissions of all classes.
const ALL: u32 = 0o777;
const OTHERS: u32 = 0o007;
const SET_ID: u32 = 0o6000;
const STICKY: u32 = 0o1000;

impl ModeChange {
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let bad = || {
            Problem::invalid(format!("--chmod: `{text}` is neither octal from 0 to 7777 nor as in chmod(1)"))
        };
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return u32::from_str_radix(text, 8)
                .ok()
                .filter(|mode| *mode <= 0o7777)
                .map(Self::Octal)
                .ok_or_else(bad);
        }
        let mut changes = Vec::new();
        for clause in text.split(',') {
            let mut rest = clause.chars().peekable();
            let mut who = 0;
            while let Some(c) = rest.next_if(|c| "ugoa".contains(*c)) {
                who |= match c {
                    'u' => 0o4700,
                    'g' => 0o2070,
                    'o' => OTHERS,
                    _ => SET_ID | ALL,
                };
            }
            rest.peek().ok_or_else(bad)?;
            while let Some(c) = rest.next() {
                let op = match c {
                    '+' => Op::Add,
                    '-' => Op::Remove,
                    '=' => Op::Set,
                    _ => return Err(bad()),
                };
                part(&mut rest, who, op, &mut changes);
            }
        }
        Ok(Self::Symbolic(changes))
    }

    /// Returns the bits of an octal change.
    pub(crate) fn octal(&self) -> Option<u32> {
        match self {
            Self::Octal(mode) => Some(*mode),
            Self::Symbolic(_) => None,
        }
    }

    /// Returns the permissions after the change.
    pub(crate) fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        let before = mode & 0o7777;
        let runs = is_directory || before & 0o111 != 0;
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(changes) => changes.iter().fold(before, |mode, change| change.apply(mode, runs)),
        }
    }
}

/// Reads what follows an operator, up to the next one; `who` is 0 where nobody is named. Compat: setmode(3) of the BSDs, which BuildKit
/// follows: `=` clears the set-id bits of whom it names, and the sticky bit is not there for others alone.
fn part(rest: &mut Peekable<Chars<'_>>, who: u32, op: Op, changes: &mut Vec<Change>) {
    let is_others = who == OTHERS;
    let (mut concerned, mut permissions, mut execution, mut copies) = (who, 0, 0, Vec::new());
    while let Some(c) = rest.next_if(|c| "rwxXstugo".contains(*c)) {
        match c {
            'r' => permissions |= 0o444,
            'w' => permissions |= 0o222,
            'X' if op != Op::Remove => execution = 0o111,
            'x' | 'X' => permissions |= 0o111,
            's' if !is_others => permissions |= SET_ID,
            't' if !is_others => {
                permissions |= STICKY;
                concerned |= if who == 0 { 0 } else { STICKY };
            }
            's' | 't' => {}
            class => {
                let shift = match class {
                    'u' => 6,
                    'g' => 3,
                    _ => 0,
                };
                let to = if who == 0 { ALL } else { who & ALL };
                copies.push(Change::Copy { shift, to, op });
            }
        }
    }
    let of = |bits: u32| if who == 0 { bits } else { bits & concerned };
    match op {
        Op::Set if permissions != 0 || copies.is_empty() => {
            let cleared = if who == 0 { SET_ID | ALL } else { concerned };
            changes.extend([Change::Remove(cleared), Change::Add(of(permissions))]);
        }
        Op::Remove => changes.push(Change::Remove(of(permissions))),
        Op::Add | Op::Set => changes.push(Change::Add(of(permissions))),
    }
    changes.extend((execution != 0).then(|| Change::AddExecution(of(execution))));
    changes.append(&mut copies);
}

impl Change {
    fn apply(self, mode: u32, runs: bool) -> u32 {
        match self {
            Self::Add(bits) => mode | bits,
            Self::Remove(bits) => mode & !bits,
            Self::AddExecution(bits) => mode | if runs { bits } else { 0 },
            Self::Copy { shift, to, op } => {
                let copied = (((mode >> shift) & 7) * 0o111) & to;
                match op {
                    Op::Add => mode | copied,
                    Op::Remove => mode & !copied,
                    Op::Set => mode & !to | copied,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_change_as_chmod_does() {
        for (name, text, mode, directory, want) in [
            ("octal", "755", 0o644, false, Some(0o755)),
            ("octal with set-uid", "4755", 0, false, Some(0o4755)),
            ("add", "+x", 0o644, false, Some(0o755)),
            ("remove", "go-rwx", 0o777, false, Some(0o700)),
            ("set", "u=rw,go=r", 0o777, false, Some(0o644)),
            ("conditional file", "a=rX", 0o644, false, Some(0o444)),
            ("conditional executable", "a=rX", 0o744, false, Some(0o555)),
            ("conditional directory", "u=rwX,go=rX", 0o600, true, Some(0o755)),
            ("two in one clause", "u+x-w", 0o644, false, Some(0o544)),
            ("set-uid", "u+s", 0o755, false, Some(0o4755)),
            ("sticky", "+t", 0o755, true, Some(0o1755)),
            ("sticky for others alone", "o+t", 0o755, true, Some(0o755)),
            ("sticky for all", "a+t", 0o755, true, Some(0o1755)),
            ("set-id goes with whom is set", "u=rw,g=r", 0o6755, false, Some(0o645)),
            ("set-id stays for others", "o=", 0o6755, false, Some(0o6750)),
            ("a class as another", "g=u,o=g-w", 0o640, false, Some(0o664)),
            ("a class added and removed", "o+u,g-o", 0o750, false, Some(0o707)),
            ("execution as it was", "a-x,a+X", 0o755, false, Some(0o755)),
            ("execution taken", "a-X", 0o755, false, Some(0o644)),
            ("nothing added", "u+", 0o755, false, Some(0o755)),
            ("a comma too many", "u+x,", 0, false, None),
            ("too large", "17777", 0, false, None),
            ("not octal", "789", 0, false, None),
            ("word", "rwx", 0, false, None),
            ("unknown who", "z+x", 0, false, None),
            ("unknown permission", "u+q", 0, false, None),
            ("empty", "", 0, false, None),
        ] {
            let got = ModeChange::parse(text).ok().map(|change| change.apply(mode, directory));
            assert_eq!(got, want, "case {name}");
        }
    }
}
