//! Ed25519 keys: PKCS#8 PEM for the secret one, encrypted or not, SPKI PEM for the public one.

mod encrypted;
mod error;

pub use encrypted::is_encrypted;
pub use error::KeyError;

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{self, DecodePrivateKey as _, DecodePublicKey as _};
use ed25519_dalek::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _, KeypairBytes, PublicKeyBytes};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::digest::Hash;
use crate::limits;

const SECRET_LABEL: &str = "PRIVATE KEY";
const PUBLIC_LABEL: &str = "PUBLIC KEY";
const ENCRYPTED_LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// SHA-256 of a raw public key. It helps to find a key and decides nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub Hash);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An Ed25519 public key that is canonically encoded, not of small order and free of torsion.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Takes 32 raw bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAPoint)?;
        let point = key.to_edwards();
        // A second encoding of one point would be a second key id, and count as a second signer.
        if point.compress().as_bytes() != bytes {
            return Err(KeyError::NotAPoint);
        }
        if point.is_small_order() {
            return Err(KeyError::SmallOrder);
        }
        if !point.is_torsion_free() {
            return Err(KeyError::Torsion);
        }
        Ok(Self(key))
    }

    /// Reads SPKI PEM.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let block = pem_block(pem, PUBLIC_LABEL)?;
        let raw = PublicKeyBytes::from_public_key_pem(block).map_err(|error| spki_error(&error))?;
        Self::from_bytes(&raw.0)
    }

    /// Writes SPKI PEM.
    pub fn to_pem(&self) -> String {
        // Encoding 32 bytes into 44 cannot fail; an empty text would be refused by every reader.
        PublicKeyBytes(self.to_bytes()).to_public_key_pem(LineEnding::LF).unwrap_or_default()
    }

    /// The raw bytes.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        KeyId(Hash::of(self.0.as_bytes()))
    }

    /// Whether this is a signature of the message, by the strict rules: canonical S, R not of small order, the
    /// equation without cofactor. Never checked in a batch, which accepts signatures that this refuses.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        strict(&self.0, message, signature)
    }
}

fn strict(key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
    key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

/// An Ed25519 secret key. Its memory is wiped when it is dropped and its `Debug` shows the public id only.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// Makes a new key from the operating system's randomness.
    pub fn generate() -> Result<Self, KeyError> {
        Self::generate_with(getrandom::fill)
    }

    /// Makes a new key from another source of randomness, such as a hardware one.
    pub fn generate_with<E: fmt::Display>(
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        fill(seed.as_mut()).map_err(|error| KeyError::Random { reason: error.to_string() })?;
        Ok(Self::from_seed(&seed))
    }

    /// The key of a 32-byte seed. For keys kept elsewhere, and for tests.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads PKCS#8 PEM, with or without the public half.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let block = pem_block(pem, SECRET_LABEL)?;
        Self::from_pair(KeypairBytes::from_pkcs8_pem(block).map_err(|error| pkcs8_error(&error))?)
    }

    fn from_pair(mut pair: KeypairBytes) -> Result<Self, KeyError> {
        let key = SigningKey::from_bytes(&pair.secret_key);
        pair.secret_key.zeroize();
        // Signing with one half and publishing another leaks the secret half.
        if pair.public_key.is_some_and(|public| public.0 != key.verifying_key().to_bytes()) {
            return Err(KeyError::Mismatch);
        }
        Ok(Self(key))
    }

    /// Writes PKCS#8 PEM, version 1 without the public half, which every tool reads.
    pub fn to_pem(&self) -> Zeroizing<String> {
        // Encoding 32 bytes into 48 cannot fail; an empty text would be refused by every reader.
        self.with_pair(|pair| pair.to_pkcs8_pem(LineEnding::LF).unwrap_or_default())
    }

    /// Lends the bytes to an encoder and wipes them.
    fn with_pair<T>(&self, encode: impl FnOnce(&KeypairBytes) -> T) -> T {
        let mut pair = KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        let encoded = encode(&pair);
        pair.secret_key.zeroize();
        encoded
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({}, redacted)", self.public().id())
    }
}

