//! Text for a terminal: what a step printed without what would move the cursor, cut to a width.

use unicode_width::UnicodeWidthChar as _;

const TAB: usize = 8;

/// Returns a line of output as it can be shown: no escape sequences, tabs as spaces, and after carriage returns only what
/// was written over the rest.
pub(crate) fn clean(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches('\r');
    let text = text.rsplit('\r').next().unwrap_or(text);
    let mut shown = String::with_capacity(text.len());
    let (mut width, mut chars) = (0, text.chars().peekable());
    while let Some(char) = chars.next() {
        match char {
            '\t' => {
                let spaces = TAB - width % TAB;
                shown.extend(std::iter::repeat_n(' ', spaces));
                width += spaces;
            }
            '\u{1b}' => skip_escape(&mut chars),
            _ if char.is_control() => {}
            _ => {
                shown.push(char);
                width += char.width().unwrap_or(0);
            }
        }
    }
    shown
}

/// Takes the rest of an escape sequence: `[…letter`, `]…BEL` or `]…ESC\`, or one more character.
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => while chars.next().is_some_and(|char| !('\u{40}'..='\u{7e}').contains(&char)) {},
        Some(']') => {
            while let Some(char) = chars.next() {
                if char == '\u{7}' || char == '\u{1b}' && chars.next_if_eq(&'\\').is_some() {
                    return;
                }
            }
        }
        _ => {}
    }
}

/// Returns how many columns a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(|char| char.width().unwrap_or(0)).sum()
}

/// Returns the start of a text that fits, with `…` where something is left out.
pub(crate) fn clip(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    let mut used = 0;
    let fits = |char: &char| {
        used += char.width().unwrap_or(0);
        used <= room
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_the_cursor_is_left() {
        for (name, line, want) in [
            ("plain", "Setting up curl", "Setting up curl"),
            ("colours", "\u{1b}[1;31mred\u{1b}[0m text", "red text"),
            ("cursor", "a\u{1b}[2J\u{1b}[10;10Hb", "ab"),
            ("title", "a\u{1b}]0;title\u{7}b\u{1b}]0;title\u{1b}\\c", "abc"),
            ("unfinished", "a\u{1b}[12", "a"),
            ("written over", "10%\r 50%\r100%", "100%"),
            ("end of a line", "done\r", "done"),
            ("tab", "a\tb", "a       b"),
            ("bell and backspace", "a\u{7}\u{8}b", "ab"),
        ] {
            assert_eq!(clean(line.as_bytes()), want, "case {name}");
        }
        assert_eq!(clean(b"a\xffb"), "a\u{fffd}b");
    }

    #[test]
    fn a_text_is_cut_by_columns() {
        for (text, columns, want) in [
            ("short", 5, "short"),
            ("longer", 5, "long…"),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("ab", 1, "…"),
            ("ab", 0, ""),
        ] {
            assert_eq!(clip(text, columns), want, "{text} in {columns}");
            assert!(width(&clip(text, columns)) <= columns);
        }
    }
}
