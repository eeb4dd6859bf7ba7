//! A step runner for tests: `chroot` in namespaces of its own, where the product has real containers.

use std::io::{Read as _, Write};
use std::process::{Command, Stdio};

use shipway_bootstrap::{Step, StepRunner};

#[derive(Debug)]
pub(crate) struct Chroot;

/// Mounts live in the mount namespace and end with it.
const ENTER: &str = "set -e; root=$1; shift
mount --make-rprivate /
mount --bind \"$root\" \"$root\"
mount -t proc proc \"$root/proc\"
mount -t tmpfs tmpfs \"$root/dev\"
for node in 'null 1 3' 'zero 1 5' 'full 1 7' 'random 1 8' 'urandom 1 9' 'tty 5 0'; do
  set -- $node -- \"$@\"; mknod -m 666 \"$root/dev/$1\" c $2 $3; shift 4
done
ln -s /proc/self/fd \"$root/dev/fd\"
exec chroot \"$root\" \"$@\"";

impl StepRunner for Chroot {
    fn run(
        &self,
        step: &Step<'_>,
        output: &mut dyn Write,
    ) -> Result<i32, Box<dyn miette::Diagnostic + Send + Sync>> {
        let env = step.env.iter().filter_map(|pair| pair.split_once('='));
        let mut child = Command::new("unshare")
            .args(["--mount", "--pid", "--net", "--fork", "--kill-child", "/bin/sh", "-c", ENTER, "enter"])
            .arg(step.upper)
            .args(["/bin/sh", "-c", "exec 2>&1; exec \"$@\"", "step"])
            .args(step.args)
            .env_clear()
            .envs(env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut buffer = [0; 4096];
        loop {
            let read = stdout.read(&mut buffer).unwrap();
            if read == 0 {
                break;
            }
            output.write_all(&buffer[..read]).unwrap();
        }
        Ok(child.wait().unwrap().code().unwrap_or(-1))
    }
}
