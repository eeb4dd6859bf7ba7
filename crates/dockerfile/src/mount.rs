//! `RUN --mount=type=…,…`: a closed set of typed options; no option text ever reaches a mount call.

use crate::expand::ExpandError;
use crate::suggest::suggest;

/// A mount of one RUN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// A stage or image to take it from.
    pub from: Option<String>,
    /// Path within what it is taken from; for a secret its id.
    pub source: Option<String>,
    /// Where to; relative to the working directory.
    pub target: Option<String>,
    /// Not writable.
    pub read_only: bool,
    /// Limit of a tmpfs in bytes.
    pub size: Option<u64>,
    /// Name of a cache or secret.
    pub id: Option<String>,
    /// Who may use a cache at the same time.
    pub sharing: Sharing,
    /// A missing secret is an error.
    pub required: bool,
    /// Variable that gets a secret.
    pub env: Option<String>,
    /// Permissions.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

/// What a mount is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the context, a stage or an image.
    #[default]
    Bind,
    /// A directory that outlives the build.
    Cache,
    /// Memory.
    Tmpfs,
    /// A file that never reaches a layer.
    Secret,
    /// An agent's socket.
    Ssh,
}

impl MountKind {
    /// Returns the name in `type=`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        }
    }

    const ALL: [Self; 5] = [Self::Bind, Self::Cache, Self::Tmpfs, Self::Secret, Self::Ssh];
}

/// `sharing=` of a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Everybody at the same time.
    #[default]
    Shared,
    /// Each its own.
    Private,
    /// One after the other.
    Locked,
}

/// Why a mount cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseMountError {
    /// An option that does not exist.
    #[error("a mount has no option `{key}`")]
    UnknownKey {
        /// The option.
        key: String,
        /// A near one.
        suggestion: Option<&'static str>,
    },
    /// An option without its value.
    #[error("mount option `{0}` needs a value")]
    NoValue(String),
    /// A value that the option cannot take.
    #[error("mount option `{key}` cannot be `{value}`")]
    BadValue {
        /// The option.
        key: &'static str,
        /// The value.
        value: String,
    },
    /// An option that this type of mount does not take.
    #[error("a {kind} mount takes no option `{key}`")]
    NotAllowed {
        /// The option.
        key: &'static str,
        /// The type.
        kind: &'static str,
    },
    /// A secret without id, source or target; or with both id and source.
    #[error("a secret mount needs one of id, source or target, and not both id and source")]
    SecretName,
    /// `from=$VARIABLE`
    #[error("mount option `from` takes no variable")]
    VariableInFrom,
    /// A value whose variables cannot be expanded.
    #[error(transparent)]
    Expand(ExpandError),
}

impl ParseMountError {
    /// Returns what to write instead, where that is known.
    pub fn hint(&self) -> Option<String> {
        let names = MountKind::ALL.map(MountKind::name);
        match self {
            Self::UnknownKey { suggestion, .. } => suggestion.map(|near| format!("did you mean `{near}`?")),
            Self::BadValue { key: "type", value } => Some(match suggest(value, names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the types are {}", names.join(", ")),
            }),
            Self::BadValue { key: "sharing", .. } => Some("it is shared, private or locked".to_owned()),
            _ => None,
        }
    }
}

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "required",
    "size",
    "id",
    "sharing",
    "mode",
    "uid",
    "gid",
    "env",
];

impl Mount {
    /// Reads the value of `--mount=`; `expand` resolves the variables of one option's value.
    pub fn parse(
        text: &str,
        expand: &mut dyn FnMut(&str) -> Result<String, ExpandError>,
    ) -> Result<Self, ParseMountError> {
        let mut options = Vec::new();
        for field in split_fields(text) {
            let (key, value) =
                field.split_once('=').map_or((field.as_str(), None), |(key, value)| (key, Some(value)));
            let lower = key.to_ascii_lowercase();
            let Some(key) = KEYS.into_iter().find(|known| *known == lower) else {
                let near = suggest(&lower, KEYS);
                return Err(ParseMountError::UnknownKey { key: key.to_owned(), suggestion: near });
            };
            if key == "from" && value.is_some_and(has_variable) {
                return Err(ParseMountError::VariableInFrom);
            }
            let value = value.map(&mut *expand).transpose().map_err(ParseMountError::Expand)?;
            options.push((key, value));
        }
        let mut mount = Self::default();
        if let Some((_, value)) = options.iter().rev().find(|(key, _)| *key == "type") {
            let value = value.as_deref().unwrap_or_default();
            mount.kind = MountKind::ALL
                .into_iter()
                .find(|kind| kind.name() == value.to_ascii_lowercase())
                .ok_or_else(|| ParseMountError::BadValue { key: "type", value: value.to_owned() })?;
        }
        mount.read_only = !matches!(mount.kind, MountKind::Cache | MountKind::Tmpfs);
        for (key, value) in options {
            mount.set(key, value)?;
        }
        mount.checked()
    }

    /// Returns whether the value of `--mount=` has a variable where none may be.
    pub(crate) fn has_variable_in_from(text: &str) -> bool {
        let is_it = |field: &String| {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            key.eq_ignore_ascii_case("from") && has_variable(value)
        };
        split_fields(text).iter().any(is_it)
    }

