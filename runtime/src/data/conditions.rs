//! What must hold before a transaction is carried out.
//!
//! It is judged before there is a transaction: comparing JSON takes time, no kill interrupts it, and who writes keeps all
//! others of the host from writing. The transaction then only looks whether what was judged is still what is there.

use std::collections::BTreeMap;

use blake3::{Hash, Hasher};
use redb::ReadableTable;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::values::StoreRefusal;
use super::{DataError, Namespace};

/// The most bytes that the conditions of one transaction may compare: what they give, and once what is stored under each
/// key that they give something for. Four of the longest values.
pub(crate) const COMPARED: usize = 1 << 20;

/// The key of a pair: user, publisher/app id, key.
type Key = (&'static str, &'static str, &'static str);

/// What must hold before a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The value is this JSON, however it is written.
    Equals {
        key: String,
        value: String,
    },
    Absent {
        key: String,
    },
}

impl Condition {
    fn key(&self) -> &str {
        match self {
            Self::Equals { key, .. } | Self::Absent { key } => key,
        }
    }

    /// What a stored text is to be compared with.
    fn given(&self) -> Option<&str> {
        match self {
            Self::Equals { value, .. } => Some(value),
            Self::Absent { .. } => None,
        }
    }
}

/// What was stored under the keys of conditions when they held: a digest of each text, and nothing where there was none.
#[derive(Debug, Default)]
pub(super) struct Seen<'c>(BTreeMap<&'c str, Option<Hash>>);

impl<'c> Seen<'c> {
    /// A key under which there is something else by now.
    pub(super) fn changed(
        &self,
        values: &impl ReadableTable<Key, &'static str>,
        of: &Namespace,
    ) -> Result<Option<&'c str>, DataError> {
        for (key, was) in &self.0 {
            let now = values.get((of.user.as_str(), of.owner.as_str(), *key))?;
            if now.map(|text| blake3::hash(text.value().as_bytes())) != *was {
                return Ok(Some(*key));
            }
        }
        Ok(None)
    }
}

/// Judges conditions by what is stored now. What is stored under a key is read and parsed once, however many conditions
/// are about it.
pub(super) fn judge<'c>(
    values: &impl ReadableTable<Key, &'static str>,
    of: &Namespace,
    conditions: &'c [Condition],
) -> Result<Result<Seen<'c>, StoreRefusal>, DataError> {
    let mut by_key = BTreeMap::<&str, Vec<&Condition>>::new();
    for condition in conditions {
        by_key.entry(condition.key()).or_default().push(condition);
    }
    let mut compared: usize = conditions.iter().filter_map(Condition::given).map(str::len).sum();
    let mut seen = Seen::default();
    for (key, conditions) in by_key {
        let stored = values.get((of.user.as_str(), of.owner.as_str(), key))?;
        let stored = stored.as_ref().map(|text| text.value());
        if conditions.iter().any(|condition| condition.given().is_some()) {
            compared = compared.saturating_add(stored.map_or(0, str::len));
        }
        if compared > COMPARED {
            return Ok(Err(StoreRefusal::Compared { bytes: compared }));
        }
        if !all_hold(&conditions, stored) {
            return Ok(Err(StoreRefusal::Conflict { key: key.to_owned() }));
        }
        seen.0.insert(key, stored.map(|text| blake3::hash(text.as_bytes())));
    }
    Ok(Ok(seen))
}

/// Whether all conditions about one key hold.
fn all_hold(conditions: &[&Condition], stored: Option<&str>) -> bool {
    let mut meaning = None;
    conditions.iter().all(|condition| match (condition.given(), stored) {
        (None, stored) => stored.is_none(),
        (Some(_), None) => false,
        (Some(given), Some(stored)) => {
            // What is no JSON, or nested too deeply to be read, equals nothing but itself.
            given == stored
                || (*meaning.get_or_insert_with(|| digest(stored)))
                    .is_some_and(|stored| digest(given) == Some(stored))
        }
    })
}

