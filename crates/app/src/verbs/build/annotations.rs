//! `--annotation`

use crate::failure::Failure;

/// What `--annotation` says, by what it is said of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Annotations {
    pub(super) manifest: Vec<(String, String)>,
    pub(super) index: Vec<(String, String)>,
    /// Of what the index says of the manifest.
    pub(super) descriptor: Vec<(String, String)>,
}

impl Annotations {
    /// `[TYPE[,TYPE]:]NAME=value`. Compat: buildx.
    pub(super) fn parse(texts: &[String]) -> Result<Self, Failure> {
        let form = "write it as `--annotation NAME=VALUE`";
        let mut all = Self::default();
        for text in texts {
            let (name, value) = text
                .split_once('=')
                .ok_or_else(|| Failure::new(format!("--annotation `{text}` has no value"), form))?;
            let is_type = |word: &str| {
                matches!(word, "manifest" | "index" | "manifest-descriptor" | "index-descriptor")
            };
            let (types, name) = match name.split_once(':') {
                Some((types, name)) if types.split(',').all(is_type) => (types, name),
                _ => ("manifest", name),
            };
            for kind in types.split(',') {
                let said = (name.to_owned(), value.to_owned());
                match kind {
                    "index" => all.index.push(said),
                    "manifest-descriptor" => all.descriptor.push(said),
                    "index-descriptor" => {
                        return Err(Failure::new(
                            format!("--annotation `{text}`: nothing lists the index, so there is no {kind}"),
                            "annotate the index itself: `--annotation index:NAME=VALUE`",
                        ));
                    }
                    _ => all.manifest.push(said),
                }
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_of_what_they_name() {
        let texts =
            ["a=1", "index,manifest:b=2", "manifest-descriptor:c:d=3", "org.x:e=4"].map(str::to_owned);
        let of = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let want = Annotations {
            manifest: of(&[("a", "1"), ("b", "2"), ("org.x:e", "4")]),
            index: of(&[("b", "2")]),
            descriptor: of(&[("c:d", "3")]),
        };
        assert_eq!(Annotations::parse(&texts).unwrap(), want);
        for text in ["a", "index-descriptor:a=1"] {
            assert!(Annotations::parse(&[text.to_owned()]).unwrap_err().text().contains("hint: "), "{text}");
        }
    }
}
