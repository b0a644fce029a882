//! Text from a package on its way to a person.

use std::fmt;

/// Shows text with control characters, line breaks and direction overrides escaped: a name in a refused package
/// must not be able to redraw a terminal.
pub(crate) struct Shown<'a>(pub &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '"' | '\'' | '\\' => fmt::Write::write_char(f, c),
            // Some that the standard library takes for printable have no glyph.
            unsafe_char if mpkg_manifest::is_unsafe_char(c) => write!(f, "{}", unsafe_char.escape_default()),
            other => write!(f, "{}", other.escape_debug()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Shown;

    #[test]
    fn nothing_in_it_can_steer_a_terminal() {
        let shown = Shown("a\"\\é\u{1b}[2J\r\n\u{202e}\u{2066}\u{7f}\u{9b}\u{3164}").to_string();
        assert_eq!(shown, "a\"\\é\\u{1b}[2J\\r\\n\\u{202e}\\u{2066}\\u{7f}\\u{9b}\\u{3164}");
    }
}
