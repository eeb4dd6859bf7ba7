//! Texts as parts of pages, scripts and addresses. Compat: Go's text/template.

use super::budget::Writer;
use super::quote;

/// Writes a text for a page.
pub(super) fn html(text: &str, out: &mut Writer<'_>) -> Result<(), String> {
    for char in text.chars() {
        match char {
            '"' => out.push("&#34;"),
            '\'' => out.push("&#39;"),
            '&' => out.push("&amp;"),
            '<' => out.push("&lt;"),
            '>' => out.push("&gt;"),
            '\0' => out.push("\u{fffd}"),
            _ => out.push_char(char),
        }?;
    }
    Ok(())
}

/// Writes a text for a script.
pub(super) fn js(text: &str, out: &mut Writer<'_>) -> Result<(), String> {
    for char in text.chars() {
        match char {
            '\\' => out.push("\\\\"),
            '\'' => out.push("\\'"),
            '"' => out.push("\\\""),
            _ if quote::is_shown(char) && !matches!(char, '<' | '>' | '&' | '=') => out.push_char(char),
            _ => out.push(&format!("\\u{:04X}", u32::from(char))),
        }?;
    }
    Ok(())
}

/// Writes a text for the query of an address.
pub(super) fn query(text: &str, out: &mut Writer<'_>) -> Result<(), String> {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push_char(char::from(byte))
            }
            b' ' => out.push("+"),
            _ => out.push(&format!("%{byte:02X}")),
        }?;
    }
    Ok(())
}
