//! Bodies: host memory that is charged to the app it is for.

use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Serialize, Serializer};

use super::error::FetchError;
use crate::budget::{Hold, Ledger};

/// The first allocation for a body, in bytes.
const FIRST: usize = 16 * 1024;

/// A body that grows as it comes in; its capacity, not its length, is what is charged.
pub(super) struct Growing {
    ledger: Arc<Ledger>,
    bytes: Vec<u8>,
    hold: Option<Hold>,
}

impl Growing {
    pub(super) fn new(ledger: &Arc<Ledger>) -> Self {
        Self { ledger: ledger.clone(), bytes: Vec::new(), hold: None }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds `piece`, charging for the old and the new allocation while one is copied to the other.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), FetchError> {
        let wanted = self.bytes.len() + piece.len();
        if wanted > self.bytes.capacity() {
            let capacity = wanted.max(self.bytes.capacity() * 2).max(FIRST);
            let hold = self.ledger.hold(capacity).ok_or(FetchError::NoMemory)?;
            self.bytes.reserve_exact(capacity - self.bytes.len());
            self.hold = Some(hold);
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// Makes it ready to be answered with.
    pub(super) fn encoded(self) -> Result<Encoded, FetchError> {
        Encoded::new(self.bytes.into(), self.hold, &self.ledger)
    }
}

/// Bytes that become base64 as they are written into the answer.
pub(super) struct Encoded {
    bytes: Bytes,
    _hold: Option<Hold>,
    _text: Hold,
}

impl Encoded {
    pub(super) fn new(bytes: Bytes, hold: Option<Hold>, ledger: &Arc<Ledger>) -> Result<Self, FetchError> {
        let text = ledger.hold(BASE64.encode_len(bytes.len())).ok_or(FetchError::NoMemory)?;
        Ok(Self { bytes, _hold: hold, _text: text })
    }
}

impl Serialize for Encoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&BASE64.encode_display(&self.bytes))
    }
}

/// The most bytes whose base64 fits into a message of `message` bytes that holds `other` bytes besides.
pub(super) fn room(message: usize, other: usize) -> usize {
    message.saturating_sub(other) / 4 * 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_what_was_pushed_and_is_charged(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40_000), 0..8)) {
            let ledger = Ledger::alone(1 << 20);
            let mut growing = Growing::new(&ledger);
            for piece in &pieces {
                growing.push(piece).unwrap();
                prop_assert!(ledger.used() >= growing.bytes.capacity() as u64);
            }
            let encoded = growing.encoded().unwrap();
            let text: String = serde_json::from_str(&serde_json::to_string(&encoded).unwrap()).unwrap();
            prop_assert_eq!(BASE64.decode(text.as_bytes()).unwrap(), pieces.concat());
            prop_assert!(ledger.used() >= text.len() as u64);
            drop(encoded);
            prop_assert_eq!(ledger.used(), 0);
        }

        #[test]
        fn what_has_room_fits(message in 0usize..100_000, other in 0usize..1000) {
            prop_assert!(BASE64.encode_len(room(message, other)) <= message.saturating_sub(other));
        }
    }

    #[test]
    fn stops_where_the_budget_does() {
        let ledger = Ledger::alone(100_000);
        let mut growing = Growing::new(&ledger);
        let pushed = (0..100).take_while(|_| growing.push(&[0; 10_000]).is_ok()).count();
        assert!((3..10).contains(&pushed), "{pushed}");
        drop(growing);
        assert_eq!(ledger.used(), 0);
    }
}
