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
    Package { component: component(&interfaces), ..package }
}

fn component(interfaces: &[&str]) -> Vec<u8> {
    let text = puppet::component(interfaces);
    // "even", "stor" and "time": `events.message`, `storage.changed`, `timers.fired`.
    let listen = r#"
      (if (i32.ge_u (local.get $ml) (i32.const 12)) (then
        (local.set $head (i32.load align=1 (local.get $m)))
        (if (i32.or (i32.eq (local.get $head) (i32.const 0x6e657665))
              (i32.or (i32.eq (local.get $head) (i32.const 0x726f7473))
                (i32.eq (local.get $head) (i32.const 0x656d6974)))) (then
          (call $c0 (i32.const 1120) (i32.const 11) (local.get $p) (local.get $pl) (i32.const 16))
          (if (i32.and (i32.load8_u (i32.const 16))
                (i32.eq (i32.load (i32.const 20)) (i32.const 666))) (then (unreachable)))
          (return (i32.const 16))))))"#;
    let first = "(local.set $first (i32.load8_u (local.get $m)))";
    let text = text.replacen(first, &format!("{first}{listen}"), 1);
    let data = "(data (i32.const 1100) \"log.write\")";
    let text = text.replacen(data, &format!("{data}\n    (data (i32.const 1120) \"probe.heard\")"), 1);
    assert!(text.contains("probe.heard") && text.contains("0x6e657665"));
    wat::parse_str(text).unwrap()
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
