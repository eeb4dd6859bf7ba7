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
            let (types, name) = name.split_once(':').unwrap_or(("manifest", name));
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
                    "manifest" => all.manifest.push(said),
                    other => {
                        return Err(Failure::new(
                            format!("--annotation `{text}`: nothing of an image is called `{other}`"),
                            "write it as `--annotation [manifest:|index:|manifest-descriptor:]NAME=VALUE`",
                        ));
                    }
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
        let texts = ["a=1", "index,manifest:b=2", "manifest-descriptor:c:d=3", "e=f:4"].map(str::to_owned);
        let of = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let want = Annotations {
            manifest: of(&[("a", "1"), ("b", "2"), ("e", "f:4")]),
            index: of(&[("b", "2")]),
            descriptor: of(&[("c:d", "3")]),
        };
        assert_eq!(Annotations::parse(&texts).unwrap(), want);
        for text in ["a", "index-descriptor:a=1", "org.x:e=4", "foo:x=y", "manifest,foo:x=y", ":x=y"] {
            assert!(Annotations::parse(&[text.to_owned()]).unwrap_err().text().contains("hint: "), "{text}");
        }
    }
}
