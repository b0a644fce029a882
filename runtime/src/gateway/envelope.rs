//! What a message of a page is, as JSON-RPC 2.0: one request, one notification, or a batch of them.

use std::fmt;

use jsonrpsee::core::middleware::{Batch, BatchEntry, BatchEntryErr, Notification};
use jsonrpsee::types::{ErrorObject, Id, InvalidRequest, Request};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::rpc::{RpcError, code};

/// The most members of a batch.
const BATCH: usize = 16;
/// The longest id, in bytes: it is part of the answer.
const ID: usize = 256;

pub(super) enum Envelope<'m> {
    Call(Request<'m>),
    Notification(Notification<'m>),
    Batch(Batch<'m>),
    /// None of these: whom to tell, and what.
    Bad(Id<'m>, RpcError),
}

impl<'m> Envelope<'m> {
    pub(super) fn read(message: &'m [u8]) -> Self {
        let text = match std::str::from_utf8(message) {
            Ok(text) => text,
            Err(error) => return bad(code::PARSE_ERROR, format!("The message is no text: {error}.")),
        };
        if text.trim_ascii_start().starts_with('[') {
            return batch(text);
        }
        match member(text) {
            Ok(BatchEntry::Call(request)) => Self::Call(request),
            Ok(BatchEntry::Notification(notification)) => Self::Notification(notification),
            Err((id, error)) => Self::Bad(id, error),
        }
    }
}

pub(super) fn object(error: RpcError) -> ErrorObject<'static> {
    ErrorObject::owned(error.code, error.message, error.data)
}

fn bad<'m>(code: i32, message: String) -> Envelope<'m> {
    Envelope::Bad(Id::Null, RpcError::new(code, message))
}

fn batch(text: &str) -> Envelope<'_> {
    let Few { members, count } = match serde_json::from_str(text) {
        Ok(members) => members,
        Err(error) => return bad(code::PARSE_ERROR, format!("The batch is not JSON: {error}.")),
    };
    if members.is_empty() {
        return bad(code::INVALID_REQUEST, "A batch has at least one member.".to_owned());
    }
    if count > BATCH {
        return bad(code::TOO_LARGE, format!("A batch has {BATCH} members at most, not {count}."));
    }
    let mut entries = Vec::with_capacity(members.len());
    for text in members {
        entries.push(member(text.get()).map_err(|(id, error)| BatchEntryErr::new(id, object(error))));
    }
    Envelope::Batch(Batch::from(entries))
}

/// The first members of a batch: a message of half a million tiny ones must not take many times its length.
#[derive(Default)]
struct Few<'m> {
    members: Vec<&'m RawValue>,
    count: usize,
}

impl<'de> Deserialize<'de> for Few<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Few<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Few<'de>, A::Error> {
                let mut few = Few::default();
                while let Some(member) = all.next_element()? {
                    few.count += 1;
                    if few.members.len() < BATCH {
                        few.members.push(member);
                    }
                }
                Ok(few)
            }
        }
        deserializer.deserialize_seq(Members)
    }
}

