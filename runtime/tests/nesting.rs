//! Calls within calls, through bridges that call apps.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use common::parked::Parked;
use common::{APP, Package, TestHost, host_with};
use miniapp_runtime::rpc::{RpcError, code};
use miniapp_runtime::{Bridge, Caller, Host, Instance, Limit, Limits, Policy, StaticPermissions};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

const DEPTH: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(60);

/// A host whose apps can call each other, and the instance of each user.
struct Ring {
    _host: TestHost,
    apps: Arc<Mutex<HashMap<String, Instance>>>,
    parked: Parked,
    /// Tells that a call of `ask.held` has come, and lets one go on.
    held: Arc<Notify>,
    go: Arc<Notify>,
    later: mpsc::UnboundedReceiver<Result<u32, RpcError>>,
}

/// Has the first of `users` call the second, and so on; says how many were called.
async fn ring(apps: &Mutex<HashMap<String, Instance>>, users: &[String]) -> Result<u32, RpcError> {
    let Some((next, rest)) = users.split_first() else { return Ok(0) };
    let app = apps.lock().unwrap()[next].clone();
    // Whatever is within the call goes on elsewhere from here.
    tokio::task::yield_now().await;
    let called: u32 = app.call("0ask.ring", &rest).await.map_err(|error| error.into_rpc())?;
    Ok(called + 1)
}

