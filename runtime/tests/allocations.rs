//! What an allowed call costs at the gate: no allocation.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use allocation_counter::measure;
use common::{APP, Package, host_with};
use futures_util::FutureExt;
use miniapp_runtime::rpc::RpcError;
use miniapp_runtime::{Bridge, Decision, PromptPermissions};
use serde_json::Value;

#[tokio::test]
async fn an_allowed_call_is_authorized_without_allocating() {
    let nothing = |_: &miniapp_runtime::Caller, _: Value| Ok::<_, RpcError>(());
    let host = host_with(|builder| {
        builder
            .bridge(Bridge::new("cart.read").immediate("cart.get", nothing))
            .bridge(Bridge::new("cart.write").immediate("cart.checkout", nothing))
            .permissions(PromptPermissions::new(|_| async { Decision::AllowFor(Duration::from_secs(3600)) }))
    });
    let app = host.run(&Package::with(&["cart.read", "cart.write"])).await;
    assert!(host.grant("ann", APP, "cart.read").unwrap());
    app.authorize("cart.checkout").await.unwrap();
    for (what, method) in [("granted", "cart.get"), ("until a time", "cart.checkout"), ("free", "log.write")]
    {
        let mut allowed = 0;
        let counted = measure(|| {
            for _ in 0..1000 {
                allowed += usize::from(matches!(app.authorize(method).now_or_never(), Some(Ok(()))));
            }
        });
        assert_eq!((allowed, counted.count_total), (1000, 0), "{what}");
    }
    host.revoke("ann", APP, "cart.read").unwrap();
    let counted = measure(|| drop(app.authorize("cart.get").now_or_never()));
    assert_ne!(counted.count_total, 0, "the counter counts: a denial is told in words");
}
