//! `random`: random bytes. Needs no permission.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::Bridge;
use crate::rpc::RpcError;

/// The most bytes one call gives.
const LIMIT: usize = 65_536;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bytes {
    length: usize,
}

#[derive(Serialize)]
struct Filled {
    base64: String,
}

pub(super) fn bridge() -> Bridge {
    Bridge::new("random").immediate("random.bytes", |caller, Bytes { length }| {
        if length == 0 || length > LIMIT {
            return Err(RpcError::invalid_params(format!(
                "`length` is {length}; it must be from 1 to {LIMIT}."
            )));
        }
        let mut bytes = vec![0; length];
        caller.session.senses.fill(&mut bytes).map_err(|_told| RpcError::internal())?;
        Ok(Filled { base64: BASE64.encode(&bytes) })
    })
}
