//! Random bytes from the host, fit for secrets. Needs no permission.

use serde::{Deserialize, Serialize};

use crate::{Error, base64, bridge};

/// `length` random bytes; at most 65 536.
pub fn bytes(length: u32) -> Result<Vec<u8>, Error> {
    #[derive(Serialize)]
    struct Length {
        length: u32,
    }
    #[derive(Deserialize)]
    struct Bytes {
        base64: String,
    }
    let answer: Bytes = bridge::request(bridge::random, "random.bytes", &Length { length })?;
    base64::decode("random.bytes", &answer.base64)
}

/// A random number.
pub fn u64() -> Result<u64, Error> {
    let bytes = bytes(8)?;
    let bytes = bytes.try_into().map_err(|_| Error::Internal("the host sent too few random bytes".into()))?;
    Ok(u64::from_le_bytes(bytes))
}
