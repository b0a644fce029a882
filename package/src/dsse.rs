//! DSSE envelopes: a payload, its type, and signatures of both.
//!
//! One byte form per envelope. A reader that ignored white space, key order or a spare signature would leave bytes
//! in a signed package that anyone can change.

use std::collections::BTreeMap;

use crate::text::Shown;
use data_encoding::BASE64;
use mpkg_manifest::json::{self, JsonError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::keys::{KeyId, PublicKey, SecretKey};
use crate::limits;

/// What is signed: the type and the payload, each with its length in front, so that neither can flow into the
/// other.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

/// Why an envelope is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EnvelopeError {
    /// Not strict JSON of the right shape.
    #[error("the envelope is not valid: {0}")]
    Json(#[from] JsonError),
    /// Another spelling than the one.
    #[error("the envelope is not written in its one form: it differs from byte {offset}")]
    NotCanonical {
        /// The first difference.
        offset: usize,
    },
    /// Signed for another purpose.
    #[error("the envelope holds {}, expected {expected}", Shown(.found))]
    PayloadType {
        /// The type found.
        found: String,
        /// The type expected.
        expected: &'static str,
    },
    /// Too many signatures.
    #[error("{found} signatures are too many, the limit is {}", limits::SIGNATURES)]
    TooManySignatures {
        /// Their number.
        found: usize,
    },
    /// Signatures out of order, or two of one key.
    #[error("signatures are in ascending order of key id, one for each key; {key} breaks this")]
    Order {
        /// The key id out of order.
        key: KeyId,
    },
    /// A signer that has no such role.
    #[error("key {key} is not one that may sign this")]
    UnknownSigner {
        /// Its id.
        key: KeyId,
    },
    /// A signature that is wrong.
    #[error("the signature of key {key} is not valid")]
    BadSignature {
        /// Its id.
        key: KeyId,
    },
    /// Too few signers.
    #[error("{found} of the needed {threshold} keys signed")]
    Threshold {
        /// Valid signatures of different keys.
        found: usize,
        /// How many it takes.
        threshold: usize,
    },
}

impl EnvelopeError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(error) => error.code(),
            Self::NotCanonical { .. } => "MPKG-S01",
            Self::PayloadType { .. } => "MPKG-S02",
            Self::TooManySignatures { .. } => "MPKG-S03",
            Self::Order { .. } => "MPKG-S04",
            Self::UnknownSigner { .. } => "MPKG-S05",
            Self::BadSignature { .. } => "MPKG-S06",
            Self::Threshold { .. } => "MPKG-S07",
        }
    }
}

/// One signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The id of the key that made it: a hint where to look.
    pub key: KeyId,
    /// The signature.
    pub bytes: [u8; 64],
}

/// A payload and who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// What the payload is.
    pub payload_type: String,
    /// The payload, as it was signed.
    pub payload: Vec<u8>,
    /// Signatures in ascending order of key id.
    pub signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<WireSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSignature {
    keyid: KeyId,
    sig: String,
}

impl Envelope {
    /// An envelope without signatures.
    pub fn new(payload_type: &str, payload: Vec<u8>) -> Self {
        Self { payload_type: payload_type.to_owned(), payload, signatures: Vec::new() }
    }

    /// Adds a key's signature, in its place; a second one of the same key replaces the first.
    pub fn sign(&mut self, key: &SecretKey) {
        let (id, bytes) = (key.public().id(), key.sign(&pae(&self.payload_type, &self.payload)));
        self.signatures.retain(|signature| signature.key != id);
        self.signatures.push(Signature { key: id, bytes });
        self.signatures.sort_by_key(|signature| signature.key);
    }

    /// The one byte form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let signature = |s: &Signature| WireSignature { keyid: s.key, sig: BASE64.encode(&s.bytes) };
        let wire = Wire {
            payload: BASE64.encode(&self.payload),
            payload_type: self.payload_type.clone(),
            signatures: self.signatures.iter().map(signature).collect(),
        };
        // Strings and lists of strings always serialize.
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    /// Reads an envelope that must be in its one byte form and hold the expected type of payload.
    pub fn parse(bytes: &[u8], expected: &'static str) -> Result<Self, EnvelopeError> {
        Self::parse_within(bytes, expected, limits::ENVELOPE)
    }

    /// As [`Self::parse`], for payloads with another bound: the envelope may have that many bytes.
    pub fn parse_within(bytes: &[u8], expected: &'static str, limit: usize) -> Result<Self, EnvelopeError> {
        let wire: Wire = json::read(bytes, json::Limits::bytes(limit))?;
        if wire.signatures.len() > limits::SIGNATURES {
            return Err(EnvelopeError::TooManySignatures { found: wire.signatures.len() });
        }
        // The closing brace is where a text that cannot be decoded is pointed at.
        let not_canonical = || EnvelopeError::NotCanonical { offset: bytes.len().saturating_sub(1) };
        let payload = BASE64.decode(wire.payload.as_bytes()).map_err(|_| not_canonical())?;
        let mut signatures = Vec::with_capacity(wire.signatures.len());
        for signature in &wire.signatures {
            let decoded = BASE64.decode(signature.sig.as_bytes()).map_err(|_| not_canonical())?;
            let bytes: [u8; 64] = decoded.try_into().map_err(|_| not_canonical())?;
            signatures.push(Signature { key: signature.keyid, bytes });
        }
        let envelope = Self { payload_type: wire.payload_type, payload, signatures };
        if let Some(offset) = crate::bytes::first_difference(bytes, &envelope.to_bytes()) {
            return Err(EnvelopeError::NotCanonical { offset });
        }
        if envelope.payload_type != expected {
            return Err(EnvelopeError::PayloadType { found: envelope.payload_type, expected });
        }
        for pair in envelope.signatures.windows(2) {
            if let [first, second] = pair
                && first.key >= second.key
            {
                return Err(EnvelopeError::Order { key: second.key });
            }
        }
        Ok(envelope)
    }

    /// Checks every signature, and that enough keys signed.
    pub fn verify(
        &self,
        keys: &BTreeMap<KeyId, PublicKey>,
        threshold: usize,
    ) -> Result<Vec<KeyId>, EnvelopeError> {
        let signers = self.signers(keys)?;
        if signers.len() < threshold || threshold == 0 {
            return Err(EnvelopeError::Threshold { found: signers.len(), threshold });
        }
        Ok(signers)
    }

    /// Checks every signature and tells the different keys that signed. A signature by a key that is not among
    /// these, or a wrong one beside enough right ones, refuses the whole: nothing unchecked stays in a signed file.
    pub fn signers(&self, keys: &BTreeMap<KeyId, PublicKey>) -> Result<Vec<KeyId>, EnvelopeError> {
        let message = pae(&self.payload_type, &self.payload);
        let mut signers: Vec<(KeyId, [u8; 32])> = Vec::new();
        for signature in &self.signatures {
            let id = signature.key;
            let key = keys.get(&id).ok_or(EnvelopeError::UnknownSigner { key: id })?;
            if !key.verify(&message, &signature.bytes) {
                return Err(EnvelopeError::BadSignature { key: id });
            }
            // One person with one key must not count twice, whatever ids the key goes by.
            let raw = key.to_bytes();
            if !signers.iter().any(|(_, seen)| *seen == raw) {
                signers.push((id, raw));
            }
        }
        Ok(signers.into_iter().map(|(id, _)| id).collect())
    }
}
