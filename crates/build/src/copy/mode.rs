//! `--chmod`: octal, or symbolic as chmod(1) takes it.

use crate::Problem;

/// A change of permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModeChange {
    /// These bits.
    Octal(u32),
    /// `u=rwX,go=rX`
    Symbolic(Vec<Clause>),
}

/// `who op permissions`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clause {
    /// Bits of the owner, the group and others that are concerned.
    who: u32,
    op: Op,
    /// `r`, `w`, `x` as 4, 2, 1.
    permissions: u32,
    /// `X`: execution for directories and what is executable already.
    conditional: bool,
    set_id: bool,
    sticky: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Add,
    Remove,
    Set,
}

const USER: u32 = 0o700;
const GROUP: u32 = 0o070;
const OTHERS: u32 = 0o007;

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
        let mut clauses = Vec::new();
        for clause in text.split(',') {
            let at = clause.find(['+', '-', '=']).ok_or_else(bad)?;
            let mut who = 0;
            for c in clause[..at].chars() {
                who |= match c {
                    'u' => USER,
                    'g' => GROUP,
                    'o' => OTHERS,
                    'a' => USER | GROUP | OTHERS,
                    _ => return Err(bad()),
                };
            }
            let who = if who == 0 { USER | GROUP | OTHERS } else { who };
            for c in clause[at..].chars() {
                let op = match c {
                    '+' => Op::Add,
                    '-' => Op::Remove,
                    '=' => Op::Set,
                    _ => {
                        let last: &mut Clause = clauses.last_mut().ok_or_else(bad)?;
                        match c {
                            'r' => last.permissions |= 4,
                            'w' => last.permissions |= 2,
                            'x' => last.permissions |= 1,
                            'X' => last.conditional = true,
                            's' => last.set_id = true,
                            't' => last.sticky = true,
                            _ => return Err(bad()),
                        }
                        continue;
                    }
                };
                clauses.push(Clause {
                    who,
                    op,
                    permissions: 0,
                    conditional: false,
                    set_id: false,
                    sticky: false,
                });
            }
        }
        Ok(Self::Symbolic(clauses))
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
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(clauses) => {
                clauses.iter().fold(mode & 0o7777, |mode, clause| clause.apply(mode, is_directory))
            }
        }
    }
}

impl Clause {
    fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        let executable = self.conditional && (is_directory || mode & 0o111 != 0);
        let permissions = self.permissions | u32::from(executable);
        let mut bits = (permissions * 0o111) & self.who;
        if self.set_id {
            bits |= if self.who & USER != 0 { 0o4000 } else { 0 };
            bits |= if self.who & GROUP != 0 { 0o2000 } else { 0 };
        }
        if self.sticky {
            bits |= 0o1000;
        }
        match self.op {
            Op::Add => mode | bits,
            Op::Remove => mode & !bits,
            Op::Set => (mode & !self.who) | bits,
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
