//! The puppet, taught to listen: what its inbox tells it, it passes on to a bridge of the test, and answers what that
//! answers. So a test sees deliveries, and decides how they end.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};

use miniapp_runtime::Bridge;
use miniapp_runtime::rpc::RpcError;
use serde_json::Value;
use tokio::sync::Notify;

use super::{Package, puppet};

/// An answer of the test's bridge that makes the guest crash.
pub const CRASH: i32 = 666;

/// A package that imports `probe` first (interface 0), then what these permissions open.
pub fn package(permissions: &[&'static str]) -> Package {
    let mut all = vec!["host.probe"];
    all.extend(permissions);
    let package = Package::with(&all).required();
    let interfaces: Vec<_> =
        all.iter().map(|p| mpkg_manifest::permission::interface_for(p).unwrap()).collect();
    let text = puppet::listening(&interfaces, 0, "probe.heard");
    assert!(text.contains("probe.heard") && text.contains("0x6e657665"));
    Package { component: wat::parse_str(text).unwrap(), ..package }
}

/// What the guest has heard, and what it is answered.
#[derive(Clone, Default)]
pub struct Probe {
    heard: Arc<Mutex<Vec<Value>>>,
    arrived: Arc<Notify>,
    answer: Arc<AtomicI32>,
    park: Arc<Mutex<Option<Arc<Notify>>>>,
}

impl Probe {
    pub fn bridge(&self) -> Bridge {
        let this = self.clone();
        Bridge::new("host.probe").method("probe.heard", move |_, params: Value| {
            let this = this.clone();
            async move {
                this.hear(params);
                let park = this.park.lock().unwrap().clone();
                if let Some(park) = park {
                    park.notified().await;
                }
                match this.answer.load(Ordering::SeqCst) {
                    0 => Ok(Value::Null),
                    code => Err(RpcError::new(code, "The test says so.")),
                }
            }
        })
    }

    pub fn hear(&self, params: Value) {
        self.heard.lock().unwrap().push(params);
        self.arrived.notify_waiters();
    }

    /// Answers this error from now on; 0 is none.
    pub fn answer(&self, code: i32) {
        self.answer.store(code, Ordering::SeqCst);
    }

    /// Holds the guest in its handler until told; nothing lets go again.
    pub fn park(&self, until: Option<Arc<Notify>>) {
        *self.park.lock().unwrap() = until;
    }

    pub fn heard(&self) -> Vec<Value> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until so many were heard in all.
    pub async fn wait(&self, count: usize) -> Vec<Value> {
        let wait = async {
            loop {
                let arrived = self.arrived.notified();
                let heard = self.heard();
                if heard.len() >= count {
                    return heard;
                }
                arrived.await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(600), wait)
            .await
            .unwrap_or_else(|_| panic!("{count} expected, heard {:?}", self.heard()))
    }
}
