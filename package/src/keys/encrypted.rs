//! Secret keys at rest: PKCS#8 encrypted with a passphrase (PBES2: scrypt, AES-256-CBC), which OpenSSL reads too.

use ed25519_dalek::pkcs8::KeypairBytes;
use ed25519_dalek::pkcs8::spki::AlgorithmIdentifierRef;
use ed25519_dalek::pkcs8::spki::der::asn1::{AnyRef, ObjectIdentifier};
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::spki::der::{self, Decode as _, Encode as _, Reader as _, SecretDocument};
use ed25519_dalek::pkcs8::{EncodePrivateKey as _, PrivateKeyInfoRef};
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::{self, Kdf, Salt, ScryptParams};
use zeroize::Zeroizing;

use super::{ENCRYPTED_LABEL, KeyError, SecretKey, pem_block, pkcs8_error};

/// What a guess costs: 16 MiB and about a fifth of a second. OpenSSL reads no scrypt key that needs more than 32 MiB.
const COST: u64 = 1 << 14;
const BLOCK_SIZE: u16 = 8;
const PARALLELIZATION: u16 = 5;

/// What reading a key may cost. A file from elsewhere could ask for the machine's memory, or for a year.
const MEMORY: u64 = 128 << 20;
const WORK: u64 = 1 << 24;
const ITERATIONS: u32 = 10_000_000;

const NOT_PBES2: &str = "it is an outdated scheme, not PBES2";

/// Whether a PEM file holds an encrypted secret key.
pub fn is_encrypted(pem: &str) -> bool {
    pem.trim_ascii_start().strip_prefix("-----BEGIN ").is_some_and(|rest| rest.starts_with(ENCRYPTED_LABEL))
}

impl SecretKey {
    /// Reads encrypted PKCS#8 PEM. A key that is not encrypted is refused: see [`is_encrypted`].
    pub fn from_encrypted_pem(pem: &str, passphrase: &[u8]) -> Result<Self, KeyError> {
        let block = pem_block(pem, ENCRYPTED_LABEL)?;
        let damaged = |reason: String| KeyError::Damaged { reason };
        let (_, der) = SecretDocument::from_pem(block).map_err(|error| damaged(error.to_string()))?;
        let info = EncryptedPrivateKeyInfoRef::from_der(der.as_bytes()).map_err(|error| {
            match algorithm(der.as_bytes()) {
                Ok(found) if found != pbes2::PBES2_OID => KeyError::Scheme { reason: NOT_PBES2 },
                _ => damaged(error.to_string()),
            }
        })?;
        check_scheme(&info.encryption_algorithm)?;
        // CBC tells a wrong passphrase by the padding alone, and one guess in 256 gets through that: what comes out
        // then is no key either.
        let plain = info.decrypt(passphrase).map_err(|_| KeyError::Passphrase)?;
        let plain = PrivateKeyInfoRef::from_der(plain.as_bytes()).map_err(|_| KeyError::Passphrase)?;
        Self::from_pair(KeypairBytes::try_from(plain).map_err(|error| pkcs8_error(&error))?)
    }

    /// Writes encrypted PKCS#8 PEM.
    pub fn to_encrypted_pem(&self, passphrase: &[u8]) -> Result<Zeroizing<String>, KeyError> {
        if passphrase.is_empty() {
            return Err(KeyError::EmptyPassphrase);
        }
        let (mut salt, mut iv) = ([0; 16], [0; 16]);
        for bytes in [&mut salt, &mut iv] {
            getrandom::fill(bytes).map_err(|error| KeyError::Random { reason: error.to_string() })?;
        }
        let damaged = |reason: String| KeyError::Damaged { reason };
        let kdf = Kdf::Scrypt(ScryptParams {
            salt: Salt::new(salt).map_err(|error| damaged(error.to_string()))?,
            cost_parameter: COST,
            block_size: BLOCK_SIZE,
            parallelization: PARALLELIZATION,
            key_length: None,
        });
        let scheme = pbes2::Parameters { kdf, encryption: pbes2::EncryptionScheme::Aes256Cbc { iv } };
        let der = self.with_pair(KeypairBytes::to_pkcs8_der).map_err(|error| pkcs8_error(&error))?;
        let data = scheme.encrypt(passphrase, der.as_bytes()).map_err(|error| damaged(error.to_string()))?;
        let info = EncryptedPrivateKeyInfoRef {
            encryption_algorithm: EncryptionScheme::Pbes2(scheme),
            encrypted_data: data.as_slice().try_into().map_err(|_| damaged("it is too long".to_owned()))?,
        };
        let der = info.to_der().map_err(|error| damaged(error.to_string()))?;
        let document = SecretDocument::try_from(der).map_err(|error| damaged(error.to_string()))?;
        document.to_pem(ENCRYPTED_LABEL, LineEnding::LF).map_err(|error| damaged(error.to_string()))
    }
}

/// What the key says it is encrypted with.
fn algorithm(der: &[u8]) -> Result<ObjectIdentifier, der::Error> {
    AnyRef::from_der(der)?.sequence(|reader| {
        let algorithm: AlgorithmIdentifierRef<'_> = reader.decode()?;
        let _data: AnyRef<'_> = reader.decode()?;
        Ok(algorithm.oid)
    })
}

fn check_scheme(scheme: &EncryptionScheme) -> Result<(), KeyError> {
    let refuse = |reason| Err(KeyError::Scheme { reason });
    let EncryptionScheme::Pbes2(scheme) = scheme else { return refuse(NOT_PBES2) };
    match &scheme.kdf {
        Kdf::Scrypt(ScryptParams { cost_parameter: n, block_size: r, parallelization: p, .. }) => {
            let block = 128 * u64::from(*r);
            if *n < 2 || !n.is_power_of_two() || *r == 0 || *p == 0 {
                return refuse("its scrypt parameters are impossible");
            }
            if n.saturating_mul(block) > MEMORY || n.saturating_mul(u64::from(*r) * u64::from(*p)) > WORK {
                return refuse("deriving its key would take too much memory or time");
            }
            Ok(())
        }
        Kdf::Pbkdf2(params) if params.iteration_count > ITERATIONS => {
            refuse("deriving its key would take too much memory or time")
        }
        Kdf::Pbkdf2(_) => Ok(()),
        _ => refuse("its key derivation is neither scrypt nor PBKDF2"),
    }
}