impl Ring {
    async fn of(users: &[&str]) -> Self {
        let apps = Arc::new(Mutex::new(HashMap::<String, Instance>::new()));
        let parked = Parked::default();
        let (sender, later) = mpsc::unbounded_channel();
        let (rings, laters, helds) = (apps.clone(), apps.clone(), apps.clone());
        let (held, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (came, goes) = (held.clone(), go.clone());
        let ask = Bridge::new("host.ask")
            .method("ask.ring", move |_: Caller, users: Vec<String>| {
                let apps = rings.clone();
                async move { ring(&apps, &users).await }
            })
            .method("ask.held", move |_: Caller, users: Vec<String>| {
                let (apps, came, goes) = (helds.clone(), came.clone(), goes.clone());
                async move {
                    came.notify_one();
                    goes.notified().await;
                    ring(&apps, &users).await
                }
            })
            .method("ask.later", move |_: Caller, users: Vec<String>| {
                let (apps, sender) = (laters.clone(), sender.clone());
                async move {
                    tokio::spawn(async move { sender.send(ring(&apps, &users).await) });
                    Ok(())
                }
            });
        let policy = Policy { limits: Limits { call_depth: DEPTH, ..Limits::PHONE }, ..Policy::default() };
        let allow = StaticPermissions::allow_all();
        let host = host_with(|b| b.policy(policy).bridge(ask).bridge(parked.bridge()).permissions(allow));
        host.install(Package::with(&["host.ask", "host.slow"]).signed()).await.unwrap();
        for user in users {
            let app = host.launch(APP, user).await.unwrap();
            apps.lock().unwrap().insert((*user).to_owned(), app);
        }
        Self { _host: host, apps, parked, held, go, later }
    }

    fn app(&self, user: &str) -> Instance {
        self.apps.lock().unwrap()[user].clone()
    }
}

async fn called(app: &Instance, users: &[&str]) -> Result<u32, RpcError> {
    app.call("0ask.ring", &users).await.map_err(|error| error.into_rpc())
}

/// What waits for an app is charged to it.
async fn somebody_waits(app: &Instance, before: u64) {
    let waits = async {
        while app.metrics().memory_bytes == before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.expect("nobody waits for it");
}

fn refused(outcome: &Result<u32, RpcError>) -> bool {
    let error = outcome.as_ref().unwrap_err();
    let limit = error.data.as_ref().and_then(|data| data.get("limit"));
    (error.code, limit) == (code::REFUSED, Some(&json!("call_depth")))
}

fn met(app: &Instance) -> Option<u64> {
    app.metrics().limits_met.get(&Limit::CallDepth).copied().filter(|&times| times > 0)
}

#[tokio::test]
async fn calls_are_nested_as_deeply_as_the_limit_says() {
    let ring = Ring::of(&["ann", "ben", "cem", "dan", "eve"]).await;
    assert_eq!(called(&ring.app("ann"), &["ben", "cem", "dan"]).await, Ok(3));
    assert_eq!(met(&ring.app("dan")), None);
    assert!(refused(&called(&ring.app("ann"), &["ben", "cem", "dan", "eve"]).await));
    assert_eq!(met(&ring.app("eve")), Some(1), "it counts for the app that was not called");
    assert_eq!(met(&ring.app("ann")), None);
    assert_eq!(called(&ring.app("ann"), &["eve"]).await, Ok(1), "all go on");
}

#[tokio::test]
async fn a_call_that_would_wait_for_itself_is_refused_at_once() {
    let ring = Ring::of(&["ann", "ben"]).await;
    for users in [&["ann"][..], &["ben", "ann"], &["ben", "ben"]] {
        assert!(refused(&called(&ring.app("ann"), users).await), "{users:?}");
    }
    assert_eq!(called(&ring.app("ann"), &["ben"]).await, Ok(1), "all go on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_had_to_wait_for_its_turn_knows_what_it_is_within() {
    let ring = Ring::of(&["ann", "ben"]).await;
    let (ann, ben) = (ring.app("ann"), ring.app("ben"));
    let busy = tokio::spawn({
        let ben = ben.clone();
        async move { ben.call::<Value>("0slow.wait", &json!(1)).await }
    });
    ring.parked.inside(1).await;
    let before = ben.metrics().memory_bytes;
    let circle = tokio::spawn(async move { called(&ann, &["ben", "ann"]).await });
    somebody_waits(&ben, before).await;
    ring.parked.let_go(1);
    assert_eq!(busy.await.unwrap().unwrap(), json!(1));
    assert!(refused(&circle.await.unwrap()));
}

/// Neither of the two calls alone is a circle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_apps_that_would_wait_for_each_other_do_not() {
    let ring = Ring::of(&["ann", "ben"]).await;
    let (ann, ben) = (ring.app("ann"), ring.app("ben"));
    let bens = tokio::spawn({
        let ben = ben.clone();
        async move { ben.call::<u32>("0ask.held", &["ann"]).await.map_err(|error| error.into_rpc()) }
    });
    ring.held.notified().await;
    let before = ben.metrics().memory_bytes;
    let anns = tokio::spawn(async move { called(&ann, &["ben"]).await });
    somebody_waits(&ben, before).await;
    ring.go.notify_one();
    assert!(refused(&bens.await.unwrap()), "ann waits for ben");
    assert_eq!(anns.await.unwrap(), Ok(1));
}

#[tokio::test]
async fn a_page_waits_for_a_bridge_while_its_app_is_free() {
    let ring = Ring::of(&["ann", "ben", "cem", "dan"]).await;
    let page = async |users: Value| ring.app("ann").dispatch("ask.ring", &users.to_string()).await;
    assert_eq!(page(json!(["ann", "ben", "cem"])).await, Ok("3".into()));
    let error = page(json!(["ann", "ben", "cem", "dan"])).await.unwrap_err();
    assert!(refused(&Err(error)), "what a page waits for counts");
}

#[tokio::test]
async fn what_nobody_waits_for_is_within_nothing() {
    let mut ring = Ring::of(&["ann", "ben"]).await;
    ring.app("ann").call::<Value>("0ask.later", &["ben", "ann"]).await.unwrap();
    assert_eq!(ring.later.recv().await.unwrap(), Ok(2));
}

/// A bridge that launches another app for the one that calls it, and the other one asks for the first when it starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_through_a_launch_is_refused_too() {
    let first = Arc::new(Mutex::new(None::<Instance>));
    let (asked, outcome) = (first.clone(), Arc::new(Mutex::new(None)));
    let (host, told) = (Arc::new(OnceLock::<Host>::new()), outcome.clone());
    let launching = host.clone();
    let bridge = Bridge::new("host.ask").method("ask.launch", move |_: Caller, user: String| {
        let host = launching.get().unwrap().clone();
        async move { Ok(host.launch(APP, &user).await.is_ok()) }
    });
    let seen = Bridge::new("host.seen").method("seen.event", move |_: Caller, event: String| {
        let (first, told) = (asked.lock().unwrap().clone(), told.clone());
        async move {
            if let Some(first) = first.filter(|_| event == "lifecycle.launched") {
                let answer = first.call::<Value>("echo", &json!(1)).await;
                *told.lock().unwrap() = Some(answer.map_err(|error| error.into_rpc()));
            }
            Ok::<_, RpcError>(())
        }
    });
    let here = host_with(|b| b.bridge(bridge).bridge(seen).permissions(StaticPermissions::allow_all()));
    let _ = host.set(here.host.clone());
    let component = wat::parse_str(common::puppet::watched(&["host"])).unwrap();
    let permissions = vec!["host.seen", "host.ask"];
    let package = Package { permissions, component, ..Package::default() };
    here.install(package.signed()).await.unwrap();
    let ann = here.launch(APP, "ann").await.unwrap();
    *first.lock().unwrap() = Some(ann.clone());
    assert_eq!(ann.call::<Value>("0ask.launch", &json!("ben")).await.unwrap(), json!(true));
    let outcome = outcome.lock().unwrap().take().unwrap();
    assert_eq!(outcome.unwrap_err().code, code::REFUSED);
}
