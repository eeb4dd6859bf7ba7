//! `--allow`: what steps may do beyond their confinement. Compat: buildx, names of entitlements.

use crate::failure::Failure;

/// What was allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Allowed {
    /// `security.insecure`: a step that asks for it is not confined.
    pub(super) insecure: bool,
}

/// Parses the values of `--allow`. The host's network needs no leave here, and one for it changes nothing.
pub(super) fn parse(texts: &[String]) -> Result<Allowed, Failure> {
    let mut allowed = Allowed::default();
    for text in texts {
        match text.as_str() {
            "security.insecure" => allowed.insecure = true,
            "network.host" => {}
            device if device.split('=').next() == Some("device") => {
                return Err(Failure::new(
                    "`--allow device` is not there yet",
                    "no step gets a device by its name; with `--allow security.insecure`, RUN --security=insecure opens those that the host has",
                ));
            }
            _ => {
                return Err(Failure::new(
                    format!("`{text}` is nothing that --allow can give"),
                    "it is `security.insecure` or `network.host`",
                ));
            }
        }
    }
    Ok(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entitlements_have_buildxs_names() {
        let parsed = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
            parse(&texts).map_err(|failure| format!("{failure:?}"))
        };
        assert_eq!(parsed(&[]), Ok(Allowed { insecure: false }));
        assert_eq!(parsed(&["network.host"]), Ok(Allowed { insecure: false }));
        assert_eq!(parsed(&["network.host", "security.insecure"]), Ok(Allowed { insecure: true }));
        for (text, why) in [
            ("device=vendor.example/x=0", "not there yet"),
            ("device", "not there yet"),
            ("all", "`all` is nothing"),
            ("security.insecure=false", "is nothing"),
            ("", "`` is nothing"),
        ] {
            assert!(parsed(&[text]).unwrap_err().contains(why), "case {text}");
        }
    }
}
