//! Which devices a cgroup of version 2 may use: a small BPF program at the cgroup.
//!
//! Instruction set: `Documentation/bpf/standardization/instruction-set.rst`; context: `struct bpf_cgroup_dev_ctx`.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};

/// One line of `devices.allow`, parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    /// 1 for block, 2 for character devices.
    kind: i32,
    /// 1 to make a node, 2 to read, 4 to write.
    access: i32,
    major: Option<i32>,
    minor: Option<i32>,
}

const ALL_ACCESS: i32 = 7;

impl Rule {
    /// Parses `c 1:3 rwm`, `b *:* m`.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let kind = match words.next()? {
            "b" => 1,
            "c" => 2,
            _ => return None,
        };
        let (major, minor) = words.next()?.split_once(':')?;
        let number = |text: &str| match text {
            "*" => Some(None),
            digits => digits.parse().ok().map(Some),
        };
        let bit = |letter| match letter {
            'm' => Some(1),
            'r' => Some(2),
            'w' => Some(4),
            _ => None,
        };
        let access = words.next()?.chars().try_fold(0, |bits, letter| Some(bits | bit(letter)?))?;
        Some(Self { kind, access, major: number(major)?, minor: number(minor)? })
    }
}

/// One instruction: operation, registers (low half destination), jump offset, constant.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    constant: i32,
}

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xbf;
const MOVE_CONSTANT: u8 = 0xb7;
const AND_CONSTANT: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_UNLESS_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const ACCESS: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

fn instruction(code: u8, destination: u8, source: u8, constant: i32) -> Instruction {
    Instruction { code, registers: destination | (source << 4), offset: 0, constant }
}

fn load(destination: u8, at: i16) -> Instruction {
    Instruction { offset: at, ..instruction(LOAD_WORD, destination, CONTEXT, 0) }
}

/// Everything that no rule allows is refused.
fn compile(rules: &[Rule]) -> Vec<Instruction> {
    let mut program = vec![
        load(ACCESS, 0),
        instruction(MOVE, KIND, ACCESS, 0),
        instruction(AND_CONSTANT, KIND, 0, 0xffff),
        instruction(SHIFT_RIGHT, ACCESS, 0, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules {
        let mut block = vec![instruction(JUMP_UNLESS_EQUAL, KIND, 0, rule.kind)];
        if rule.access != ALL_ACCESS {
            block.push(instruction(MOVE, SCRATCH, ACCESS, 0));
            block.push(instruction(AND_CONSTANT, SCRATCH, 0, ALL_ACCESS & !rule.access));
            block.push(instruction(JUMP_UNLESS_EQUAL, SCRATCH, 0, 0));
        }
        for (register, number) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
            block.extend(number.map(|number| instruction(JUMP_UNLESS_EQUAL, register, 0, number)));
        }
        block.push(instruction(MOVE_CONSTANT, RESULT, 0, 1));
        block.push(instruction(EXIT, 0, 0, 0));
        let length = block.len();
        for (at, line) in block.iter_mut().enumerate() {
            if line.code == JUMP_UNLESS_EQUAL {
                line.offset = i16::try_from(length - at - 1).expect("a block has at most eight instructions");
            }
        }
        program.extend(block);
    }
    program.push(instruction(MOVE_CONSTANT, RESULT, 0, 0));
    program.push(instruction(EXIT, 0, 0, 0));
    program
}

/// Lets the processes of the cgroup at `dir` use only the devices allowed by `rules` (as in `devices.allow`).
///
/// The kernel removes the program with the cgroup.
pub(crate) fn attach(dir: &Path, rules: &[&str]) -> io::Result<()> {
    let rules = rules.iter().map(|text| {
        Rule::parse(text)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("`{text}` is no device rule")))
    });
    let program = load_program(&compile(&rules.collect::<Result<Vec<_>, _>>()?))?;
    let cgroup = open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    attach_program(cgroup.as_raw_fd(), program.as_raw_fd())
}

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

fn load_program(program: &[Instruction]) -> io::Result<OwnedFd> {
    /// The first fields of `union bpf_attr` for loading; the rest is zero.
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
    }
    let attributes = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: u32::try_from(program.len()).expect("a few instructions for each rule"),
        instructions: program.as_ptr() as u64,
        license: c"Apache".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the structure and what it points to live through the call, and its size is given.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attributes, size_of::<Load>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn attach_program(cgroup: RawFd, program: RawFd) -> io::Result<()> {
    /// The first fields of `union bpf_attr` for attaching; the rest is zero.
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
    }
    let attributes = Attach {
        target: cgroup.cast_unsigned(),
        program: program.cast_unsigned(),
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: the structure lives through the call, and its size is given.
    let done =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attributes, size_of::<Attach>()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shipway_testkit::{Need, require};

    #[test]
    fn rules_are_read_as_the_kernel_writes_them() {
        let rule = Rule { kind: 2, access: 7, major: Some(136), minor: None };
        assert_eq!(Rule::parse("c 136:* rwm"), Some(rule));
        assert_eq!(Rule::parse("b *:* m"), Some(Rule { kind: 1, access: 1, major: None, minor: None }));
        for wrong in ["", "a *:* rwm", "c 1 rwm", "c x:1 r", "c 1:1 z", "c 1:1"] {
            assert_eq!(Rule::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_jump_ends_at_the_next_rule() {
        let rules = [Rule::parse("c 1:3 rwm").unwrap(), Rule::parse("b *:* m").unwrap()];
        let program = compile(&rules);
        let starts = [6, 11, 17];
        for (at, line) in program.iter().enumerate().filter(|(_, line)| line.code == JUMP_UNLESS_EQUAL) {
            let target = at + 1 + usize::try_from(line.offset).unwrap();
            assert!(starts.contains(&target), "instruction {at} jumps to {target}");
        }
    }

    /// Removes its cgroup, with whatever happens in the test.
    struct Group(std::path::PathBuf);

    impl Drop for Group {
        fn drop(&mut self) {
            drop(fs_err::remove_dir(&self.0));
        }
    }

    #[test]
    fn a_group_opens_the_allowed_devices_and_no_other() {
        let root = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
            .map(Path::new)
            .into_iter()
            .find(|dir| dir.join("cgroup.controllers").exists());
        let Some(root) = root.filter(|_| require(&[Need::Root])) else { return };
        let group = Group(root.join(format!("shipway-test-devices-{}", std::process::id())));
        fs_err::create_dir(&group.0).unwrap();
        attach(&group.0, &["c 1:3 rwm", "c 1:5 r", "b *:* m"]).unwrap();
        // A shell enters the group and tries: reading null and zero is allowed, writing zero and reading random is not.
        let script = format!(
            "echo $$ > {}/cgroup.procs; \
             for file in null zero urandom; do (: < /dev/$file) 2>/dev/null; echo -n $?; done; \
             for file in null zero; do (: > /dev/$file) 2>/dev/null; echo -n $?; done",
            group.0.display()
        );
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let codes: String = String::from_utf8(output.stdout).unwrap();
        assert!(
            codes.chars().zip("00101".chars()).all(|(got, want)| (got == '0') == (want == '0')),
            "{codes}"
        );
        assert_eq!(codes.len(), 5);
    }
}
