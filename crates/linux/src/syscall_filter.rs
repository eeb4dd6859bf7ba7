//! Which system calls a program may make: rules, compiled to a seccomp filter.
//!
//! The filter first looks at the architecture, then finds the call's number in a tree of ranges: a dozen comparisons for
//! any call. What no rule allows fails with the errno that the caller chose; a number that is newer than our tables fails with
//! `ENOSYS`, so that programs fall back to what they used before; another architecture ends the process.
//!
//! Conditions look at the low 32 bits of an argument: that is all the kernel looks at for the arguments that have rules.

mod numbers;

use std::collections::BTreeMap;
use std::io;

/// What is done about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterAction {
    /// It is made.
    Allow,
    /// It fails with this errno.
    Fail(u16),
}

/// A condition on an argument of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentTest {
    /// It is this.
    Equals(u32),
    /// It is smaller.
    Below(u32),
    /// It is larger.
    Above(u32),
    /// None of these bits is set.
    NoneOf(u32),
}

/// What is done about some calls. Of several rules for a call the first that applies counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterRule<'a> {
    /// Names, separated by white space; those that an architecture lacks are skipped.
    pub calls: &'a str,
    /// Number of an argument, from 0, and its condition.
    pub when: Option<(u8, ArgumentTest)>,
    /// What is done.
    pub action: FilterAction,
}

/// A compiled filter.
#[derive(Clone, Debug)]
pub struct SyscallFilter {
    program: Vec<libc::sock_filter>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Always(FilterAction),
    /// The first that applies, else the default.
    Depends(Vec<(u8, ArgumentTest, FilterAction)>),
}

// Spec: `struct seccomp_data`: number at 0, architecture at 4, arguments of 64 bits from 16. Little-endian only.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: [(u32, &str); 2] = [(0xc000_003e, numbers::NATIVE), (0x4000_0003, numbers::COMPATIBLE)];
#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: [(u32, &str); 2] = [(0xc000_00b7, numbers::NATIVE), (0x4000_0028, numbers::COMPATIBLE)];

const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const JUMP_IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const RETURN_ALLOW: u32 = 0x7fff_0000;
const RETURN_ERRNO: u32 = 0x0005_0000;
const RETURN_KILL_PROCESS: u32 = 0x8000_0000;

