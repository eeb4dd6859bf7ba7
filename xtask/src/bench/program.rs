//! Programs that are measured: where they are, how long one run takes, several in turn.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail};

use super::samples::{Samples, Unit};

/// Returns where a program is: what the variable names, else the first on `PATH`.
pub(crate) fn find(variable: &str, name: &str) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(variable) {
        return (!named.is_empty()).then(|| PathBuf::from(named));
    }
    let path: OsString = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Returns the first line that a program says about its version.
pub(crate) fn version(program: &Path) -> String {
    let output = Command::new(program).arg("--version").stderr(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("of unknown version").to_owned()
}

/// Runs a command to its end and returns what it printed; one that fails is an error with its last lines.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<Output> {
    let shown = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("could not start {shown}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let lines: Vec<&str> = said.lines().collect();
        bail!("{shown}: {}\n{}", output.status, lines[lines.len().saturating_sub(12)..].join("\n"));
    }
    Ok(output)
}

/// Runs a command to its end and returns the seconds from its start to its end.
pub(crate) fn time(command: &mut Command) -> anyhow::Result<f64> {
    let begin = Instant::now();
    output(command)?;
    Ok(begin.elapsed().as_secs_f64())
}

/// One side of a comparison.
pub(crate) struct Side<'a> {
    pub(crate) name: String,
    /// Makes the run of this number and returns its seconds.
    pub(crate) run: Box<dyn FnMut(usize) -> anyhow::Result<f64> + 'a>,
}

impl<'a> Side<'a> {
    /// A side that measures a whole command.
    pub(crate) fn command(
        name: impl Into<String>,
        mut make: impl FnMut(usize) -> anyhow::Result<Command> + 'a,
    ) -> Self {
        Self { name: name.into(), run: Box::new(move |run| time(&mut make(run)?)) }
    }
}

/// Measures all sides in turn, so that what disturbs the machine disturbs each; another side begins each round.
///
/// `warm` rounds before are not counted.
pub(crate) fn in_turn(
    sides: &mut [Side<'_>],
    warm: usize,
    runs: usize,
) -> anyhow::Result<Vec<(String, Samples)>> {
    let mut all: Vec<_> = sides.iter().map(|side| (side.name.clone(), Samples::new(Unit::Seconds))).collect();
    for round in 0..warm + runs {
        for place in 0..sides.len() {
            let at = (round + place) % sides.len();
            let side = &mut sides[at];
            let seconds =
                (side.run)(round).with_context(|| format!("{} failed in run {round}", side.name))?;
            if round >= warm {
                all[at].1.figures.push(seconds);
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_take_turns_and_the_warm_rounds_are_not_counted() {
        let order = std::cell::RefCell::new(Vec::new());
        let shared = &order;
        let side = |name: &'static str| Side {
            name: name.to_owned(),
            run: Box::new(move |run| {
                shared.borrow_mut().push((run, name));
                Ok(0.5)
            }),
        };
        let all = in_turn(&mut [side("a"), side("b")], 1, 1).unwrap();
        assert_eq!(*order.borrow(), [(0, "a"), (0, "b"), (1, "b"), (1, "a")]);
        assert!(all.iter().all(|(_name, samples)| samples.figures == [0.5]));
    }

    #[test]
    fn a_command_that_fails_says_why() {
        let error = time(Command::new("sh").args(["-c", "echo reason >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().ends_with("reason"), "{error}");
    }
}