/// A request or a notification. What has an id that is none is neither: its sender waits for an answer.
fn member(text: &str) -> Result<BatchEntry<'_>, (Id<'_>, RpcError)> {
    #[derive(Deserialize)]
    struct Asked<'m> {
        #[serde(borrow, default)]
        id: Option<&'m RawValue>,
    }
    // An array of the right values would pass for a structure, too.
    let is_object = text.trim_ascii_start().starts_with('{');
    if is_object && let Ok(request) = serde_json::from_str::<Request<'_>>(text) {
        if let Id::Str(id) = &request.id
            && id.len() > ID
        {
            let message = format!("`id` has {} bytes; the limit is {ID}.", id.len());
            return Err((Id::Null, RpcError::new(code::INVALID_REQUEST, message)));
        }
        return Ok(BatchEntry::Call(request));
    }
    if is_object
        && let Ok(Asked { id: None }) = serde_json::from_str(text)
        && let Ok(notification) = serde_json::from_str::<Notification<'_>>(text)
    {
        return Ok(BatchEntry::Notification(notification));
    }
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        return Err((
            Id::Null,
            RpcError::new(code::PARSE_ERROR, format!("The message is not JSON: {error}.")),
        ));
    }
    let id = match serde_json::from_str::<InvalidRequest<'_>>(text) {
        Ok(InvalidRequest { id: Id::Str(id) }) if id.len() > ID => Id::Null,
        Ok(InvalidRequest { id }) => id,
        Err(_) => Id::Null,
    };
    let message = "This is no request of JSON-RPC 2.0: `jsonrpc` is \"2.0\", `method` a string, and `id`, if there is \
                   one, a string, a whole number or null.";
    Err((id, RpcError::new(code::INVALID_REQUEST, message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> (String, i32) {
        match Envelope::read(text.as_bytes()) {
            Envelope::Bad(id, error) => (id.to_string(), error.code),
            _ => panic!("{text} is let through"),
        }
    }

    #[test]
    fn requests_notifications_and_batches_are_told_apart() {
        let read = |text: &'static str| Envelope::read(text.as_bytes());
        let call = read(r#"{"jsonrpc":"2.0","id":"x","method":"a","params":[1]}"#);
        let Envelope::Call(request) = call else { panic!() };
        assert_eq!((&*request.method, request.id.to_string()), ("a", "x".into()));
        assert!(matches!(read(r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#), Envelope::Call(_)));
        for text in [r#"{"jsonrpc":"2.0","method":"a"}"#, r#" {"method":"a","jsonrpc":"2.0","params":{}} "#] {
            assert!(matches!(read(text), Envelope::Notification(_)), "{text}");
        }
        let Envelope::Batch(batch) = read(r#" [{"jsonrpc":"2.0","method":"a"}, 1]"#) else { panic!() };
        let entries: Vec<_> = batch.into_iter().map(|entry| entry.is_ok()).collect();
        assert_eq!(entries, [true, false]);
    }

    #[test]
    fn what_is_none_of_them_is_said_to_be_none() {
        assert_eq!(refusal("{"), ("null".into(), code::PARSE_ERROR));
        assert_eq!(refusal("[1"), ("null".into(), code::PARSE_ERROR));
        assert_eq!(refusal(""), ("null".into(), code::PARSE_ERROR));
        assert_eq!(refusal("1"), ("null".into(), code::INVALID_REQUEST));
        assert_eq!(refusal("[]"), ("null".into(), code::INVALID_REQUEST));
        // The right values in an array are no request.
        let Envelope::Batch(batch) = Envelope::read(br#"[["2.0",1,"a",{}],["2.0","a"]]"#) else {
            panic!("it is a batch")
        };
        assert!(batch.iter().all(Result::is_err));
        assert_eq!(refusal(r#"{"id":7,"method":"a"}"#), ("7".into(), code::INVALID_REQUEST));
        // Who sends an id waits for an answer: these are no notifications.
        for id in ["-1", "1.5", "{}", "true"] {
            let text = format!(r#"{{"jsonrpc":"2.0","method":"a","id":{id}}}"#);
            assert_eq!(refusal(&text), ("null".into(), code::INVALID_REQUEST), "{id}");
        }
        let long = format!(r#"{{"jsonrpc":"2.0","method":"a","id":"{}"}}"#, "x".repeat(ID + 1));
        assert_eq!(refusal(&long), ("null".into(), code::INVALID_REQUEST));
        let many = format!("[{}]", vec!["1"; BATCH + 1].join(","));
        assert_eq!(refusal(&many), ("null".into(), code::TOO_LARGE));
        let Envelope::Bad(_, error) = Envelope::read(b"\xff") else { panic!() };
        assert_eq!(error.code, code::PARSE_ERROR);
    }
}
