//! Strict JSON with spans.
//!
//! Two layers. *Syntax* is RFC 8259 as serde_json reads it, on UTF-8. The *strict profile* on top is what
//! every signed or hashed document must keep: one meaning for one text, in every reader. serde_json is the
//! only parser here; its borrowed `RawValue`s say where each value stands.

mod build;
mod error;
mod node;

pub use error::JsonError;
pub use node::{Member, Node, Value};

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::span::Span;

/// The greatest integer magnitude that every JSON reader keeps exactly: 2^53 - 1.
pub const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

/// How much a document may ask of its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest document, in bytes.
    pub max_bytes: usize,
    /// Deepest nesting of arrays and objects.
    pub max_depth: usize,
}

impl Limits {
    /// A manifest: 256 KiB, 32 levels.
    pub const MANIFEST: Self = Self { max_bytes: 256 * 1024, max_depth: 32 };

    /// 32 levels, and the given number of bytes.
    #[must_use]
    pub const fn bytes(max_bytes: usize) -> Self {
        Self { max_bytes, max_depth: 32 }
    }
}

/// Checks the syntax layer only: well-formed JSON in UTF-8, one value, nothing behind it.
///
/// # Errors
/// Says what is not JSON about it, and where.
pub fn check_syntax(bytes: &[u8]) -> Result<(), JsonError> {
    syntax(bytes).map(|_| ())
}

/// Parses under the strict profile: no byte order mark, no duplicate keys at any depth, no floats, integers
/// within ±(2^53 - 1), bounded depth and length, nothing behind the value.
///
/// ```
/// use mpkg_manifest::json::{self, Limits};
/// let node = json::parse(br#"{"a": [1, true]}"#, Limits::bytes(1024)).unwrap();
/// assert_eq!(node.pointer("/a/0").unwrap().span.start, 7);
/// let twice = json::parse(br#"{"a": 1, "\u0061": 2}"#, Limits::bytes(1024)).unwrap_err();
/// assert_eq!((twice.code(), twice.offset()), ("MPKG-J04", 9));
/// ```
///
/// # Errors
/// Answers the first rule that the document breaks.
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Node, JsonError> {
    let (node, errors) = parse_all(bytes, limits)?;
    match errors.into_iter().next() {
        None => Ok(node),
        Some(first) => Err(first),
    }
}

/// Parses under the strict profile and goes on after what can be gone on after (duplicate keys, floats,
/// integers out of range, lone surrogates), so that all of these can be told at once. The tree must not be
/// used unless the list is empty.
///
/// # Errors
/// What nothing can be read after: broken syntax, wrong encoding, too long, too deep.
pub fn parse_all(bytes: &[u8], limits: Limits) -> Result<(Node, Vec<JsonError>), JsonError> {
    if bytes.len() > limits.max_bytes {
        return Err(JsonError::TooLong { length: bytes.len(), max: limits.max_bytes });
    }
    let raw = syntax(bytes)?;
    build::tree(bytes, raw, limits.max_depth)
}

/// Parses under the strict profile, then into `T`.
///
/// ```
/// use mpkg_manifest::json::{self, Limits};
/// let numbers: Vec<u8> = json::read(b"[1, 2]", Limits::bytes(64)).unwrap();
/// assert_eq!(numbers, [1, 2]);
/// assert_eq!(json::read::<Vec<u8>>(b"[1.0]", Limits::bytes(64)).unwrap_err().code(), "MPKG-J05");
/// assert_eq!(json::read::<Vec<u8>>(b"{}", Limits::bytes(64)).unwrap_err().code(), "MPKG-J11");
/// ```
///
/// # Errors
/// As [`parse`], or [`JsonError::Shape`] when the document is fine but is no `T`.
pub fn read<T: DeserializeOwned>(bytes: &[u8], limits: Limits) -> Result<T, JsonError> {
    let node = parse(bytes, limits)?;
    from_node(bytes, &node)
}

/// Reads `T` from the tree rather than from the text, so that both go by the same reading: to serde_json
/// alone, `-0` is a float.
pub(crate) fn from_node<T: DeserializeOwned>(source: &[u8], node: &Node) -> Result<T, JsonError> {
    serde_json::from_value(node.to_value()).map_err(|error| {
        // Only the text knows where; ask it again.
        let offset =
            serde_json::from_slice::<T>(source).err().map_or(0, |error| error::offset_of(source, &error));
        JsonError::Shape { offset, message: error::bare_message(&error) }
    })
}

fn syntax(bytes: &[u8]) -> Result<&str, JsonError> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(JsonError::ByteOrderMark);
    }
    let text =
        std::str::from_utf8(bytes).map_err(|error| JsonError::NotUtf8 { offset: error.valid_up_to() })?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let raw: &RawValue = serde::Deserialize::deserialize(&mut reader)
        .map_err(|error| JsonError::syntax(bytes, error::offset_of(bytes, &error), &error))?;
    if reader.end().is_err() {
        let end = Span::within(text, raw.get()).end;
        let blank = text.get(end..).map_or(0, |rest| rest.len() - rest.trim_start().len());
        return Err(JsonError::TrailingBytes { offset: end + blank });
    }
    Ok(raw.get())
}

impl Span {
    /// Where `part`, which was borrowed from `whole`, stands in it.
    pub(crate) fn within(whole: &str, part: &str) -> Self {
        let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
        Self::new(start, start + part.len())
    }
}
