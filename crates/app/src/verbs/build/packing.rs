//! `compression`, `compression-level` and `force-compression`, as outputs and caches have them. Compat: BuildKit.

use shipway_distribution::{Compression, Packing};
use shipway_dockerfile::suggest;

use crate::stargz::StargzWish;

/// What was typed of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Typed<'a> {
    pub(super) compression: Option<&'a str>,
    pub(super) level: Option<&'a str>,
    pub(super) force: bool,
}

impl Typed<'_> {
    /// Returns what it means; `None` if nothing was typed. The error says what is wrong with it. Of layers in eStargz the packing is what
    /// holds for those that are not.
    pub(super) fn read(self) -> Result<(Option<Packing>, Option<StargzWish>), String> {
        let (compression, levels) = match self.compression {
            None if self.level.is_none() && !self.force => return Ok((None, None)),
            None | Some("gzip" | "estargz") => (Compression::Gzip, 0..=9),
            Some("zstd") => (Compression::Zstd, 0..=22),
            Some("uncompressed") if self.level.is_some() => {
                return Err("what is not compressed has no level".to_owned());
            }
            Some("uncompressed") => (Compression::None, 0..=0),
            Some(other) => return Err(unknown("compression", other, &COMPRESSIONS, &[])),
        };
        let wrong = |text: &str| format!("a level is a number from 0 to {}, not `{text}`", levels.end());
        let number = |text: &str| text.parse().ok().filter(|level| levels.contains(level));
        let level = self.level.map(|text| number(text).ok_or_else(|| wrong(text))).transpose()?;
        if self.compression == Some("estargz") {
            return Ok((Some(Packing::default()), Some(StargzWish { level, force: self.force })));
        }
        Ok((Some(Packing { compression, level, force: self.force, is_docker: false }), None))
    }
}

const COMPRESSIONS: [&str; 4] = ["gzip", "zstd", "estargz", "uncompressed"];

/// Says that a word is not there yet, if it is one of those that BuildKit knows beside ours, or which one was meant.
pub(super) fn unknown(what: &str, word: &str, known: &[&str], missing: &[&str]) -> String {
    let what = if what.is_empty() { String::new() } else { format!("{what} ") };
    if missing.contains(&word) {
        return format!("{what}`{word}` is not there yet");
    }
    match suggest(word, known.iter().copied()) {
        Some(near) => format!("{what}`{word}` is unknown: did you mean `{near}`?"),
        None => format!("{what}`{word}` is unknown: there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_read_as_buildkit_reads_them() {
        let packing = |compression, level, force| {
            Ok((Some(Packing { compression, level, force, is_docker: false }), None))
        };
        let stargz = |level, force| Ok((Some(Packing::default()), Some(StargzWish { level, force })));
        for (compression, level, force, want) in [
            (None, None, false, Ok((None, None))),
            (Some("gzip"), None, false, packing(Compression::Gzip, None, false)),
            (None, Some("9"), false, packing(Compression::Gzip, Some(9), false)),
            (None, None, true, packing(Compression::Gzip, None, true)),
            (Some("zstd"), Some("19"), true, packing(Compression::Zstd, Some(19), true)),
            (Some("uncompressed"), None, true, packing(Compression::None, None, true)),
            (Some("gzip"), Some("10"), false, Err("a level is a number from 0 to 9, not `10`")),
            (Some("zstd"), Some("-1"), false, Err("a level is a number from 0 to 22, not `-1`")),
            (Some("uncompressed"), Some("1"), false, Err("what is not compressed has no level")),
            (Some("estargz"), None, false, stargz(None, false)),
            (Some("estargz"), Some("9"), true, stargz(Some(9), true)),
            (Some("estargz"), Some("10"), false, Err("a level is a number from 0 to 9, not `10`")),
            (
                Some("lz4"),
                None,
                false,
                Err("compression `lz4` is unknown: there are gzip, zstd, estargz, uncompressed"),
            ),
            (Some("zst"), None, false, Err("compression `zst` is unknown: did you mean `zstd`?")),
        ] {
            let typed = Typed { compression, level, force };
            assert_eq!(typed.read(), want.map_err(str::to_owned), "case {typed:?}");
        }
    }
}
