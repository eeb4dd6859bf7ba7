//! BuildKit's plain form: lines that begin with the number of the part of the work that they are about.
//!
//! Compat: BuildKit. Parts are numbered as they begin; what goes on at the same time is not mixed line by line: one part is told of at a
//! time, until it ends or is silent for a while. Knows no stream and no clock.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use super::board::Key;

/// How long the part that is told of may be silent until another one is told of.
pub(super) const SILENCE: Duration = Duration::from_secs(5);
/// How long one part is told of while others wait.
const LONGEST: Duration = Duration::from_secs(10);
/// Lines that wait at most.
const WAITING: usize = 1000;
/// Lines of its output that are shown again of a part that failed.
const AGAIN: usize = 10;

/// One part of the work. Its number is its place among all, from 1.
#[derive(Debug)]
struct Part {
    key: Key,
    name: String,
    began: Duration,
    /// Lines that were not told yet.
    waiting: Vec<String>,
    /// Whether anything was told of it.
    is_told: bool,
    is_over: bool,
    has_failed: bool,
    /// Output since its last line break.
    rest: Vec<u8>,
    last: VecDeque<String>,
}

/// All parts, and the text of what is to be told now.
#[derive(Debug, Default)]
pub(super) struct Plain {
    parts: Vec<Part>,
    /// The part that is told of.
    current: Option<usize>,
    /// When something was told of it, and since when nothing of others.
    told: Duration,
    since: Duration,
    has_begun: bool,
    text: String,
}

impl Plain {
    /// Returns what is to be written, once.
    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// A part begins, or begins again.
    pub(super) fn begin(&mut self, key: Key, name: String, now: Duration) {
        let known = self.find(&key);
        let part = Part {
            key,
            name,
            began: now,
            waiting: Vec::new(),
            is_told: false,
            is_over: false,
            has_failed: false,
            rest: Vec::new(),
            last: VecDeque::new(),
        };
        let at = known.unwrap_or(self.parts.len());
        match self.parts.get_mut(at) {
            Some(before) => *before = part,
            None => self.parts.push(part),
        }
        self.look(at, now);
    }

    /// Tells something of a part; where there is none, of nothing.
    pub(super) fn line(&mut self, key: Option<&Key>, line: String, now: Duration) {
        match key.and_then(|key| self.find(key)) {
            Some(at) => {
                self.parts[at].waiting.push(line);
                self.look(at, now);
            }
            None => self.say(&line),
        }
    }

    /// Tells something that is a part's, without telling more of that part. What is over is not begun again for it.
    pub(super) fn aside(&mut self, key: &Key, line: &str) {
        match self.find(key) {
            Some(at) => self.say(&format!("#{} {line}", at + 1)),
            None => self.say(line),
        }
    }

    /// Tells something that is about no part.
    pub(super) fn say(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Takes output of a part, whole lines or not.
    pub(super) fn output(&mut self, key: &Key, bytes: &[u8], now: Duration) {
        let Some(at) = self.find(key) else { return };
        self.parts[at].take(bytes, now);
        self.look(at, now);
    }

    /// A part ends well, or as another one wants it.
    pub(super) fn end(&mut self, key: &Key, line: String, now: Duration) {
        let Some(at) = self.find(key) else { return };
        let part = &mut self.parts[at];
        if !part.rest.is_empty() {
            part.take(b"\n", now);
        }
        part.waiting.push(line);
        part.is_over = true;
        self.show(at, now);
        self.current = None;
        self.next(now);
    }

    /// A part fails. What it printed last is shown again at the end.
    pub(super) fn fail(&mut self, key: &Key, line: String, now: Duration) {
        if let Some(at) = self.find(key) {
            self.parts[at].has_failed = true;
        }
        self.end(key, line, now);
    }

    /// Looks whether another part is to be told of.
    pub(super) fn tick(&mut self, now: Duration) {
        if self.is_free(now) {
            self.next(now);
        }
    }

    /// The work ends.
    pub(super) fn close(&mut self, now: Duration) {
        while let Some(at) = self.parts.iter().position(Part::is_waiting) {
            self.show(at, now);
        }
        for part in std::mem::take(&mut self.parts).iter().filter(|part| part.has_failed) {
            self.say(&format!("------\n > {}:", part.name));
            part.last.iter().for_each(|line| self.say(line));
            self.say("------");
        }
        self.current = None;
    }

    fn find(&self, key: &Key) -> Option<usize> {
        self.parts.iter().position(|part| part.key == *key)
    }

    fn is_free(&self, now: Duration) -> bool {
        self.current.is_none()
            || now.saturating_sub(self.told) >= SILENCE
            || now.saturating_sub(self.since) >= LONGEST
    }

    fn look(&mut self, at: usize, now: Duration) {
        let is_much = self.parts[at].waiting.len() >= WAITING;
        if self.current == Some(at) || is_much || self.is_free(now) {
            self.show(at, now);
        }
    }

    fn next(&mut self, now: Duration) {
        if let Some(at) = self.parts.iter().position(Part::is_waiting) {
            self.show(at, now);
        }
    }

    fn show(&mut self, at: usize, now: Duration) {
        let part = &mut self.parts[at];
        if self.current != Some(at) || !part.is_told {
            let before = self.current.filter(|before| *before != at);
            self.since = now;
            let head = format!("#{} {}", at + 1, part.name);
            part.is_told = true;
            if let Some(before) = before {
                self.say(&format!("#{} ...", before + 1));
            }
            // Before the first one there is nothing to part it from.
            if std::mem::replace(&mut self.has_begun, true) {
                self.say("");
            }
            self.say(&head);
        }
        for line in self.parts[at].waiting.drain(..) {
            writeln!(self.text, "#{} {line}", at + 1).expect("writing to a string cannot fail");
        }
        self.current = Some(at);
        self.told = now;
    }
}

impl Part {
    fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.is_told
    }

