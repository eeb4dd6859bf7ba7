use super::*;

const EPERM: u16 = 1;
const RULES: [FilterRule<'_>; 6] = [
    FilterRule {
        calls: "read write no_such_call openat exit_group",
        when: None,
        action: FilterAction::Allow,
    },
    FilterRule { calls: "socket", when: Some((0, ArgumentTest::Below(38))), action: FilterAction::Allow },
    FilterRule { calls: "socket", when: Some((0, ArgumentTest::Equals(39))), action: FilterAction::Allow },
    FilterRule { calls: "socket", when: Some((0, ArgumentTest::Above(40))), action: FilterAction::Allow },
    FilterRule {
        calls: "clone",
        when: Some((0, ArgumentTest::NoneOf(0x7e02_0000))),
        action: FilterAction::Allow,
    },
    FilterRule { calls: "clone3", when: None, action: FilterAction::Fail(ENOSYS) },
];

/// The kernel's interpreter of the instructions that we use.
fn run(program: &[libc::sock_filter], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut accumulator = 0_u32;
    let mut at = 0;
    loop {
        let line = program[at];
        at += 1;
        let yes = match line.code {
            LOAD => {
                accumulator = match line.k {
                    NUMBER_AT => number,
                    ARCHITECTURE_AT => architecture,
                    place => {
                        let argument = arguments[usize::try_from((place - ARGUMENTS_AT) / 8).unwrap()];
                        u32::try_from(argument & 0xffff_ffff).unwrap()
                    }
                };
                continue;
            }
            JUMP => {
                at += usize::try_from(line.k).unwrap();
                continue;
            }
            RETURN => return line.k,
            JUMP_IF_EQUAL => accumulator == line.k,
            JUMP_IF_GREATER => accumulator > line.k,
            JUMP_IF_AT_LEAST => accumulator >= line.k,
            JUMP_IF_ANY_BIT => accumulator & line.k != 0,
            code => panic!("instruction {code:#x}"),
        };
        at += usize::from(if yes { line.jt } else { line.jf });
    }
}

fn number_of(table: &str, wanted: &str) -> Option<u32> {
    let pairs = table.split_whitespace().filter_map(|pair| pair.split_once(':'));
    pairs.filter(|(_, name)| *name == wanted).find_map(|(number, _)| number.parse().ok())
}

#[test]
fn every_number_gets_the_verdict_of_its_rules() {
    let filter = SyscallFilter::compile(&RULES, EPERM);
    for (architecture, table) in ARCHITECTURES {
        let last =
            table.split_whitespace().filter_map(|pair| pair.split(':').next()?.parse::<u32>().ok()).max();
        let [clone3, socket, clone] = ["clone3", "socket", "clone"].map(|name| number_of(table, name));
        let plain = ["read", "write", "openat", "exit_group"].map(|name| number_of(table, name));
        for number in 0..1000_u32 {
            for argument in [0, 2, 16, 37, 38, 39, 40, 41, 0x1_0000_0026, 0x1000_0000, 0x0001_0011] {
                let low = u32::try_from(argument & 0xffff_ffff).unwrap();
                let is = |call| call == Some(number);
                let want = if last.is_none_or(|last| number > last) || is(clone3) {
                    RETURN_ERRNO | u32::from(ENOSYS)
                } else if plain.into_iter().any(is)
                    || is(socket) && (low < 38 || low == 39 || low > 40)
                    || is(clone) && low & 0x7e02_0000 == 0
                {
                    RETURN_ALLOW
                } else {
                    RETURN_ERRNO | u32::from(EPERM)
                };
                let got = run(&filter.program, architecture, number, [argument, 9, 9, 9, 9, 9]);
                assert_eq!(got, want, "call {number} of {architecture:#x} with {argument:#x}");
            }
        }
    }
    assert_eq!(run(&filter.program, 0x1234, 0, [0; 6]), RETURN_KILL_PROCESS);
}

#[test]
fn the_tables_agree_with_the_c_librarys() {
    for (name, number) in [
        ("read", libc::SYS_read),
        ("openat", libc::SYS_openat),
        ("newfstatat", libc::SYS_newfstatat),
        ("mmap", libc::SYS_mmap),
        ("clone3", libc::SYS_clone3),
        ("mseal", libc::SYS_mseal),
        ("seccomp", libc::SYS_seccomp),
        ("execve", libc::SYS_execve),
    ] {
        assert_eq!(number_of(numbers::NATIVE, name).map(i64::from), Some(number), "{name}");
    }
}
