//! `--filter`. Compat: buildx; several filters must all let something through.

use super::record::{Record, What};
use crate::failure::Failure;
use crate::{filters, units};

const THERE: &str = "there are until, id, type, shared, private, inuse, mutable, immutable and description";

/// What all records have that are let through.
#[derive(Debug, Default)]
pub(super) struct Filters {
    /// Seconds that nobody has used it.
    pub(super) unused: Option<i64>,
    tests: Vec<Test>,
}

#[derive(Debug)]
enum Test {
    Id(String),
    Type(String),
    Description(String),
    Shared(bool),
    Used(bool),
    Mutable(bool),
}

impl Filters {
    /// Reads what was typed.
    pub(super) fn parse(texts: &[String]) -> Result<Self, Failure> {
        let mut found = Self::default();
        for text in texts {
            let (key, value) = filters::parts(text).unwrap_or_else(|| (text.clone(), ""));
            match key.as_str() {
                "until" | "unused-for" if found.unused.is_some() => {
                    return Err(Failure::new(
                        "there are two times after which to remove",
                        "leave one of them out",
                    ));
                }
                "until" | "unused-for" => found.unused = Some(duration(text, value)?),
                "id" => found.tests.push(Test::Id(text_of(text, value)?)),
                "type" => found.tests.push(Test::Type(text_of(text, value)?)),
                "description" => found.tests.push(Test::Description(text_of(text, value)?)),
                "shared" => found.tests.push(Test::Shared(truth(text, value)?)),
                "private" => found.tests.push(Test::Shared(!truth(text, value)?)),
                "inuse" => found.tests.push(Test::Used(truth(text, value)?)),
                "mutable" => found.tests.push(Test::Mutable(truth(text, value)?)),
                "immutable" => found.tests.push(Test::Mutable(!truth(text, value)?)),
                "parents" => return Err(Failure::new("filter `parents` is not there yet", THERE)),
                // Compat: docker, it is no KEY=VALUE either.
                _ if *text == key => {
                    return Err(Failure::of_flag(format!("there is no filter `{key}`"), THERE));
                }
                _ => return Err(Failure::new(format!("there is no filter `{key}`"), THERE)),
            }
        }
        Ok(found)
    }

    /// Lets through what nobody has used for so many seconds.
    pub(super) fn unused_for(seconds: i64) -> Self {
        Self { unused: Some(seconds), ..Self::default() }
    }

    /// Returns whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.unused.is_none() && self.tests.is_empty()
    }

    /// Returns whether there are others than the time.
    pub(super) fn choose_kinds(&self) -> bool {
        !self.tests.is_empty()
    }

    /// Returns whether a record is let through.
    pub(super) fn accept(&self, record: &Record, now: i64) -> bool {
        let is_old = self.unused.is_none_or(|unused| now - record.used >= unused);
        let passes = |test: &Test| match test {
            Test::Id(id) => match &record.what {
                // As the Dockerfile calls it, too.
                What::Mount(mount) if mount.id == *id => true,
                _ => record.id.contains(id.trim_end_matches('*')),
            },
            Test::Type(kind) => record.kind() == kind,
            Test::Description(text) => record.description == *text,
            Test::Shared(wanted) => record.is_shared == *wanted,
            Test::Used(wanted) => record.is_used == *wanted,
            Test::Mutable(wanted) => record.is_mutable() == *wanted,
        };
        is_old && self.tests.iter().all(passes)
    }
}

/// Returns the whole seconds of a duration, rounded up.
fn duration(filter: &str, text: &str) -> Result<i64, Failure> {
    let nanoseconds = units::duration(text).ok_or_else(|| {
        Failure::new(format!("filter `{filter}` has no duration"), "write it like `until=24h` or `until=90m`")
    })?;
    Ok(i64::try_from((nanoseconds + units::SECOND - 1) / units::SECOND).unwrap_or(i64::MAX))
}

fn text_of(filter: &str, value: &str) -> Result<String, Failure> {
    if value.is_empty() {
        return Err(Failure::new(
            format!("filter `{filter}` has no value"),
            format!("write it like `{filter}=VALUE`"),
        ));
    }
    Ok(value.to_owned())
}

/// A name alone asks for what is so.
fn truth(filter: &str, value: &str) -> Result<bool, Failure> {
    let name = filter.split('=').next().unwrap_or(filter);
    let asked = if value.is_empty() { Some(true) } else { units::truth(value) };
    asked.ok_or_else(|| {
        Failure::new(format!("filter `{filter}` is neither true nor false"), format!("write `{name}=true`"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::{layer, mount};
    use super::*;

    fn parse(texts: &[&str]) -> Result<Filters, Failure> {
        Filters::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn filters_let_through_what_has_all_of_them() {
        let shared = Record { is_shared: true, description: "RUN make".to_owned(), ..layer("a", 100, 10) };
        let mount = Record { is_used: true, ..mount("b", 100, 990) };
        for (texts, want) in [
            (&[][..], (true, true)),
            (&["until=500s"], (true, false)),
            (&["unused-for=10s"], (true, true)),
            (&["until=16m31s"], (false, false)),
            (&["type=exec.cachemount"], (false, true)),
            (&["type=regular", "inuse"], (false, false)),
            (&["shared"], (true, false)),
            (&["private=true"], (false, true)),
            (&["mutable=false"], (true, false)),
            (&["immutable"], (true, false)),
            (&["id=b"], (false, true)),
            (&["description=RUN make"], (true, false)),
        ] {
            let filters = parse(texts).unwrap();
            assert_eq!((filters.accept(&shared, 1000), filters.accept(&mount, 1000)), want, "{texts:?}");
        }
    }

    #[test]
    fn filters_that_there_are_not_are_refused() {
        for (texts, want) in [
            (&["until=yesterday"][..], "has no duration"),
            (&["until=1h", "unused-for=2h"], "two times"),
            (&["shared=maybe"], "neither true nor false"),
            (&["type="], "has no value"),
            (&["size=3"], "there is no filter `size`"),
            (&["parents=x"], "not there yet"),
        ] {
            let failure = parse(texts).unwrap_err();
            assert!(failure.text().contains(want) && failure.text().contains("hint: "), "{}", failure.text());
        }
    }
}
