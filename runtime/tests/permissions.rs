//! The broker: no effect without a grant, from whichever side it is missing.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::{APP, Package, TestHost, builder, host_with};
use miniapp_runtime::rpc::{RpcError, code};
use miniapp_runtime::{
    Bridge, CallError, Decision, Instance, LaunchError, Limits, Policy, PromptPermissions, StaticPermissions,
    StopReason,
};
use serde_json::{Value, json};

/// A bridge that counts its effects.
fn counting(permission: &str, method: &str) -> (Bridge, Arc<AtomicU32>) {
    let effects = Arc::new(AtomicU32::new(0));
    let counter = effects.clone();
    let bridge = Bridge::new(permission).method(method, move |_, _: Value| {
        let counter = counter.clone();
        async move { Ok::<_, RpcError>(counter.fetch_add(1, Ordering::SeqCst) + 1) }
    });
    (bridge, effects)
}

fn denied_for(reason: &str, outcome: Result<Value, CallError>) {
    let Err(CallError::Rpc(error)) = outcome else { panic!("not denied: {outcome:?}") };
    assert_eq!(error.code, code::PERMISSION_DENIED);
    assert_eq!(error.data.unwrap()["reason"], reason);
}

async fn checkout(app: &Instance) -> Result<Value, CallError> {
    app.call("0cart.checkout", &json!({})).await
}

#[tokio::test]
async fn denied_then_granted_then_revoked() {
    let (bridge, effects) = counting("cart.write", "cart.checkout");
    let host = host_with(|b| b.bridge(bridge));
    let app = host.run(&Package::with(&["cart.write"])).await;
    denied_for("denied", checkout(&app).await);
    assert_eq!(effects.load(Ordering::SeqCst), 0, "a denial comes before any effect");

    assert!(host.grant("ann", APP, "cart.write").unwrap());
    assert_eq!(checkout(&app).await.unwrap(), json!(1));

    host.revoke("ann", APP, "cart.write").unwrap();
    denied_for("revoked", checkout(&app).await);
    assert_eq!(effects.load(Ordering::SeqCst), 1);
    let metrics = app.metrics().bridge["cart.checkout"];
    assert_eq!((metrics.calls, metrics.denied, metrics.errors), (1, 2, 0));
}

#[tokio::test]
async fn a_grant_is_one_users_and_outlives_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let (bridge, _) = counting("cart.write", "cart.checkout");
        builder(folder.path()).bridge(bridge).build().unwrap()
    };
    let host = start();
    host.install(Package::with(&["cart.write"]).signed()).await.unwrap();
    host.grant("ann", APP, "cart.write").unwrap();
    drop(host);
    let host = start();
    assert!(checkout(&host.launch(APP, "ann").await.unwrap()).await.is_ok());
    denied_for("denied", checkout(&host.launch(APP, "bob").await.unwrap()).await);
    host.revoke("ann", APP, "cart.write").unwrap();
    drop(host);
    denied_for("revoked", checkout(&start().launch(APP, "ann").await.unwrap()).await);
}

/// A person may take longer to answer than an app may to work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_that_a_person_takes_is_not_the_apps() {
    let wall = Duration::from_millis(100);
    let (bridge, _) = counting("cart.write", "cart.checkout");
    let stuck = Bridge::new("cart.read").method("cart.get", |_, _: Value| async {
        std::future::pending::<()>().await;
        Ok::<_, RpcError>(())
    });
    let host = host_with(|b| {
        let limits = Limits { wall_per_call: wall, ..Limits::PHONE };
        let provider = PromptPermissions::new(move |_| async move {
            tokio::time::sleep(wall * 4).await;
            Decision::AllowOnce
        });
        b.bridge(bridge).bridge(stuck).policy(Policy { limits, ..Policy::default() }).permissions(provider)
    });
    let app = host.run(&Package::with(&["cart.write", "cart.read"])).await;
    assert_eq!(checkout(&app).await.unwrap(), json!(1));
    // Once it is answered, the app's own time runs again.
    let ended = app.call::<Value>("1cart.get", &json!({})).await.unwrap_err();
    assert!(matches!(ended, CallError::Stopped { reason: StopReason::Wall { .. }, .. }), "{ended}");
}

