//! Names of files inside a package.

use serde::{Deserialize, Serialize};

use crate::strings::checked_string;

/// Longest name of a file in a package, in bytes.
pub const MAX_PATH_BYTES: usize = 255;
/// Most segments in the name of a file in a package.
pub const MAX_PATH_SEGMENTS: usize = 16;

/// The name of a file inside a package: ASCII segments `[A-Za-z0-9_][A-Za-z0-9._-]*` joined by `/`.
///
/// Names are this narrow so that every file system and every archive reader sees the same ones: no way up
/// (`..`), no absolute paths, no hidden files, no device names of Windows, no trailing dots that Windows
/// drops, no Unicode that one system normalises and another does not.
///
/// ```
/// use mpkg_manifest::PackagePath;
/// assert!("assets/icon-48.png".parse::<PackagePath>().is_ok());
/// for bad in ["", "/etc/passwd", "../x", "a//b", "a/", ".git/config", "aux.txt", "a.", "naïve.js", "a\\b"] {
///     assert!(bad.parse::<PackagePath>().is_err(), "{bad}");
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PackagePath(String);

/// Why a name cannot be that of a file in a package.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing.
    #[error("the path is empty")]
    Empty,
    /// Too many bytes.
    #[error("the path has {length} bytes, more than {MAX_PATH_BYTES}")]
    TooLong {
        /// Bytes in the path.
        length: usize,
    },
    /// Too many folders.
    #[error("the path has {segments} segments, more than {MAX_PATH_SEGMENTS}")]
    TooDeep {
        /// Segments in the path.
        segments: usize,
    },
    /// `/a`, `a//b` or `a/`.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// A first character that is no letter, digit or underscore: `.`, `..`, `.hidden`, `-rf`.
    #[error("the segment {} does not begin with a letter, a digit or `_`", crate::problem::quote(segment))]
    BadStart {
        /// The segment.
        segment: String,
    },
    /// A character outside `[A-Za-z0-9._-]`.
    #[error("the path holds U+{:04X}, which is none of A-Z a-z 0-9 . _ - /", u32::from(*character))]
    BadCharacter {
        /// The character.
        character: char,
    },
    /// A dot at the end of a segment.
    #[error("the segment {} ends with a dot", crate::problem::quote(segment))]
    TrailingDot {
        /// The segment.
        segment: String,
    },
    /// `con`, `aux.txt`, `LPT1`.
    #[error("the segment {} is the name of a device on Windows", crate::problem::quote(segment))]
    DeviceName {
        /// The segment.
        segment: String,
    },
}

impl PathError {
    /// The rule that was broken.
    #[must_use]
    pub fn code(&self) -> &'static str {
        crate::codes::PATH
    }
}

impl PackagePath {
    /// Checks a name without copying it.
    ///
    /// # Errors
    /// Says which rule of names it breaks.
    pub fn check(path: &str) -> Result<(), PathError> {
        if path.is_empty() {
            return Err(PathError::Empty);
        }
        if path.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong { length: path.len() });
        }
        let segments = path.split('/').count();
        if segments > MAX_PATH_SEGMENTS {
            return Err(PathError::TooDeep { segments });
        }
        path.split('/').try_for_each(check_segment)
    }

    /// The name in ASCII lower case: two names in a package must not be equal under this.
    #[must_use]
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// The segments between the slashes.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

fn check_segment(segment: &str) -> Result<(), PathError> {
    let Some(first) = segment.chars().next() else { return Err(PathError::EmptySegment) };
    if let Some(character) =
        segment.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
    {
        return Err(PathError::BadCharacter { character });
    }
    let segment_text = || segment.to_owned();
    if matches!(first, '.' | '-') {
        return Err(PathError::BadStart { segment: segment_text() });
    }
    if segment.ends_with('.') {
        return Err(PathError::TrailingDot { segment: segment_text() });
    }
    if is_device(segment) {
        return Err(PathError::DeviceName { segment: segment_text() });
    }
    Ok(())
}

/// Windows opens the device whatever follows the first dot, in any case of letters.
fn is_device(segment: &str) -> bool {
    let stem = segment.split('.').next().unwrap_or(segment).to_ascii_lowercase();
    match stem.as_str() {
        "con" | "prn" | "aux" | "nul" => true,
        _ => ["com", "lpt"].iter().any(|device| {
            stem.strip_prefix(device)
                .is_some_and(|rest| matches!(rest.as_bytes(), [digit] if digit.is_ascii_digit()))
        }),
    }
}

checked_string!(PackagePath, PathError, PackagePath::check, {
    "type": "string",
    "description": "The name of a file in the package: ASCII segments joined by `/`, none beginning with a \
                    dot or a dash, none ending with a dot, no device names of Windows.",
    "maxLength": MAX_PATH_BYTES,
    "pattern": "^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_-])?(/[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_-])?)*$"
});

#[cfg(test)]
mod tests {
    use super::{PackagePath, PathError};

    #[test]
    fn each_rule_has_its_own_refusal() {
        let check = |path: &str| PackagePath::check(path).unwrap_err();
        assert_eq!(check(""), PathError::Empty);
        assert_eq!(check("a//b"), PathError::EmptySegment);
        assert_eq!(check("/a"), PathError::EmptySegment);
        assert_eq!(check("a/"), PathError::EmptySegment);
        assert!(matches!(check(".."), PathError::BadStart { .. }));
        assert!(matches!(check("a/-rf"), PathError::BadStart { .. }));
        assert!(matches!(check("a/b./c"), PathError::TrailingDot { .. }));
        assert_eq!(check("a b"), PathError::BadCharacter { character: ' ' });
        assert_eq!(check("a\0b"), PathError::BadCharacter { character: '\0' });
        for device in ["CON", "aux.txt", "x/LPT9", "com0.tar.gz", "Nul"] {
            assert!(matches!(check(device), PathError::DeviceName { .. }), "{device}");
        }
        assert!(matches!(check(&"a".repeat(256)), PathError::TooLong { length: 256 }));
        assert!(matches!(check(&["a"; 17].join("/")), PathError::TooDeep { segments: 17 }));
        for good in [
            "a",
            "_",
            "a/b/c.d-e_f",
            "console",
            "clock.png",
            "com10",
            "lpt.x",
            &"a".repeat(255),
            &["a"; 16].join("/"),
        ] {
            assert_eq!(PackagePath::check(good), Ok(()), "{good}");
        }
    }
}