    fn take(&mut self, bytes: &[u8], now: Duration) {
        self.rest.extend_from_slice(bytes);
        let mut from = 0;
        while let Some(length) = self.rest[from..].iter().position(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(&self.rest[from..from + length]);
            let line = format!("{:.3} {text}", now.saturating_sub(self.began).as_secs_f64());
            from += length + 1;
            if self.last.len() == AGAIN {
                self.last.pop_front();
            }
            self.last.push_back(line.clone());
            self.waiting.push(line);
        }
        self.rest.drain(..from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn begun(names: &[&str]) -> Plain {
        let mut plain = Plain::default();
        for (number, name) in names.iter().enumerate() {
            plain.begin(Key::Step(number * 10), (*name).to_owned(), at(0));
        }
        plain
    }

    #[test]
    fn parts_are_numbered_and_told_of_one_after_the_other() {
        let mut plain = begun(&["[1/2] FROM box", "[2/2] RUN echo"]);
        plain.end(&Key::Step(0), "CACHED".to_owned(), at(1));
        plain.output(&Key::Step(10), b"one\ntwo", at(123));
        plain.end(&Key::Step(10), "DONE 0.2s".to_owned(), at(200));
        let want =
            "#1 [1/2] FROM box\n#1 CACHED\n\n#2 [2/2] RUN echo\n#2 0.123 one\n#2 0.200 two\n#2 DONE 0.2s\n";
        assert_eq!(plain.take(), want);
        plain.close(at(300));
        assert_eq!(plain.take(), "");
    }

    #[test]
    fn what_goes_on_at_the_same_time_is_not_mixed() {
        let mut plain = begun(&["a", "b"]);
        plain.output(&Key::Step(0), b"1\n", at(1));
        plain.output(&Key::Step(10), b"2\n", at(2));
        plain.output(&Key::Step(0), b"3\n", at(3));
        assert_eq!(plain.take(), "#1 a\n#1 0.001 1\n#1 0.003 3\n");
        // One that ended is told of at once, and then who was silent.
        plain.end(&Key::Step(10), "DONE 0.0s".to_owned(), at(4));
        assert_eq!(plain.take(), "#1 ...\n\n#2 b\n#2 0.002 2\n#2 DONE 0.0s\n");
        plain.output(&Key::Step(0), b"4\n", at(5));
        assert_eq!(plain.take(), "\n#1 a\n#1 0.005 4\n");
    }

    #[test]
    fn who_is_silent_gives_way() {
        let mut plain = begun(&["a", "b"]);
        plain.output(&Key::Step(10), b"x\n", at(10));
        assert_eq!(plain.take(), "#1 a\n");
        plain.tick(SILENCE - at(1));
        assert_eq!(plain.take(), "");
        plain.tick(SILENCE);
        assert_eq!(plain.take(), "#1 ...\n\n#2 b\n#2 0.010 x\n");
        plain.tick(SILENCE * 3);
        assert_eq!(plain.take(), "", "there is nothing to tell");
    }

    #[test]
    fn who_talks_much_does_not_keep_others_waiting() {
        let mut plain = begun(&["a", "b"]);
        plain.output(&Key::Step(10), b"x\n", at(10));
        let mut now = at(0);
        while now < LONGEST {
            plain.output(&Key::Step(0), b".\n", now);
            assert!(!plain.take().contains("b\n"));
            now += at(1000);
        }
        plain.output(&Key::Step(10), b"y\n", now);
        assert_eq!(plain.take(), "#1 ...\n\n#2 b\n#2 0.010 x\n#2 10.000 y\n");
        plain.output(&Key::Step(0), "z\n".repeat(WAITING - 1).as_bytes(), now);
        assert_eq!(plain.take(), "");
        plain.output(&Key::Step(0), b"z\n", now);
        assert_eq!(plain.take().lines().count(), 3 + WAITING);
    }

    #[test]
    fn what_failed_is_shown_again_with_its_last_lines() {
        let mut plain = begun(&["a", "[2/2] RUN seq"]);
        plain.end(&Key::Step(0), "DONE 0.0s".to_owned(), at(1));
        let lines: String = (1..=12).map(|number| format!("{number}\n")).collect();
        plain.output(&Key::Step(10), lines.as_bytes(), at(500));
        plain.fail(&Key::Step(10), "ERROR: no".to_owned(), at(600));
        plain.take();
        plain.close(at(700));
        let said = plain.take();
        assert!(said.starts_with("------\n > [2/2] RUN seq:\n0.500 3\n0.500 4\n"), "{said}");
        assert!(said.ends_with("\n0.500 12\n------\n"), "{said}");
    }

    #[test]
    fn what_is_about_nothing_is_told_without_a_number() {
        let mut plain = begun(&["a"]);
        plain.line(None, "note: x".to_owned(), at(1));
        plain.aside(&Key::Step(0), "WARN: y");
        plain.line(Some(&Key::Step(0)), "writing z done".to_owned(), at(1));
        assert_eq!(plain.take(), "#1 a\nnote: x\n#1 WARN: y\n#1 writing z done\n");
    }
}
