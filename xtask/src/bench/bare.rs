//! The commands of a Dockerfile without a builder: what no builder can take less than.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail};

use super::program;

/// The path that Docker gives a command whose image names none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a Dockerfile has done, as far as commands see it.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// A line for the shell, the directory that it runs in and the settings that it has.
    Run { line: String, dir: String, settings: Vec<String> },
    /// A file or directory of the context and where it goes.
    Copy { source: String, to: PathBuf },
}

/// A root file system on a tmpfs, which goes with the value.
#[derive(Debug)]
struct Root(PathBuf);

impl Root {
    /// Mounts one at `dir` and unpacks an archive into it.
    fn unpacked(archive: &Path, dir: &Path) -> anyhow::Result<Self> {
        fs_err::create_dir_all(dir)?;
        let mount = |options: &[&str], at: &Path| {
            program::output(Command::new("mount").args(options).arg(at)).map(drop)
        };
        mount(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], dir)?;
        let root = Self(dir.to_owned());
        program::output(Command::new("tar").arg("-C").arg(dir).arg("-xpf").arg(archive))?;
        mount(&["-t", "proc", "proc"], &dir.join("proc"))?;
        mount(&["--rbind", "--make-rslave", "/dev"], &dir.join("dev"))?;
        let names = dir.join("etc/resolv.conf");
        drop(fs_err::remove_file(&names));
        fs_err::copy("/etc/resolv.conf", names)?;
        Ok(root)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        drop(Command::new("umount").args(["--recursive", "--lazy"]).arg(&self.0).status());
    }
}

/// Runs the commands of the Dockerfile in `context` one after another by chroot(8), on the files of `base`, and returns the seconds
/// that they took; `dir` is where the root is mounted meanwhile.
pub(crate) fn time(context: &Path, base: &Path, dir: &Path) -> anyhow::Result<f64> {
    let steps = steps(&fs_err::read_to_string(context.join("Dockerfile"))?)?;
    let root = Root::unpacked(base, dir)?;
    let mut seconds = 0.0;
    for step in steps {
        match step {
            Step::Run { line, dir, settings } => {
                fs_err::create_dir_all(inside(&root.0, Path::new(&dir)))?;
                let mut command = Command::new("chroot");
                command.arg(&root.0).args(["env", "-i", "-C", &dir, PATH, "HOME=/root"]);
                command.args(settings).args(["sh", "-c", &line]);
                let begin = Instant::now();
                program::output(&mut command)?;
                seconds += begin.elapsed().as_secs_f64();
            }
            Step::Copy { source, to } => {
                let to = inside(&root.0, &to);
                fs_err::create_dir_all(to.parent().context("a copy to the root")?)?;
                program::output(Command::new("cp").arg("-rT").arg(context.join(source)).arg(&to))?;
            }
        }
    }
    Ok(seconds)
}

/// Returns where a path of the image is.
fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Reads a Dockerfile of one stage with the few forms that the examples have.
fn steps(dockerfile: &str) -> anyhow::Result<Vec<Step>> {
    let mut steps = Vec::new();
    let (mut dir, mut settings) = ("/".to_owned(), Vec::new());
    let joined = dockerfile.replace("\\\n", " ");
    for line in joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, rest) = line.split_once(' ').with_context(|| format!("`{line}` has nothing behind it"))?;
        match name {
            "RUN" => {
                let (line, dir, settings) = (rest.to_owned(), dir.clone(), settings.clone());
                steps.push(Step::Run { line, dir, settings });
            }
            "WORKDIR" => rest.clone_into(&mut dir),
            "ENV" => settings.extend(rest.split(' ').map(str::to_owned)),
            "COPY" => steps.extend(copies(rest, &dir)?),
            "FROM" | "CMD" | "ENTRYPOINT" | "EXPOSE" => {}
            other => bail!("the benchmark cannot do `{other}` by hand"),
        }
    }
    Ok(steps)
}

/// Returns a copy of each source by itself; one source may be copied to another name.
fn copies(rest: &str, dir: &str) -> anyhow::Result<Vec<Step>> {
    let mut words: Vec<&str> = rest.split(' ').collect();
    let to = words.pop().context("a COPY without a place")?;
    let place = Path::new(dir).join(to.trim_start_matches("./"));
    let into = to.ends_with('/') || to == ".";
    Ok(words
        .into_iter()
        .map(|source| {
            let to = if into && source != "." { place.join(source) } else { place.clone() };
            Step::Copy { source: source.to_owned(), to }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_the_directory_and_the_settings_above_them() {
        let text = "FROM base\n# x\nENV A=1 B=2\nRUN one \\\n && two\nWORKDIR /opt/app\nCOPY a b ./\nRUN three\nCMD [\"x\"]\n";
        let steps = steps(text).unwrap();
        let run = |line: &str, dir: &str| Step::Run {
            line: line.to_owned(),
            dir: dir.to_owned(),
            settings: vec!["A=1".to_owned(), "B=2".to_owned()],
        };
        let copy = |name: &str| Step::Copy { source: name.to_owned(), to: Path::new("/opt/app").join(name) };
        assert_eq!(steps, [run("one   && two", "/"), copy("a"), copy("b"), run("three", "/opt/app")]);
    }

    #[test]
    fn what_cannot_be_done_by_hand_is_named() {
        let error = steps("FROM base\nADD a /a\n").unwrap_err();
        assert!(error.to_string().contains("`ADD`"), "{error}");
    }

    #[test]
    fn the_examples_can_be_done_by_hand() {
        for name in ["flask", "express"] {
            let file =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name).join("Dockerfile");
            let steps = steps(&fs_err::read_to_string(file).unwrap()).unwrap();
            assert_eq!(steps.iter().filter(|step| matches!(step, Step::Run { .. })).count(), 2, "{name}");
        }
    }
}
