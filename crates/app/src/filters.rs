//! How `--filter` is written.

/// Returns key and value of a filter. Compat: docker, the case of the key and blanks around both mean nothing.
pub(crate) fn parts(text: &str) -> Option<(String, &str)> {
    let (key, value) = text.split_once('=')?;
    Some((key.trim().to_lowercase(), value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_blanks_of_a_key_mean_nothing() {
        for text in ["dangling=true", "Dangling=true", " dangling=true", "dangling=true ", "dangling = true"]
        {
            assert_eq!(parts(text), Some(("dangling".to_owned(), "true")), "case {text}");
        }
        assert_eq!(parts("label=A = B"), Some(("label".to_owned(), "A = B")));
        assert_eq!(parts("dangling"), None);
    }
}
