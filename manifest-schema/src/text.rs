//! Text that people get to see.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Text shown to users: not empty, at most `MAX` characters, no white space at either end, and without
/// characters that could make a dialog say something else than what it says.
///
/// Refused are control characters, line and paragraph separators, bidirectional embeddings, overrides and
/// isolates, and characters without a glyph, such as zero-width space, soft hyphen, byte order mark and tags.
/// Joiners stay allowed: Persian and emoji need them.
///
/// ```
/// use mpkg_manifest::Text;
/// assert!("Stock alert".parse::<Text<64>>().is_ok());
/// assert!("Wallet\u{202e}kcatta".parse::<Text<64>>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text<const MAX: usize>(String);

/// Longer text in which line breaks are allowed, otherwise like [`Text`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Paragraph<const MAX: usize>(String);

/// Why a text is not fit to be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing in it, or white space only.
    #[error("the text is empty")]
    Empty,
    /// White space at an end, which makes two names look the same.
    #[error("the text begins or ends with white space")]
    Untrimmed,
    /// More characters than fit where it is shown.
    #[error("the text has {length} characters, more than {max}")]
    TooLong {
        /// Characters in the text.
        length: usize,
        /// Characters allowed.
        max: usize,
    },
    /// A character that is invisible or changes the order of what is around it.
    #[error("the text holds U+{:04X}, a control, invisible or reordering character", u32::from(*character))]
    UnsafeCharacter {
        /// The character.
        character: char,
    },
}

impl TextError {
    /// The rule that was broken.
    #[must_use]
    pub fn code(&self) -> &'static str {
        crate::codes::TEXT
    }
}

/// Whether a character must not be echoed to a person as it is: it could act on the terminal, hide, or
/// reorder what stands around it.
///
/// ```
/// assert!(mpkg_manifest::is_unsafe_char('\u{1b}'));
/// assert!(mpkg_manifest::is_unsafe_char('\u{202e}'));
/// assert!(!mpkg_manifest::is_unsafe_char('é'));
/// ```
#[must_use]
pub fn is_unsafe_char(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Invisible: soft hyphen, joiner, fillers, vowel signs and separators that have no glyph.
            '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}' | '\u{3164}'
            | '\u{ffa0}' | '\u{200b}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
            // Line separators, bidirectional embeddings, overrides and isolates, invisible operators.
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}

pub(crate) fn check(text: &str, max: usize, line_breaks: bool) -> Result<(), TextError> {
    let length = text.chars().count();
    if length > max {
        return Err(TextError::TooLong { length, max });
    }
    if let Some(character) = text.chars().find(|c| is_unsafe_char(*c) && !(line_breaks && *c == '\n')) {
        return Err(TextError::UnsafeCharacter { character });
    }
    if text.trim().is_empty() {
        return Err(TextError::Empty);
    }
    if text.trim().len() != text.len() {
        return Err(TextError::Untrimmed);
    }
    Ok(())
}

macro_rules! text_type {
    ($name:ident, $line_breaks:literal) => {
        impl<const MAX: usize> FromStr for $name<MAX> {
            type Err = TextError;

            fn from_str(text: &str) -> Result<Self, TextError> {
                check(text, MAX, $line_breaks).map(|()| Self(text.to_owned()))
            }
        }

        impl<const MAX: usize> TryFrom<String> for $name<MAX> {
            type Error = TextError;

            fn try_from(text: String) -> Result<Self, TextError> {
                check(&text, MAX, $line_breaks).map(|()| Self(text))
            }
        }

        impl<const MAX: usize> From<$name<MAX>> for String {
            fn from(text: $name<MAX>) -> Self {
                text.0
            }
        }

        impl<const MAX: usize> Deref for $name<MAX> {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl<const MAX: usize> AsRef<str> for $name<MAX> {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl<const MAX: usize> fmt::Display for $name<MAX> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl<const MAX: usize> JsonSchema for $name<MAX> {
            fn schema_name() -> Cow<'static, str> {
                format!(concat!(stringify!($name), "{}"), MAX).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "minLength": 1, "maxLength": MAX })
            }
        }
    };
}

text_type!(Text, false);
text_type!(Paragraph, true);

#[cfg(test)]
mod tests {
    use super::{Paragraph, Text, TextError};

    #[test]
    fn what_is_shown_says_what_it_says() {
        for good in ["a", "Stock alert", "فروشگاه\u{200c}ها", "👩\u{200d}👧", "Ünï – “q”"]
        {
            assert!(good.parse::<Text<64>>().is_ok(), "{good}");
        }
        for bad in [
            "a\nb",
            "a\tb",
            "\u{1b}[2J",
            "a\u{202e}b",
            "a\u{2066}b",
            "a\u{200b}b",
            "a\u{feff}b",
            "a\u{e0041}b",
        ] {
            assert!(
                matches!(bad.parse::<Text<64>>(), Err(TextError::UnsafeCharacter { .. })),
                "{}",
                bad.escape_unicode()
            );
        }
        assert_eq!("".parse::<Text<4>>(), Err(TextError::Empty));
        assert_eq!(" a".parse::<Text<4>>(), Err(TextError::Untrimmed));
        assert_eq!("äöüßa".parse::<Text<4>>(), Err(TextError::TooLong { length: 5, max: 4 }));
        assert!("äöüß".parse::<Text<4>>().is_ok());
        assert!("a\nb".parse::<Paragraph<4>>().is_ok());
    }
}