/// The file without blanks around it, when its label is the wanted one.
fn pem_block<'a>(pem: &'a str, wanted: &'static str) -> Result<&'a str, KeyError> {
    if pem.len() > limits::KEY_FILE {
        return Err(KeyError::TooLarge { size: pem.len() });
    }
    let block = pem.trim_ascii();
    let label = block
        .strip_prefix("-----BEGIN ")
        .and_then(|rest| rest.split_once("-----"))
        .map(|(label, _)| label)
        .ok_or(KeyError::NotPem)?;
    if label == wanted {
        return Ok(block);
    }
    if label == ENCRYPTED_LABEL && wanted == SECRET_LABEL {
        return Err(KeyError::Encrypted);
    }
    Err(KeyError::WrongKind { found: label.chars().take(40).collect(), wanted })
}

fn pkcs8_error(error: &pkcs8::Error) -> KeyError {
    match error {
        pkcs8::Error::PublicKey(inner) => spki_error(inner),
        other => KeyError::Damaged { reason: other.to_string() },
    }
}

fn spki_error(error: &pkcs8::spki::Error) -> KeyError {
    match error {
        pkcs8::spki::Error::OidUnknown { .. } => KeyError::Algorithm,
        other => KeyError::Damaged { reason: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use ed25519_dalek::VerifyingKey;
    use serde_json::Value;

    use super::{PublicKey, SecretKey, strict};

    fn corpus(file: &str) -> Option<Value> {
        let Some(folder) = std::env::var_os("MPKG_CORPORA") else {
            eprintln!("SKIPPED: MPKG_CORPORA is not set, so {file} is not used");
            return None;
        };
        let path = std::path::Path::new(&folder).join("ed25519").join(file);
        Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
    }

    fn hex(value: &Value) -> Vec<u8> {
        HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
    }

    #[test]
    fn wycheproof_agrees_on_every_signature() {
        let Some(corpus) = corpus("wycheproof_ed25519_test.json") else { return };
        let (mut valid, mut invalid) = (0, 0);
        for group in corpus["testGroups"].as_array().unwrap() {
            let key = PublicKey::from_bytes(&hex(&group["publicKey"]["pk"]).try_into().unwrap()).unwrap();
            for test in group["tests"].as_array().unwrap() {
                let verdict = hex(&test["sig"])
                    .try_into()
                    .is_ok_and(|signature| key.verify(&hex(&test["msg"]), &signature));
                assert_eq!(verdict, test["result"] == "valid", "case {}", test["tcId"]);
                if verdict { valid += 1 } else { invalid += 1 }
            }
        }
        assert_eq!((valid, invalid), (88, 63));
    }

    #[test]
    fn speccheck_is_judged_strictly_and_none_of_its_keys_is_taken() {
        let Some(corpus) = corpus("speccheck_cases.json") else { return };
        let mut accepted = Vec::new();
        for (number, case) in corpus.as_array().unwrap().iter().enumerate() {
            let raw: [u8; 32] = hex(&case["pub_key"]).try_into().unwrap();
            if let Ok(key) = VerifyingKey::from_bytes(&raw) {
                let signature = hex(&case["signature"]).try_into().unwrap();
                if strict(&key, &hex(&case["message"]), &signature) {
                    accepted.push(number);
                }
            }
            // Case 3 verifies under some rules and not under others. Its key never gets that far.
            if PublicKey::from_bytes(&raw).is_ok() {
                assert!(!accepted.contains(&number), "case {number} is accepted");
            }
        }
        assert_eq!(accepted, [3]);
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = SecretKey::from_seed(&[0xAB; 32]);
        let shown = format!("{key:?}");
        assert!(shown.contains(&key.public().id().to_string()) && shown.contains("redacted"));
        assert!(!shown.contains("abab") && !shown.contains("171"));
    }
}
