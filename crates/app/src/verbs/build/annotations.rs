//! `--annotation`

use shipway_build::PlatformAnnotation;
use shipway_oci::Platform;

use crate::failure::Failure;

/// What `--annotation` says, by what it is said of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Annotations {
    pub(super) manifest: Vec<(String, String)>,
    pub(super) index: Vec<(String, String)>,
    /// Of what the index says of the manifest.
    pub(super) descriptor: Vec<(String, String)>,
    /// Of what an archive or a layout says of the index.
    pub(super) index_descriptor: Vec<(String, String)>,
    /// Of one or the other for one platform.
    pub(super) platform: Vec<PlatformAnnotation>,
}

impl Annotations {
    /// `[TYPE[[PLATFORM]][,TYPE]:]NAME=value`. Compat: buildx.
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
                let (kind, platform) = with_platform(kind)
                    .map_err(|why| Failure::new(format!("--annotation `{text}`: {why}"), PLATFORM_FORM))?;
                if let Some(platform) = platform {
                    all.platform.push(of_platform(text, kind, platform, said)?);
                    continue;
                }
                match kind {
                    "index" => all.index.push(said),
                    "manifest-descriptor" => all.descriptor.push(said),
                    "index-descriptor" => all.index_descriptor.push(said),
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

    /// Takes what is said of the whole result where an archive or a layout lists it (`is_listed`): of its index, or of its manifest where
    /// there is no index.
    pub(super) fn take_said(
        &mut self,
        has_index: bool,
        is_listed: bool,
    ) -> Result<Vec<(String, String)>, Failure> {
        if !has_index {
            let needs_index = !self.index.is_empty() || !self.index_descriptor.is_empty();
            if needs_index || !(self.descriptor.is_empty() || is_listed) {
                return Err(Failure::new(
                    "there is no index to annotate: an image of which nothing is attested is one manifest",
                    "attest something too, such as --provenance=mode=min, or build for several platforms, or annotate the manifest: --annotation NAME=VALUE",
                ));
            }
            return Ok(std::mem::take(&mut self.descriptor));
        }
        if !self.index_descriptor.is_empty() && !is_listed {
            return Err(Failure::new(
                "nothing lists the index, so there is no index-descriptor",
                "annotate the index itself (`--annotation index:NAME=VALUE`), or write it to an archive: -o type=oci,dest=FILE",
            ));
        }
        Ok(std::mem::take(&mut self.index_descriptor))
    }
}

const PLATFORM_FORM: &str = "write it as `--annotation manifest[linux/arm64]:NAME=VALUE`";

/// Splits `TYPE[PLATFORM]`.
fn with_platform(kind: &str) -> Result<(&str, Option<Platform>), String> {
    let Some((kind, rest)) = kind.split_once('[') else { return Ok((kind, None)) };
    let platform = rest.strip_suffix(']').ok_or("a bracket is not closed")?;
    let platform = platform.to_ascii_lowercase().parse::<Platform>().map_err(|error| error.to_string())?;
    Ok((kind, Some(platform)))
}

fn of_platform(
    text: &str,
    kind: &str,
    platform: Platform,
    (name, value): (String, String),
) -> Result<PlatformAnnotation, Failure> {
    let of_descriptor = match kind {
        "manifest" => false,
        "manifest-descriptor" => true,
        other => {
            let what = format!("--annotation `{text}`: there is no `{other}` for one platform");
            return Err(Failure::new(what, PLATFORM_FORM));
        }
    };
    Ok(PlatformAnnotation { platform, of_descriptor, name, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lists_a_result_says_what_is_said_of_the_whole() {
        let said = |texts: &[&str], has_index, is_listed| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            let said = Annotations::parse(&texts).unwrap().take_said(has_index, is_listed);
            said.map(|said| said.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(" ")).ok()
        };
        let (index, manifest) = ("index-descriptor:i=1", "manifest-descriptor:m=1");
        for (name, texts, has_index, is_listed, want) in [
            ("nothing", &[][..], false, false, Some("")),
            ("an index in an archive", &[index, manifest], true, true, Some("i")),
            ("an index elsewhere", &[index], true, false, None),
            ("a manifest in an archive", &[manifest], false, true, Some("m")),
            ("a manifest elsewhere", &[manifest], false, false, None),
            ("no index in an archive", &[index], false, true, None),
        ] {
            assert_eq!(said(texts, has_index, is_listed).as_deref(), want, "case {name}");
        }
    }

    #[test]
    fn annotations_are_of_what_they_name() {
        let texts =
            ["a=1", "index,manifest:b=2", "manifest-descriptor:c:d=3", "e=f:4", "index-descriptor:g=5"]
                .map(str::to_owned);
        let of = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let want = Annotations {
            manifest: of(&[("a", "1"), ("b", "2"), ("e", "f:4")]),
            index: of(&[("b", "2")]),
            descriptor: of(&[("c:d", "3")]),
            index_descriptor: of(&[("g", "5")]),
            platform: Vec::new(),
        };
        assert_eq!(Annotations::parse(&texts).unwrap(), want);
        let own = ["manifest[linux/ARM64],manifest-descriptor[linux/arm64/v8]:a=1".to_owned()];
        let want = [false, true].map(|of_descriptor| PlatformAnnotation {
            platform: "linux/arm64".parse().unwrap(),
            of_descriptor,
            name: "a".to_owned(),
            value: "1".to_owned(),
        });
        assert_eq!(Annotations::parse(&own).unwrap().platform, want);
        for text in [
            "a",
            "org.x:e=4",
            "foo:x=y",
            "manifest,foo:x=y",
            ":x=y",
            "index[linux/arm64]:x=y",
            "manifest[vax]:x=y",
            "manifest[linux/arm64:x=y",
        ] {
            assert!(Annotations::parse(&[text.to_owned()]).unwrap_err().text().contains("hint: "), "{text}");
        }
    }
}