async fn asking(decision: Decision) -> (TestHost, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = asked.clone();
    let (bridge, _) = counting("cart.write", "cart.checkout");
    let provider = PromptPermissions::new(move |request| {
        assert_eq!((request.permission.as_str(), request.user.as_str()), ("cart.write", "ann"));
        assert_eq!(request.reason.as_deref(), Some("A test needs it."));
        counter.fetch_add(1, Ordering::SeqCst);
        async move { decision }
    });
    (host_with(|b| b.bridge(bridge).permissions(provider)), asked)
}

#[tokio::test]
async fn optional_permissions_are_asked_for_at_first_use_and_once_a_launch() {
    for (decision, allowed, asked_again) in [
        (Decision::AllowOnce, true, true),
        (Decision::AllowAlways, true, false),
        (Decision::Deny, false, true),
        (Decision::Block, false, false),
    ] {
        let (host, asked) = asking(decision).await;
        let app = host.run(&Package::with(&["cart.write"])).await;
        assert_eq!(asked.load(Ordering::SeqCst), 0, "not before it is used");
        for _ in 0..3 {
            assert_eq!(checkout(&app).await.is_ok(), allowed);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{decision:?}");
        let next = host.launch(APP, "ann").await.unwrap();
        assert_eq!(checkout(&next).await.is_ok(), allowed);
        assert_eq!(asked.load(Ordering::SeqCst), 1 + u32::from(asked_again), "{decision:?}, next launch");
    }
}

#[tokio::test]
async fn required_permissions_are_asked_for_before_anything_runs() {
    let (host, asked) = asking(Decision::Deny).await;
    host.install(Package::with(&["cart.write"]).required().signed()).await.unwrap();
    let error = host.launch(APP, "ann").await.unwrap_err();
    assert!(
        matches!(error, LaunchError::PermissionDenied { ref permission, .. } if permission == "cart.write")
    );
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(host.instances().len(), 0);
}

#[tokio::test]
async fn a_revocation_while_the_question_is_open_wins() {
    let (bridge, effects) = counting("cart.write", "cart.checkout");
    let open = Arc::new(tokio::sync::Notify::new());
    let answer = Arc::new(tokio::sync::Notify::new());
    let (o, a) = (open.clone(), answer.clone());
    let provider = PromptPermissions::new(move |_| {
        let (open, answer) = (o.clone(), a.clone());
        async move {
            open.notify_one();
            answer.notified().await;
            Decision::AllowAlways
        }
    });
    let host = host_with(|b| b.bridge(bridge).permissions(provider));
    let app = host.run(&Package::with(&["cart.write"])).await;
    let call = tokio::spawn({
        let app = app.clone();
        async move { checkout(&app).await }
    });
    open.notified().await;
    host.revoke("ann", APP, "cart.write").unwrap();
    answer.notify_one();
    denied_for("revoked", call.await.unwrap());
    assert_eq!(effects.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_guest_parked_in_a_question_can_be_killed() {
    let (bridge, _) = counting("cart.write", "cart.checkout");
    let open = Arc::new(tokio::sync::Notify::new());
    let o = open.clone();
    let provider = PromptPermissions::new(move |_| {
        let open = o.clone();
        async move {
            open.notify_one();
            std::future::pending().await
        }
    });
    let host = host_with(|b| b.bridge(bridge).permissions(provider));
    let app = host.run(&Package::with(&["cart.write"])).await;
    let call = tokio::spawn({
        let app = app.clone();
        async move { checkout(&app).await }
    });
    open.notified().await;
    app.kill("test");
    assert_eq!(call.await.unwrap().unwrap_err().code(), "MPKG-H20");
}

#[tokio::test]
async fn policy_outranks_every_grant() {
    let (bridge, effects) = counting("cart.write", "cart.checkout");
    let policy = Policy { denied_permissions: vec!["cart.write".into()], ..Policy::default() };
    let host = host_with(|b| b.bridge(bridge).policy(policy).permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::with(&["cart.write"])).await;
    denied_for("policy", checkout(&app).await);
    host.grant("ann", APP, "cart.write").unwrap();
    denied_for("policy", checkout(&app).await);
    assert_eq!(effects.load(Ordering::SeqCst), 0);
}

/// The bridge `host` is shared by all of an embedder's permissions: each method is held to its own.
#[tokio::test]
async fn one_hosts_permission_does_not_open_anothers_methods() {
    let (loyalty, _) = counting("host.loyalty", "loyalty.points");
    let (wallet, effects) = counting("host.wallet", "wallet.drain");
    let host = host_with(|b| b.bridge(loyalty).bridge(wallet).permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::with(&["host.loyalty"])).await;
    assert!(app.call::<Value>("0loyalty.points", &json!({})).await.is_ok());
    denied_for("not_declared", app.call("0wallet.drain", &json!({})).await);
    assert_eq!(effects.load(Ordering::SeqCst), 0);
}

/// A method is found under its own interface only, whatever the guest calls it.
#[tokio::test]
async fn an_interface_answers_for_its_own_methods_only() {
    let (bridge, effects) = counting("cart.write", "cart.checkout");
    let host = host_with(|b| b.bridge(bridge).permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::with(&["storage", "cart.write"])).await;
    for method in ["0cart.checkout", "0storage.nothing", "0", "1storage.get"] {
        let Err(CallError::Rpc(error)) = app.call::<Value>(method, &json!({})).await else {
            panic!("{method}")
        };
        assert_eq!(error.code, code::METHOD_NOT_FOUND, "{method}");
    }
    assert_eq!(effects.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_the_host_does_not_have() {
    let host = host_with(|b| b.permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::with(&["clipboard"])).await;
    let Err(CallError::Rpc(error)) = app.call::<Value>("0clipboard.read", &json!({})).await else { panic!() };
    assert_eq!(error.code, code::UNAVAILABLE, "optional: the app runs and is told");
    host.install(Package { code: 2, ..Package::with(&["clipboard"]).required() }.signed()).await.unwrap();
    let error = host.launch(APP, "ann").await.unwrap_err();
    assert!(matches!(error, LaunchError::NotProvided { .. }), "required: it is not launched");
}

#[tokio::test]
async fn bridges_that_are_put_together_wrongly_are_refused() {
    let build = |bridge: Bridge| {
        let folder = tempfile::tempdir().unwrap();
        builder(folder.path()).bridge(bridge).build().map(drop).map_err(|e| e.to_string())
    };
    let method = |permission: &str, name: &str| counting(permission, name).0;
    assert!(build(method("loyalty", "loyalty.points")).unwrap_err().contains("`loyalty` is no permission"));
    assert!(build(method("host.loyalty", "wallet.drain")).unwrap_err().contains("`wallet.drain`"));
    assert!(build(method("cart.read", "cart.checkout")).unwrap_err().contains("`cart.checkout`"));
    assert!(build(method("host.cart", "cart.checkout")).is_err());
}

/// A typo would deny nothing, and limit nothing.
#[tokio::test]
async fn names_that_mean_nothing_build_no_host() {
    let build = |bridge: Bridge, policy: Policy| {
        let folder = tempfile::tempdir().unwrap();
        builder(folder.path()).bridge(bridge).policy(policy).build().map(drop).map_err(|error| error.code())
    };
    let loyalty = || counting("host.loyalty", "loyalty.points").0;
    let denying = |name: &str| Policy { denied_permissions: vec![name.into()], ..Policy::default() };
    for (name, known) in [
        ("cart.write", true),
        ("host.wallet", true),
        ("log", true),
        ("cart.wirte", false),
        ("wallet", false),
        ("host.cart", false),
        ("", false),
    ] {
        let expected = if known { Ok(()) } else { Err("MPKG-H08") };
        assert_eq!(build(loyalty(), denying(name)), expected, "{name}");
    }
    let one = std::num::NonZeroU32::MIN;
    for (name, known) in [
        ("storage.set", true),
        // No bridge has it, and it is spelled as one would.
        ("cart.checkout", true),
        ("loyalty.points", true),
        ("loyalty.pionts", false),
        ("storage", false),
        ("storage.put", false),
    ] {
        let expected = if known { Ok(()) } else { Err("MPKG-H08") };
        let rates = [(name.to_owned(), one)];
        let policy = Policy { rates: rates.clone().into(), ..Policy::default() };
        assert_eq!(build(loyalty(), policy), expected, "{name}");
        let policy = Policy { rate_ceilings: rates.into(), ..Policy::default() };
        assert_eq!(build(loyalty(), policy), expected, "{name}");
    }
    assert_eq!(build(loyalty().rate("loyalty.points", one), Policy::default()), Ok(()));
    assert_eq!(build(loyalty().rate("loyalty.pionts", one), Policy::default()), Err("MPKG-H08"));
}