impl SyscallFilter {
    /// Compiles rules; a call without one fails with `errno`.
    pub fn compile(rules: &[FilterRule<'_>], errno: u16) -> Self {
        let mut program = vec![plain(LOAD, ARCHITECTURE_AT)];
        for (architecture, table) in ARCHITECTURES {
            let tree = tree(&segments(rules, table, errno), errno);
            let length = u32::try_from(tree.len() + 1).expect("a few hundred instructions");
            // Matching skips the long jump over the tree.
            program.push(branch(JUMP_IF_EQUAL, architecture, 1, 0));
            program.push(plain(JUMP, length));
            program.push(plain(LOAD, NUMBER_AT));
            program.extend(tree);
        }
        program.push(plain(RETURN, RETURN_KILL_PROCESS));
        Self { program }
    }

    /// Puts the filter on this process, for ever and for all its children. Allocates nothing.
    ///
    /// Needs `CAP_SYS_ADMIN` or [`no_new_privileges`](crate::no_new_privileges).
    pub fn load(&self) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: u16::try_from(self.program.len()).map_err(io::Error::other)?,
            filter: self.program.as_ptr().cast_mut(),
        };
        // SAFETY: the kernel copies the program, which lives through the call and whose length is given.
        let done = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
                &raw const program,
            )
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Returns ranges of numbers, each with its first number, that together cover all numbers.
fn segments(rules: &[FilterRule<'_>], table: &str, errno: u16) -> Vec<(u32, Verdict)> {
    let pairs = table.split_whitespace().filter_map(|pair| pair.split_once(':'));
    let known: BTreeMap<&str, u32> =
        pairs.filter_map(|(number, name)| Some((name, number.parse().ok()?))).collect();
    let mut verdicts: BTreeMap<u32, Verdict> = BTreeMap::new();
    for rule in rules {
        for number in rule.calls.split_whitespace().filter_map(|name| known.get(name)) {
            add(verdicts.entry(*number).or_insert_with(|| Verdict::Depends(Vec::new())), rule);
        }
    }
    let default = Verdict::Always(FilterAction::Fail(errno));
    let end = known.values().max().map_or(0, |last| last + 1);
    let mut segments: Vec<(u32, Verdict)> = Vec::new();
    let newer = Verdict::Always(FilterAction::Fail(ENOSYS));
    let numbers = (0..end).map(|number| (number, verdicts.get(&number).unwrap_or(&default)));
    for (number, verdict) in numbers.chain([(end, &newer)]) {
        if segments.last().is_none_or(|(_, last)| last != verdict) {
            segments.push((number, verdict.clone()));
        }
    }
    segments
}

const ENOSYS: u16 = 38;

fn add(verdict: &mut Verdict, rule: &FilterRule<'_>) {
    // An earlier rule without a condition leaves nothing to decide.
    let Verdict::Depends(cases) = verdict else { return };
    match rule.when {
        Some((argument, test)) => cases.push((argument, test, rule.action)),
        None if cases.is_empty() => *verdict = Verdict::Always(rule.action),
        None => cases.push((0, ArgumentTest::NoneOf(0), rule.action)),
    }
}

/// Finds the segment of the number in the accumulator.
fn tree(segments: &[(u32, Verdict)], errno: u16) -> Vec<libc::sock_filter> {
    match segments {
        [] => vec![answer(FilterAction::Fail(errno))],
        [(_, verdict)] => leaf(verdict, errno),
        _ => {
            let (low, high) = segments.split_at(segments.len() / 2);
            let middle = high[0].0;
            let (low, high) = (tree(low, errno), tree(high, errno));
            let mut program = match u8::try_from(low.len()) {
                Ok(distance) => vec![branch(JUMP_IF_AT_LEAST, middle, distance, 0)],
                Err(_too_far) => {
                    let distance = u32::try_from(low.len()).expect("a few hundred instructions");
                    vec![branch(JUMP_IF_AT_LEAST, middle, 0, 1), plain(JUMP, distance)]
                }
            };
            program.extend(low);
            program.extend(high);
            program
        }
    }
}

fn leaf(verdict: &Verdict, errno: u16) -> Vec<libc::sock_filter> {
    let cases = match verdict {
        Verdict::Always(action) => return vec![answer(*action)],
        Verdict::Depends(cases) => cases,
    };
    let mut program = Vec::new();
    for (argument, test, action) in cases {
        program.push(plain(LOAD, ARGUMENTS_AT + 8 * u32::from(*argument)));
        // To the answer that follows, or over it to the next case.
        program.push(match *test {
            ArgumentTest::Equals(value) => branch(JUMP_IF_EQUAL, value, 0, 1),
            ArgumentTest::Below(value) => branch(JUMP_IF_AT_LEAST, value, 1, 0),
            ArgumentTest::Above(value) => branch(JUMP_IF_GREATER, value, 0, 1),
            ArgumentTest::NoneOf(bits) => branch(JUMP_IF_ANY_BIT, bits, 1, 0),
        });
        program.push(answer(*action));
    }
    program.push(answer(FilterAction::Fail(errno)));
    program
}

fn answer(action: FilterAction) -> libc::sock_filter {
    plain(
        RETURN,
        match action {
            FilterAction::Allow => RETURN_ALLOW,
            FilterAction::Fail(errno) => RETURN_ERRNO | u32::from(errno),
        },
    )
}

fn plain(code: u16, value: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: 0, k: value }
}

fn branch(code: u16, value: u32, yes: u8, no: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt: yes, jf: no, k: value }
}

#[cfg(test)]
mod tests;
