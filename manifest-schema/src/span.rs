//! Where something stands in a source text.

/// A half-open range of bytes in the source text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset just behind the last byte.
    pub end: usize,
}

impl Span {
    /// A span from `start` up to, but not with, `end`.
    #[must_use]
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The bytes of `source` that this span covers, or `None` if it reaches outside.
    ///
    /// ```
    /// use mpkg_manifest::Span;
    /// assert_eq!(Span::new(1, 3).of(b"abcd"), Some(&b"bc"[..]));
    /// assert_eq!(Span::new(1, 9).of(b"abcd"), None);
    /// ```
    #[must_use]
    pub fn of(self, source: &[u8]) -> Option<&[u8]> {
        source.get(self.start..self.end)
    }
}

/// Line and column of a byte offset, both counted from 1, columns in characters (not bytes).
///
/// An offset behind the end answers the position just behind the last character. Bytes that are not UTF-8
/// count as one column each, so that a complaint about such bytes can still be placed.
///
/// ```
/// use mpkg_manifest::line_col;
/// assert_eq!(line_col("é,\nx".as_bytes(), 2), (1, 2));
/// assert_eq!(line_col("é,\nx".as_bytes(), 4), (2, 1));
/// ```
#[must_use]
pub fn line_col(source: &[u8], offset: usize) -> (usize, usize) {
    let before = source.get(..offset).unwrap_or(source);
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let mut column = 1;
    for chunk in before.get(line_start..).unwrap_or_default().utf8_chunks() {
        column += chunk.valid().chars().count() + chunk.invalid().len();
    }
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::line_col;

    #[test]
    fn counts_characters_and_survives_any_offset() {
        let source = "{\n  \"näme\": 1\n}".as_bytes();
        assert_eq!(line_col(source, 0), (1, 1));
        assert_eq!(line_col(source, 4), (2, 3));
        assert_eq!(line_col(source, 12), (2, 10));
        assert_eq!(line_col(source, 9999), (3, 2));
        assert_eq!(line_col(b"\xff\xff", 2), (1, 3));
        assert_eq!(line_col(b"", 0), (1, 1));
    }
}
