//! Why a JSON document is refused.

use crate::problem::{quote, shorten};
use crate::span::Span;

/// Why a JSON document is refused. Offsets are in bytes from the start of the document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON.
    #[error("this is not JSON: {message}")]
    Syntax {
        /// Where reading stopped.
        offset: usize,
        /// What the parser met.
        message: String,
        /// What the author probably did.
        hint: Option<&'static str>,
    },
    /// Begins with EF BB BF.
    #[error("the document begins with a byte order mark")]
    ByteOrderMark,
    /// Not UTF-8.
    #[error("the document is not UTF-8")]
    NotUtf8 {
        /// The first byte that is not.
        offset: usize,
    },
    /// A key twice in one object, after unescaping.
    #[error("the key {} is given twice in one object", quote(key))]
    DuplicateKey {
        /// The key.
        key: String,
        /// The second one, with its quotes.
        span: Span,
        /// The first one, with its quotes.
        first: Span,
        /// JSON pointer of the member.
        pointer: String,
    },
    /// A number with a fraction or an exponent.
    #[error("{} is not an integer in plain digits", quote(text))]
    Float {
        /// The number as written.
        text: String,
        /// The number.
        span: Span,
        /// JSON pointer of the number.
        pointer: String,
    },
    /// An integer that some readers would round.
    #[error("the integer {} is outside ±9007199254740991", quote(text))]
    IntegerRange {
        /// The number as written.
        text: String,
        /// The number.
        span: Span,
        /// JSON pointer of the number.
        pointer: String,
    },
    /// Nested too deep.
    #[error("arrays and objects are nested more than {max} levels deep")]
    TooDeep {
        /// Levels allowed.
        max: usize,
        /// The first bracket that is too deep.
        offset: usize,
    },
    /// Too many bytes.
    #[error("the document has {length} bytes, more than {max}")]
    TooLong {
        /// Bytes in the document.
        length: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Something after the value.
    #[error("there is something behind the end of the JSON value")]
    TrailingBytes {
        /// The first byte of it.
        offset: usize,
    },
    /// An escape such as `\ud800` that is half a character.
    #[error("a string holds a \\u escape that is only half a character")]
    LoneSurrogate {
        /// The string, with its quotes.
        span: Span,
        /// JSON pointer of the value or member.
        pointer: String,
    },
    /// Fine as JSON, but not the document that was asked for.
    #[error("the document has the wrong shape: {message}")]
    Shape {
        /// Where.
        offset: usize,
        /// What was expected.
        message: String,
    },
}

impl JsonError {
    /// The rule that was broken.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "MPKG-J01",
            Self::ByteOrderMark => "MPKG-J02",
            Self::NotUtf8 { .. } => "MPKG-J03",
            Self::DuplicateKey { .. } => "MPKG-J04",
            Self::Float { .. } => "MPKG-J05",
            Self::IntegerRange { .. } => "MPKG-J06",
            Self::TooDeep { .. } => "MPKG-J07",
            Self::TooLong { .. } => "MPKG-J08",
            Self::TrailingBytes { .. } => "MPKG-J09",
            Self::LoneSurrogate { .. } => "MPKG-J10",
            Self::Shape { .. } => "MPKG-J11",
        }
    }

    /// The byte at which the trouble begins.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.span().start
    }

    /// The bytes that the trouble is about.
    #[must_use]
    pub fn span(&self) -> Span {
        match self {
            Self::ByteOrderMark => Span::new(0, 3),
            Self::TooLong { .. } => Span::default(),
            Self::DuplicateKey { span, .. }
            | Self::Float { span, .. }
            | Self::IntegerRange { span, .. }
            | Self::LoneSurrogate { span, .. } => *span,
            Self::Syntax { offset, .. }
            | Self::NotUtf8 { offset }
            | Self::TooDeep { offset, .. }
            | Self::TrailingBytes { offset }
            | Self::Shape { offset, .. } => Span::new(*offset, offset + 1),
        }
    }

    /// JSON pointer to the place, empty where the document as a whole is broken.
    #[must_use]
    pub fn pointer(&self) -> &str {
        match self {
            Self::DuplicateKey { pointer, .. }
            | Self::Float { pointer, .. }
            | Self::IntegerRange { pointer, .. }
            | Self::LoneSurrogate { pointer, .. } => pointer,
            _ => "",
        }
    }

    /// What to do about it, where more can be said than the message does.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Syntax { hint, .. } => hint.map(str::to_owned),
            Self::DuplicateKey { .. } => Some("remove one of the two".to_owned()),
            Self::Float { .. } => {
                Some("write a whole number, without `.` and without an exponent".to_owned())
            }
            Self::ByteOrderMark => Some("save the file as UTF-8 without a byte order mark".to_owned()),
            Self::NotUtf8 { .. } => Some("save the file as UTF-8".to_owned()),
            _ => None,
        }
    }

    pub(super) fn syntax(source: &[u8], offset: usize, error: &serde_json::Error) -> Self {
        if error.is_eof() {
            let offset = source.trim_ascii_end().len();
            let inside = bare_message(error).replace("EOF while parsing", "it ends inside");
            let message = if offset == 0 { "it is empty".to_owned() } else { inside };
            return Self::Syntax { offset, message, hint: None };
        }
        let before = source.get(..offset).unwrap_or_default().trim_ascii_end();
        let (offset, message, hint) = match (source.get(offset), before.last()) {
            // The parser stops at the bracket; the mistake is the comma before it.
            (Some(b'}' | b']'), Some(b',')) => {
                (before.len() - 1, "a comma before a closing bracket".to_owned(), Some("remove the comma"))
            }
            (Some(b'/' | b'#'), _) => (offset, bare_message(error), Some("JSON has no comments; remove it")),
            (Some(b'\''), _) => (offset, bare_message(error), Some("JSON strings stand in double quotes")),
            (Some(b'\n' | b'\r' | b'\t'), _) if bare_message(error).contains("control character") => (
                offset,
                bare_message(error),
                Some("inside a string, write line breaks as \\n and tabs as \\t"),
            ),
            _ => (offset, bare_message(error), None),
        };
        Self::Syntax { offset, message, hint }
    }
}

/// serde_json tells line and column; the rest of this crate counts bytes.
pub(super) fn offset_of(source: &[u8], error: &serde_json::Error) -> usize {
    let mut start = 0;
    for _ in 1..error.line() {
        let rest = source.get(start..).unwrap_or_default();
        start += rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
    }
    (start + error.column().saturating_sub(1)).min(source.len())
}

/// serde_json's message without the position that it appends. It repeats what it met, which may be anything.
pub(super) fn bare_message(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let bare = message.rfind(" at line ").and_then(|at| message.get(..at)).unwrap_or(&message);
    shorten(bare, 200)
}
