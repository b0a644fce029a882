//! From raw values to nodes, with the strict profile's rules on the way.
//!
//! Each level is read by serde_json into the raw values of the level below, so a byte is read once per level around
//! it; the depth limit bounds that. Nothing here recurses deeper than the limit either, whatever the input.

use std::collections::HashMap;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::error::JsonError;
use super::node::{Member, Node, Value, push_token};
use super::{MAX_SAFE_INTEGER, error};
use crate::span::Span;

pub(super) fn tree(source: &[u8], raw: &str, max_depth: usize) -> Result<(Node, Vec<JsonError>), JsonError> {
    let mut builder = Builder { source, max_depth, errors: Vec::new() };
    let node = builder.node(raw, 0, "")?;
    Ok((node, builder.errors))
}

struct Builder<'a> {
    source: &'a [u8],
    max_depth: usize,
    errors: Vec<JsonError>,
}

impl Builder<'_> {
    fn node(&mut self, raw: &str, depth: usize, pointer: &str) -> Result<Node, JsonError> {
        let span = self.span(raw);
        let before = self.errors.len();
        let value = match raw.as_bytes().first() {
            Some(b'{' | b'[') if depth == self.max_depth => {
                return Err(JsonError::TooDeep { max: self.max_depth, offset: span.start });
            }
            Some(b'{') => {
                return Ok(Node { span, value: self.object(raw, span, depth, pointer)?, refused: false });
            }
            Some(b'[') => {
                return Ok(Node { span, value: self.array(raw, span, depth, pointer)?, refused: false });
            }
            Some(b'"') => self.string(raw, span, pointer).map_or(Value::Null, Value::Str),
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            Some(b'n') => Value::Null,
            _ => self.number(raw, span, pointer),
        };
        Ok(Node { span, value, refused: self.errors.len() > before })
    }

    fn object(&mut self, raw: &str, span: Span, depth: usize, pointer: &str) -> Result<Value, JsonError> {
        let entries = self.level(raw, span, |reader| reader.deserialize_map(Entries))?;
        let mut seen: HashMap<String, Span> = HashMap::with_capacity(entries.len());
        let mut members = Vec::with_capacity(entries.len());
        for (raw_key, raw_value) in entries {
            let key_span = self.span(raw_key.get());
            let Some(key) = self.string(raw_key.get(), key_span, pointer) else { continue };
            let inner = push_token(pointer, &key);
            let node = self.node(raw_value.get(), depth + 1, &inner)?;
            // Compared after unescaping: "a" and "\u0061" are the same key to every reader.
            if let Some(first) = seen.get(&key) {
                let first = *first;
                self.errors.push(JsonError::DuplicateKey { key, span: key_span, first, pointer: inner });
                continue;
            }
            seen.insert(key.clone(), key_span);
            members.push(Member { key, key_span, node });
        }
        Ok(Value::Object(members))
    }

    fn array(&mut self, raw: &str, span: Span, depth: usize, pointer: &str) -> Result<Value, JsonError> {
        let elements = self.level(raw, span, |reader| reader.deserialize_seq(Elements))?;
        let mut items = Vec::with_capacity(elements.len());
        for (index, element) in elements.into_iter().enumerate() {
            items.push(self.node(element.get(), depth + 1, &format!("{pointer}/{index}"))?);
        }
        Ok(Value::Array(items))
    }

    fn string(&mut self, raw: &str, span: Span, pointer: &str) -> Option<String> {
        // Syntax has been checked; what is left to go wrong is an escape that is half a surrogate pair.
        let text = serde_json::from_str(raw).ok();
        if text.is_none() {
            self.errors.push(JsonError::LoneSurrogate { span, pointer: pointer.to_owned() });
        }
        text
    }

    fn number(&mut self, raw: &str, span: Span, pointer: &str) -> Value {
        let (text, pointer) = (raw.to_owned(), pointer.to_owned());
        if raw.contains(['.', 'e', 'E']) {
            self.errors.push(JsonError::Float { text, span, pointer });
            return Value::Null;
        }
        match raw.parse::<i64>() {
            Ok(number) if (-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER).contains(&number) => Value::Int(number),
            _ => {
                self.errors.push(JsonError::IntegerRange { text, span, pointer });
                Value::Null
            }
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
