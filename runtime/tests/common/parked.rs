//! A bridge whose calls wait until a test lets them go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use miniapp_runtime::Bridge;
use miniapp_runtime::rpc::RpcError;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};

const PATIENCE: Duration = Duration::from_secs(60);

/// Permission `host.slow` with the method `slow.wait`, which answers with its parameters.
#[derive(Clone)]
pub struct Parked(Arc<State>);

struct State {
    inside: watch::Sender<usize>,
    most: AtomicUsize,
    go: Semaphore,
}

impl Default for Parked {
    fn default() -> Self {
        let (inside, _) = watch::channel(0);
        Self(Arc::new(State { inside, most: AtomicUsize::new(0), go: Semaphore::new(0) }))
    }
}

/// One call that is inside.
struct Inside(Parked);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.inside.send_modify(|inside| *inside -= 1);
    }
}

impl Parked {
    pub fn bridge(&self) -> Bridge {
        let this = self.clone();
        Bridge::new("host.slow").method("slow.wait", move |_, params: Value| {
            let this = this.clone();
            async move {
                let _inside = this.enter();
                this.0.go.acquire().await.unwrap().forget();
                Ok::<_, RpcError>(params)
            }
        })
    }

    fn enter(&self) -> Inside {
        self.0.inside.send_modify(|inside| {
            *inside += 1;
            self.0.most.fetch_max(*inside, Ordering::SeqCst);
        });
        Inside(self.clone())
    }

    /// Waits until exactly so many are inside.
    pub async fn inside(&self, count: usize) {
        let mut inside = self.0.inside.subscribe();
        let waited = tokio::time::timeout(PATIENCE, inside.wait_for(|&inside| inside == count)).await;
        waited
            .unwrap_or_else(|_| panic!("{count} expected inside, {} are", *self.0.inside.borrow()))
            .unwrap();
    }

    /// The most that were inside at a time.
    pub fn most(&self) -> usize {
        self.0.most.load(Ordering::SeqCst)
    }

    /// Lets so many go on, those that come later included.
    pub fn let_go(&self, count: usize) {
        self.0.go.add_permits(count);
    }
}
