//! What people are told of a step in the cache.

use shipway_store::CachedStep;

use crate::key::Input;
use crate::solve::StoredResult;

/// What a step in the cache was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepSummary {
    /// When it was done, as RFC 3339.
    pub created: Option<String>,
    /// Such as `RUN make`; empty if that is not known.
    pub text: String,
}

/// Returns what is known of a step in the cache.
pub fn summarize(step: &CachedStep) -> StepSummary {
    let result: Option<StoredResult> = serde_json::from_str(&step.result).ok();
    let inputs: Vec<Input> = serde_json::from_str(&step.inputs).unwrap_or_default();
    StepSummary { created: result.map(|result| result.created), text: text(&inputs).unwrap_or_default() }
}

fn text(inputs: &[Input]) -> Option<String> {
    let find = |name: &str| inputs.iter().find(|input| input.name == name).map(|input| input.value.as_str());
    let instruction = find("instruction")?;
    // Where they are not readable as a list, they are long, and only their digest was kept.
    let Ok(words) = serde_json::from_str::<Vec<String>>(instruction) else {
        return Some(instruction.to_owned());
    };
    Some(match (find("working directory"), find("--unpack")) {
        (Some(_), _) => match words.as_slice() {
            [shell, flag, command] if shell.ends_with("sh") && flag == "-c" => format!("RUN {command}"),
            _ => format!("RUN {}", words.join(" ")),
        },
        (None, Some("true")) => format!("ADD {}", words.join(" ")),
        (None, _) => format!("COPY {}", words.join(" ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_told_from_what_went_into_keys() {
        for (inputs, want) in [
            (
                vec![("instruction", r#"["/bin/sh", "-c", "make all"]"#), ("working directory", "/")],
                "RUN make all",
            ),
            (vec![("instruction", r#"["/make", "all"]"#), ("working directory", "/")], "RUN /make all"),
            (vec![("parent", "x"), ("instruction", r#"["a", "/b/"]"#), ("--unpack", "")], "COPY a /b/"),
            (vec![("instruction", r#"["a.tar", "/b/"]"#), ("--unpack", "true")], "ADD a.tar /b/"),
            (vec![("instruction", "WORKDIR /srv")], "WORKDIR /srv"),
            (vec![("parent", "x")], ""),
        ] {
            let inputs: Vec<Input> = inputs
                .into_iter()
                .map(|(name, value)| Input { name: name.to_owned(), value: value.to_owned() })
                .collect();
            assert_eq!(text(&inputs).unwrap_or_default(), want);
        }
    }
}