    fn set(&mut self, key: &'static str, value: Option<String>) -> Result<(), ParseMountError> {
        let flag = |value: &Option<String>| match value.as_deref() {
            None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(other) => Err(ParseMountError::BadValue { key, value: other.to_owned() }),
        };
        match key {
            "readonly" | "ro" => self.read_only = flag(&value)?,
            "readwrite" | "rw" => self.read_only = !flag(&value)?,
            "required" => self.required = flag(&value)?,
            _ => {
                let value = value.ok_or_else(|| ParseMountError::NoValue(key.to_owned()))?;
                return self.set_value(key, value);
            }
        }
        match (key, self.kind) {
            ("required", MountKind::Secret | MountKind::Ssh) => Ok(()),
            ("required", kind) => Err(ParseMountError::NotAllowed { key, kind: kind.name() }),
            _ => Ok(()),
        }
    }

    fn set_value(&mut self, key: &'static str, value: String) -> Result<(), ParseMountError> {
        let number = |radix: u32| {
            u32::from_str_radix(&value, radix)
                .map_err(|_bad| ParseMountError::BadValue { key, value: value.clone() })
        };
        match key {
            "mode" => self.mode = Some(number(8)?),
            "uid" => self.uid = Some(number(10)?),
            "gid" => self.gid = Some(number(10)?),
            "size" => self.size = Some(parse_size(&value).ok_or(ParseMountError::BadValue { key, value })?),
            "sharing" => {
                self.sharing = match value.to_ascii_lowercase().as_str() {
                    "shared" => Sharing::Shared,
                    "private" => Sharing::Private,
                    "locked" => Sharing::Locked,
                    _ => return Err(ParseMountError::BadValue { key, value }),
                };
                if self.kind != MountKind::Cache {
                    return Err(ParseMountError::NotAllowed { key, kind: self.kind.name() });
                }
            }
            // Compat: BuildKit, an empty one is none.
            "from" => self.from = Some(value).filter(|from| !from.is_empty()),
            "source" | "src" => self.source = Some(value),
            "target" | "dst" | "destination" => self.target = Some(value),
            "id" => self.id = Some(value),
            "env" => self.env = Some(value),
            _ => {}
        }
        Ok(())
    }

    fn checked(self) -> Result<Self, ParseMountError> {
        let kind = self.kind;
        let not_allowed = |key| Err(ParseMountError::NotAllowed { key, kind: kind.name() });
        let owned = matches!(kind, MountKind::Secret | MountKind::Ssh | MountKind::Cache);
        for (key, given) in [("mode", self.mode), ("uid", self.uid), ("gid", self.gid)] {
            if given.is_some() && !owned {
                return not_allowed(key);
            }
        }
        if self.size.is_some() && kind != MountKind::Tmpfs {
            return not_allowed("size");
        }
        if kind == MountKind::Secret {
            if self.from.is_some() {
                return not_allowed("from");
            }
            let named = [&self.source, &self.target, &self.id].into_iter().any(Option::is_some);
            if !named || (self.source.is_some() && self.id.is_some()) {
                return Err(ParseMountError::SecretName);
            }
        }
        Ok(self)
    }
}

fn has_variable(value: &str) -> bool {
    value.trim_end_matches('$').contains('$')
}

/// Splits at commas outside of double quotes.
fn split_fields(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => fields.last_mut().expect("there is always one field").push(c),
        }
    }
    fields
}

/// Reads `64m`, `1.5g`, `1024`.
fn parse_size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match lower[digits.len()..].trim() {
        "" => 1u64,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return None,
    };
    if let Ok(whole) = digits.trim().parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let number: f64 =
        digits.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
    #[expect(clippy::cast_precision_loss, reason = "factors are powers of two")]
    let bytes = number * factor as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to fit")]
    (bytes < 1e18).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Mount, ParseMountError> {
        Mount::parse(text, &mut |value| Ok(value.replace("$V", "value")))
    }

    #[test]
    fn mounts_are_typed() {
        let bind = Mount { read_only: true, ..Mount::default() };
        for (name, text, want) in [
            ("bind is the default", "target=/x", Mount { target: Some("/x".into()), ..bind.clone() }),
            (
                "cache",
                "type=cache,id=$V,dst=/c,sharing=locked,uid=5,mode=0700",
                Mount {
                    kind: MountKind::Cache,
                    id: Some("value".into()),
                    target: Some("/c".into()),
                    sharing: Sharing::Locked,
                    uid: Some(5),
                    mode: Some(0o700),
                    ..Mount::default()
                },
            ),
            ("writable bind", "target=/x,rw", Mount { target: Some("/x".into()), ..Mount::default() }),
            (
                "tmpfs",
                "type=tmpfs,target=/t,size=64m",
                Mount {
                    kind: MountKind::Tmpfs,
                    target: Some("/t".into()),
                    size: Some(64 << 20),
                    ..Mount::default()
                },
            ),
            (
                "required secret, type last",
                "id=s,required,type=secret",
                Mount { kind: MountKind::Secret, id: Some("s".into()), required: true, ..bind.clone() },
            ),
        ] {
            assert_eq!(parse(text), Ok(want), "case {name}");
        }
    }

    #[test]
    fn wrong_mounts_are_refused() {
        for (name, text) in [
            ("propagation", "type=bind,target=/x,bind-propagation=shared"),
            ("unknown type", "type=nfs,target=/x"),
            ("mode of a bind", "target=/x,mode=0777"),
            ("size of a cache", "type=cache,target=/x,size=1"),
            ("sharing of a bind", "target=/x,sharing=locked"),
            ("required bind", "target=/x,required"),
            ("no value", "target"),
            ("bad number", "type=cache,target=/x,uid=-1"),
            ("bad boolean", "target=/x,ro=maybe"),
            ("secret without a name", "type=secret"),
            ("secret from", "type=secret,id=a,from=b"),
            ("variable in from", "from=$V,target=/x"),
            ("empty", ""),
        ] {
            assert!(parse(text).is_err(), "case {name}");
        }
    }
}
