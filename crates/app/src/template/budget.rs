//! How much a template makes and does at most: what somebody typed ends with an error, and neither takes all memory nor runs for ever.

use std::cell::Cell;
use std::io;

use super::value::Value;

/// All text that a template and its functions make. What one function makes and another one shows counts twice.
const MOST_MIB: usize = 128;

/// Nodes, rounds of `range` and calls of functions.
const MOST_STEPS: usize = 10_000_000;

/// So much of a text, or so many values of a list, are looked at in a step.
const TEXT_OF_STEP: usize = 1024;
const VALUES_OF_STEP: usize = 4;

/// What a part of a list takes beside its text.
pub(super) const PART: usize = 64;

/// What is left of what a template can make and do.
#[derive(Debug)]
pub(super) struct Budget {
    text: Cell<usize>,
    steps: Cell<usize>,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { text: Cell::new(MOST_MIB << 20), steps: Cell::new(MOST_STEPS) }
    }

    /// Has only so much text.
    #[cfg(test)]
    pub(super) fn of_text(size: usize) -> Self {
        Self { text: Cell::new(size), ..Self::new() }
    }

    /// Counts text before somebody makes it.
    pub(super) fn make(&self, who: &str, size: usize) -> Result<(), String> {
        let left = self.text.get().checked_sub(size).ok_or_else(|| too_much(who))?;
        self.text.set(left);
        Ok(())
    }

    /// Counts steps before they are done.
    pub(super) fn step(&self, count: usize) -> Result<(), String> {
        let too_many = || format!("the template takes more than {MOST_STEPS} steps");
        self.steps.set(self.steps.get().checked_sub(count).ok_or_else(too_many)?);
        Ok(())
    }
}

/// Returns how many steps a function takes. What only makes text is counted by its text.
pub(super) fn steps_of(function: &str, arguments: &[Value<'_>]) -> usize {
    let each = |value: &Value<'_>| match value {
        Value::Text(text) => text.len() / TEXT_OF_STEP,
        Value::List(values) => values.len() / VALUES_OF_STEP,
        Value::Fields(fields) => fields.json.len() / VALUES_OF_STEP,
        _ => 0,
    };
    let looks = matches!(function, "eq" | "ne" | "lt" | "le" | "gt" | "ge" | "join");
    let looked_at: usize = if looks { arguments.iter().map(each).sum() } else { 0 };
    1 + arguments.len() + looked_at
}

fn too_much(who: &str) -> String {
    format!("{who} makes too much text: a template and its functions make at most {MOST_MIB} MiB")
}

/// A text that is being made. It never gets larger than the budget has it.
#[derive(Debug)]
pub(super) struct Writer<'b> {
    text: String,
    who: &'b str,
    budget: &'b Budget,
}

impl<'b> Writer<'b> {
    /// Goes on with a text, for somebody who is named in errors.
    pub(super) fn new(text: String, who: &'b str, budget: &'b Budget) -> Self {
        Self { text, who, budget }
    }

    pub(super) fn push(&mut self, text: &str) -> Result<(), String> {
        self.budget.make(self.who, text.len())?;
        self.text.push_str(text);
        Ok(())
    }

    pub(super) fn push_char(&mut self, char: char) -> Result<(), String> {
        self.push(char.encode_utf8(&mut [0; 4]))
    }

    /// Puts one character, so many times, at a place that is there.
    pub(super) fn fill(&mut self, at: usize, filler: &str, count: usize) -> Result<(), String> {
        self.budget.make(self.who, filler.len() * count)?;
        self.text.insert_str(at, &filler.repeat(count));
        Ok(())
    }

    /// Returns what is there.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

impl io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = str::from_utf8(bytes).map_err(io::Error::other)?;
        self.push(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_before_it_is_overdrawn() {
        let budget = Budget::of_text(3);
        let mut writer = Writer::new("a".to_owned(), "`print`", &budget);
        writer.push("bc").unwrap();
        let error = writer.push("de").unwrap_err();
        assert!(error.starts_with("`print` makes too much text"), "{error}");
        writer.fill(1, "0", 1).unwrap();
        assert_eq!(writer.into_text(), "a0bc");
        budget.step(MOST_STEPS).unwrap();
        assert!(budget.step(1).is_err());
        let large = [Value::text("x".repeat(8 * TEXT_OF_STEP))];
        assert_eq!([steps_of("eq", &large), steps_of("len", &large)], [10, 2]);
    }
}
