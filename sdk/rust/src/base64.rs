//! Bytes in JSON: base64 with padding.

use data_encoding::BASE64;

use crate::Error;

pub(crate) fn encode(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

pub(crate) fn decode(method: &str, text: &str) -> Result<Vec<u8>, Error> {
    BASE64
        .decode(text.as_bytes())
        .map_err(|error| Error::Internal(format!("the host's answer to `{method}` is not base64: {error}")))
}
