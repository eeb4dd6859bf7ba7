//! Texts as parts of pages, scripts and addresses. Compat: Go's text/template.

use std::fmt::Write as _;

/// Returns a text for a page.
pub(super) fn html(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        match char {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0' => out.push('\u{fffd}'),
            _ => out.push(char),
        }
    }
    out
}

/// Returns a text for a script.
pub(super) fn js(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        let is_shown = !char.is_control() && (!char.is_whitespace() || char == ' ');
        match char {
            '\\' | '\'' | '"' => out.extend(['\\', char]),
            '<' | '>' | '&' | '=' => hexadecimal(&mut out, char),
            _ if is_shown => out.push(char),
            _ => hexadecimal(&mut out, char),
        }
    }
    out
}

fn hexadecimal(out: &mut String, char: char) {
    write!(out, "\\u{:04X}", u32::from(char)).expect("writing to a string cannot fail");
}

/// Returns a text for the query of an address.
pub(super) fn query(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => write!(out, "%{byte:02X}").expect("writing to a string cannot fail"),
        }
    }
    out
}
