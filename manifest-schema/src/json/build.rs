//! From raw values to nodes, with the strict profile's rules on the way.
//!
//! Each level is read by serde_json into the raw values of the level below, so a byte is read once per level
//! around it; the depth limit bounds that. Nothing here recurses deeper than the limit either, whatever the
//! input.

use std::collections::HashMap;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::error::JsonError;
use super::node::{Member, Node, Value};
use super::{MAX_SAFE_INTEGER, error};
use crate::span::Span;

/// Rules broken in one document that are told; a hostile one could break a hundred thousand.
const MOST_ERRORS: usize = 100;

pub(super) fn tree(source: &[u8], raw: &str, max_depth: usize) -> Result<(Node, Vec<JsonError>), JsonError> {
    let mut builder = Builder { source, max_depth, errors: Vec::new(), told: 0 };
    let node = builder.node(raw, 0, Path::Root)?;
    Ok((node, builder.errors))
}

struct Builder<'a> {
    source: &'a [u8],
    max_depth: usize,
    errors: Vec<JsonError>,
    /// Errors met, those over the most included.
    told: usize,
}

/// The way to a value, written out only when there is something to say about it: a key may be as long as the
/// document.
#[derive(Clone, Copy)]
enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl Path<'_> {
    fn to_pointer(self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Key(parent, key) => {
                format!("{}/{}", parent.to_pointer(), key.replace('~', "~0").replace('/', "~1"))
            }
            Self::Index(parent, index) => format!("{}/{index}", parent.to_pointer()),
        }
    }
}

impl Builder<'_> {
    fn node(&mut self, raw: &str, depth: usize, path: Path<'_>) -> Result<Node, JsonError> {
        let span = self.span(raw);
        let before = self.told;
        let value = match raw.as_bytes().first() {
            Some(b'{' | b'[') if depth == self.max_depth => {
                return Err(JsonError::TooDeep { max: self.max_depth, offset: span.start });
            }
            Some(b'{') => {
                return Ok(Node { span, value: self.object(raw, span, depth, path)?, refused: false });
            }
            Some(b'[') => {
                return Ok(Node { span, value: self.array(raw, span, depth, path)?, refused: false });
            }
            Some(b'"') => self.string(raw, span, path).map_or(Value::Null, Value::Str),
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            Some(b'n') => Value::Null,
            _ => self.number(raw, span, path),
        };
        Ok(Node { span, value, refused: self.told > before })
    }

    fn object(&mut self, raw: &str, span: Span, depth: usize, path: Path<'_>) -> Result<Value, JsonError> {
        let entries = self.level(raw, span, |reader| reader.deserialize_map(Entries))?;
        let mut seen: HashMap<String, Span> = HashMap::with_capacity(entries.len());
        let mut members = Vec::with_capacity(entries.len());
        for (raw_key, raw_value) in entries {
            let key_span = self.span(raw_key.get());
            let Some(key) = self.string(raw_key.get(), key_span, path) else { continue };
            let inner = Path::Key(&path, &key);
            let node = self.node(raw_value.get(), depth + 1, inner)?;
            // Compared after unescaping: "a" and "\u0061" are the same key to every reader.
            if let Some(first) = seen.get(&key) {
                let first = *first;
                self.tell(|| {
                    let pointer = inner.to_pointer();
                    JsonError::DuplicateKey { key: key.clone(), span: key_span, first, pointer }
                });
                continue;
            }
            seen.insert(key.clone(), key_span);
            members.push(Member { key, key_span, node });
        }
        Ok(Value::Object(members))
    }

    fn array(&mut self, raw: &str, span: Span, depth: usize, path: Path<'_>) -> Result<Value, JsonError> {
        let elements = self.level(raw, span, |reader| reader.deserialize_seq(Elements))?;
        let mut items = Vec::with_capacity(elements.len());
        for (index, element) in elements.into_iter().enumerate() {
            items.push(self.node(element.get(), depth + 1, Path::Index(&path, index))?);
        }
        Ok(Value::Array(items))
    }

    fn string(&mut self, raw: &str, span: Span, path: Path<'_>) -> Option<String> {
        // Syntax has been checked; what is left to go wrong is an escape that is half a surrogate pair.
        let text = serde_json::from_str(raw).ok();
        if text.is_none() {
            self.tell(|| JsonError::LoneSurrogate { span, pointer: path.to_pointer() });
        }
        text
    }

    fn number(&mut self, raw: &str, span: Span, path: Path<'_>) -> Value {
        let text = || raw.to_owned();
        if raw.contains(['.', 'e', 'E']) {
            self.tell(|| JsonError::Float { text: text(), span, pointer: path.to_pointer() });
            return Value::Null;
        }
        match raw.parse::<i64>() {
            Ok(number) if (-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER).contains(&number) => Value::Int(number),
            _ => {
                self.tell(|| JsonError::IntegerRange { text: text(), span, pointer: path.to_pointer() });
                Value::Null
            }
        }
    }

    fn tell(&mut self, error: impl FnOnce() -> JsonError) {
        self.told += 1;
        if self.errors.len() < MOST_ERRORS {
            self.errors.push(error());
        }
    }

    /// Reads one level of `raw`, which has passed the syntax check.
    fn level<'r, T>(
        &self,
        raw: &'r str,
        span: Span,
        read: impl FnOnce(&mut serde_json::Deserializer<serde_json::de::StrRead<'r>>) -> serde_json::Result<T>,
    ) -> Result<T, JsonError> {
        read(&mut serde_json::Deserializer::from_str(raw)).map_err(|problem| {
            let offset = span.start + error::offset_of(raw.as_bytes(), &problem);
            JsonError::syntax(self.source, offset, &problem)
        })
    }

    fn span(&self, part: &str) -> Span {
        let start = (part.as_ptr() as usize).saturating_sub(self.source.as_ptr() as usize);
        Span::new(start, start + part.len())
    }
}

/// The members of one object, in order, duplicates included.
struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(&'de RawValue, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

/// The elements of one array.
struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(elements)
    }
}