#[cfg(test)]
thread_local! {
    /// Bytes that this thread has parsed.
    pub(super) static PARSED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// What a JSON text means, as a digest: white space and the order of members tell nothing. Made while the text is read,
/// since a tree of its values would take ten times its room.
fn digest(text: &str) -> Option<Hash> {
    #[cfg(test)]
    PARSED.set(PARSED.get() + text.len());
    let mut hasher = Hasher::new();
    let mut json = serde_json::Deserializer::from_str(text);
    Digest(&mut hasher).deserialize(&mut json).ok()?;
    json.end().ok()?;
    Some(hasher.finalize())
}

/// Feeds one value to a hasher. Each begins with what it is and has a length or an end, so that no two values feed the
/// same bytes.
struct Digest<'h>(&'h mut Hasher);

impl Digest<'_> {
    fn feed(self, kind: u8, bytes: &[u8]) {
        self.0.update(&[kind]).update(bytes);
    }
}

impl<'de> DeserializeSeed<'de> for Digest<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Digest<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.feed(b'n', &[]);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.feed(b'b', &[value.into()]);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.feed(b'u', &value.to_le_bytes());
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.feed(b'i', &value.to_le_bytes());
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        // -0 is 0.
        let value = if value == 0.0 { 0.0 } else { value };
        self.feed(b'f', &value.to_le_bytes());
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.0.update(b"s").update(&(value.len() as u64).to_le_bytes()).update(value.as_bytes());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        self.0.update(b"[");
        while elements.next_element_seed(Digest(&mut *self.0))?.is_some() {}
        self.0.update(b"]");
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        // Sorted; of several with one name the last one counts.
        let mut sorted = BTreeMap::<String, Hash>::new();
        while let Some(name) = members.next_key::<String>()? {
            let mut hasher = Hasher::new();
            members.next_value_seed(Digest(&mut hasher))?;
            sorted.insert(name, hasher.finalize());
        }
        // Counted: an end mark could be part of a name's length.
        self.0.update(b"{").update(&(sorted.len() as u64).to_le_bytes());
        for (name, value) in &sorted {
            self.0.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
            self.0.update(value.as_bytes());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn json_is_the_same_however_it_is_written() {
        for (one, other, same) in [
            (r#"{"a":1,"b":[2]}"#, r#" {"b": [ 2 ], "a": 1} "#, true),
            (r#""\u0041/""#, r#""A\/""#, true),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#, true),
            ("0.0", "-0", true),
            ("1", "1.0", false),
            ("1", "-1", false),
            ("[]", "{}", false),
            ("[[],[]]", "[[[]]]", false),
            (r#"["a","b"]"#, r#"["ab"]"#, false),
            (r#"["a","b"]"#, r#"["b","a"]"#, false),
            (r#"{"a":"b"}"#, r#"{"ab":""}"#, false),
            (r#"{"a":{"b":1}}"#, r#"{"a":{},"b":1}"#, false),
            ("null", "false", false),
            ("null", "\"\"", false),
        ] {
            assert_eq!(digest(one) == digest(other), same, "{one} {other}");
            assert!(digest(one).is_some());
        }
        for no_json in ["", "{", "1 2", "tru", &"[".repeat(1000)] {
            assert_eq!(digest(no_json), None, "{no_json}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-3i64..3).prop_map(Value::from),
            (-2i8..2).prop_map(|n| Value::from(f64::from(n) / 2.0)),
            "[ab]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("[ab]{0,2}", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// The trees that take so much room say the same.
        #[test]
        fn digests_are_equal_where_values_are(one in json(), other in json()) {
            prop_assert_eq!(digest(&one.to_string()) == digest(&other.to_string()), one == other);
            let pretty = serde_json::to_string_pretty(&one).unwrap();
            prop_assert_eq!(digest(&pretty), digest(&one.to_string()));
        }
    }
}
