//! A bridge whose answers are long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use miniapp_runtime::Bridge;
use miniapp_runtime::rpc::RpcError;
use serde_json::Value;

/// Bytes of an answer.
pub const ANSWER: usize = 512 * 1024;

/// Permission `host.loud` with the method `loud.say`, which counts its calls.
#[derive(Clone, Default)]
pub struct Loud(Arc<AtomicUsize>);

impl Loud {
    pub fn bridge(&self) -> Bridge {
        let said = self.0.clone();
        Bridge::new("host.loud").immediate("loud.say", move |_, _: Value| {
            said.fetch_add(1, Ordering::SeqCst);
            Ok::<_, RpcError>("x".repeat(ANSWER))
        })
    }

    pub fn said(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}
