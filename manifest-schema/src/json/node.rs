//! The tree that parsing answers: plain values that know where they stand.

use crate::span::Span;

/// A JSON value and the bytes that it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The value's bytes, without white space around them.
    pub span: Span,
    /// The value.
    pub value: Value,
    /// The strict profile refused this value, and said so: nothing more need be said about it.
    pub(crate) refused: bool,
}

/// A JSON value of the strict profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A whole number within ±(2^53 - 1).
    Int(i64),
    /// A string, unescaped.
    Str(String),
    /// An array.
    Array(Vec<Node>),
    /// An object, its members in the order in which they were written.
    Object(Vec<Member>),
}

/// A member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The key, unescaped.
    pub key: String,
    /// The key's bytes, quotes included.
    pub key_span: Span,
    /// The value.
    pub node: Node,
}

impl Node {
    /// What kind of value this is, in words that fit behind "found": `a string`, `an array`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "a number",
            Value::Str(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        }
    }

    /// The string, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Value::Str(text) = &self.value { Some(text) } else { None }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        if let Value::Int(number) = self.value { Some(number) } else { None }
    }

    /// The boolean, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(flag) = self.value { Some(flag) } else { None }
    }

    /// The elements, if it is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Node]> {
        if let Value::Array(items) = &self.value { Some(items) } else { None }
    }

    /// The members, if it is an object.
    #[must_use]
    pub fn as_object(&self) -> Option<&[Member]> {
        if let Value::Object(members) = &self.value { Some(members) } else { None }
    }

    /// The member with that key, key and all.
    #[must_use]
    pub fn member(&self, key: &str) -> Option<&Member> {
        self.as_object()?.iter().find(|member| member.key == key)
    }

    /// The value of the member with that key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.member(key).map(|member| &member.node)
    }

    /// The node at a JSON pointer (RFC 6901), such as `/req_permissions/0/name`.
    #[must_use]
    pub fn pointer(&self, pointer: &str) -> Option<&Node> {
        if pointer.is_empty() {
            return Some(self);
        }
        let mut node = self;
        for token in pointer.strip_prefix('/')?.split('/') {
            node = match &node.value {
                Value::Array(items) => items.get(token.parse::<usize>().ok()?)?,
                Value::Object(_) => node.get(&token.replace("~1", "/").replace("~0", "~"))?,
                _ => return None,
            };
        }
        Some(node)
    }

    /// The same value without spans.
    #[must_use]
    pub fn to_value(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(flag) => (*flag).into(),
            Value::Int(number) => (*number).into(),
            Value::Str(text) => text.as_str().into(),
            Value::Array(items) => items.iter().map(Node::to_value).collect(),
            Value::Object(members) => {
                members.iter().map(|member| (member.key.clone(), member.node.to_value())).collect()
            }
        }
    }
}
