//! What the guest says on its console.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::bail;

/// A guest that says nothing for so long is lost.
const SILENCE: Duration = Duration::from_secs(600);

/// How the checks went.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) passed: usize,
    pub(crate) failed: Vec<String>,
    pub(crate) finished: bool,
}

impl Seen {
    /// Takes a line in; returns what a person should read of it.
    fn take(&mut self, line: &str) -> String {
        let line = line.trim_end();
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["CHECK", name, "passed", seconds] => {
                self.passed += 1;
                format!("passed   {name} ({seconds} s)")
            }
            ["CHECK", name, "failed", _] => {
                self.failed.push((*name).to_owned());
                format!("FAILED   {name}")
            }
            ["CHECK", name, "skipped", ..] => format!("skipped  {name}"),
            ["CHECKS", "DONE"] => {
                self.finished = true;
                String::new()
            }
            _ => format!("         {line}"),
        }
    }
}

/// Shows what the guest prints until it ends or falls silent.
pub(crate) fn follow(output: impl Read + Send + 'static) -> anyhow::Result<Seen> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
        }
    });
    let mut seen = Seen::default();
    loop {
        match lines.recv_timeout(SILENCE) {
            Ok(line) => {
                let shown = seen.take(&line);
                if !shown.trim().is_empty() {
                    println!("{shown}");
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(seen),
            Err(RecvTimeoutError::Timeout) => bail!("the guest said nothing for {} s", SILENCE.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_reports_count() {
        let text = "boot\r\nCHECK 10-a passed 3\r\nCHECK 20-b failed 1\r\nCHECK 30-c skipped no kubectl\r\necho CHECK x passed 1\r\n";
        let seen = follow(text.as_bytes()).unwrap();
        assert_eq!(seen, Seen { passed: 1, failed: vec!["20-b".to_owned()], finished: false });
        assert!(follow(&b"CHECKS DONE\n"[..]).unwrap().finished);
    }
}
