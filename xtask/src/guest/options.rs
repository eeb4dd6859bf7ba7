//! What a guest is made of: flags, and variables in their place.

use std::path::PathBuf;

use anyhow::{Context as _, bail};

const USAGE: &str = "\
usage: cargo xtask guest --kernel FILE --modules DIR [--program FILE] [--qemu PROGRAM] [--busybox FILE]
                         [--add HOST=GUEST]... [--test NAME=FILE]... [--only TEXT]";

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    /// The kernel's image; `SHIPWAY_GUEST_KERNEL`.
    pub(crate) kernel: PathBuf,
    /// Where its modules lie, at any depth; `SHIPWAY_GUEST_MODULES`.
    pub(crate) modules: PathBuf,
    /// Our program, statically linked; `SHIPWAY_GUEST_PROGRAM`.
    pub(crate) program: PathBuf,
    /// `SHIPWAY_GUEST_QEMU`; `qemu-system-x86_64` if not given.
    pub(crate) qemu: String,
    /// A static busybox; `/bin/busybox` if not given.
    pub(crate) busybox: PathBuf,
    /// Further files: where they are here, and where in the guest.
    pub(crate) add: Vec<(PathBuf, String)>,
    /// Compiled tests with names for them; they run one after the other beside the checks.
    pub(crate) tests: Vec<(String, PathBuf)>,
    /// Only checks whose names contain this.
    pub(crate) only: String,
}

impl Options {
    /// Parses the arguments after `guest`.
    pub(crate) fn parse(arguments: &[String]) -> anyhow::Result<Self> {
        let variable = |name: &str| std::env::var(format!("SHIPWAY_GUEST_{name}")).ok();
        let (mut kernel, mut modules) = (variable("KERNEL"), variable("MODULES"));
        let (mut program, mut qemu, mut busybox) = (variable("PROGRAM"), variable("QEMU"), None);
        let (mut add, mut tests, mut only) = (Vec::new(), Vec::new(), String::new());
        let mut arguments = arguments.iter();
        while let Some(flag) = arguments.next() {
            let value = arguments.next().cloned().with_context(|| format!("`{flag}`: no value\n{USAGE}"))?;
            match flag.as_str() {
                "--kernel" => kernel = Some(value),
                "--modules" => modules = Some(value),
                "--program" => program = Some(value),
                "--qemu" => qemu = Some(value),
                "--busybox" => busybox = Some(value),
                "--add" => {
                    let (host, guest) = value.split_once('=').context("`--add` wants HOST=GUEST")?;
                    add.push((PathBuf::from(host), guest.to_owned()));
                }
                "--test" => {
                    let (name, file) = value.split_once('=').context("`--test` wants NAME=FILE")?;
                    tests.push((name.to_owned(), PathBuf::from(file)));
                }
                "--only" => only = value,
                other => bail!("unknown flag `{other}`\n{USAGE}"),
            }
        }
        Ok(Self {
            kernel: kernel.with_context(|| format!("no kernel is named\n{USAGE}"))?.into(),
            modules: modules.with_context(|| format!("no modules are named\n{USAGE}"))?.into(),
            program: program.with_context(|| format!("no program is named\n{USAGE}"))?.into(),
            qemu: qemu.unwrap_or_else(|| "qemu-system-x86_64".to_owned()),
            busybox: busybox.unwrap_or_else(|| "/bin/busybox".to_owned()).into(),
            add,
            tests,
            only,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Options> {
        Options::parse(&text.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_guest_needs_a_kernel_its_modules_and_a_program() {
        let options = parse("--kernel k --modules m --program p --add a=/b --only run").unwrap();
        assert_eq!(options.add, [(PathBuf::from("a"), "/b".to_owned())]);
        assert_eq!((options.only.as_str(), options.qemu.as_str()), ("run", "qemu-system-x86_64"));
        for wrong in ["--kernel", "--colour red", "--add nowhere"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
