//! Whoever awaits a call may go away at any point of it: dropped after each number of polls that it takes, with the
//! guest parked in each kind of host call, a call leaves nothing behind.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod net;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use common::{APP, Package, TestHost, call, host_with};
use miniapp_runtime::rpc::{RpcError, code};
use miniapp_runtime::{
    Bridge, Decision, Instance, Limits, Policy, PromptPermissions, StaticPermissions, StopReason,
};
use net::{Names, PATIENCE, Reply, Server};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// One more of something for as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(of: &Arc<AtomicUsize>) -> Self {
        of.fetch_add(1, Ordering::SeqCst);
        Self(of.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Gives way a few times.
async fn pauses() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

/// Polls `work` whenever it asks for it, so many times, and drops it where it waits then.
async fn polled<T>(work: impl Future<Output = T>, polls: usize) -> Option<T> {
    if polls == 0 {
        return None;
    }
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(|cx| {
        left -= 1;
        match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A host on which every kind of host call waits, after a question that waits too.
struct Waiting {
    host: TestHost,
    server: Server,
    /// Questions that are open, and handlers of the test's bridge that run.
    questions: Arc<AtomicUsize>,
    handlers: Arc<AtomicUsize>,
}

const PERMISSIONS: [&str; 6] = ["storage", "files", "network", "events", "timers", "host.wait"];

/// Each kind of host call: its interface, method and parameters.
fn kinds(port: u16) -> Vec<(usize, &'static str, Value)> {
    let url = format!("http://a.example.com:{port}/x");
    let both = ["a", "b"].map(|key| json!({ "set": { "key": key, "value": 1 } }));
    vec![
        (0, "storage.transaction", json!({ "ops": both })),
        (0, "storage.get", json!({ "key": "a" })),
        (0, "storage.watch", json!({ "prefix": "" })),
        (1, "files.write", json!({ "path": "a", "text": "whole" })),
        (2, "network.fetch", json!({ "url": url })),
        (2, "network.open", json!({ "url": url })),
        (3, "events.subscribe", json!({ "topic": "t" })),
        (3, "events.publish", json!({ "topic": "t", "data": 1 })),
        (4, "timers.set", json!({ "id": "t", "after_ms": 60_000 })),
        (5, "wait.often", json!({})),
    ]
}

/// The most bytes that a call leaves in the app's account: what it has set or subscribed to by then has a name of one
/// letter, and what it has published waits for its host.
fn kept_by(method: &str) -> u64 {
    match method {
        "events.subscribe" | "timers.set" => 1,
        "events.publish" => 200,
        _ => 0,
    }
}

async fn waiting() -> Waiting {
    let (questions, handlers) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (asked, handled) = (questions.clone(), handlers.clone());
    let ask = PromptPermissions::new(move |_| {
        let open = Counted::new(&asked);
        async move {
            pauses().await;
            drop(open);
            Decision::AllowOnce
        }
    });
    let bridge = Bridge::new("host.wait").method("wait.often", move |_, _: Value| {
        let running = Counted::new(&handled);
        async move {
            pauses().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            drop(running);
            Ok::<_, RpcError>(())
        }
    });
    let server = Server::plain(|seen| match seen.path() {
        "/drip" => {
            let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
            Reply::Forever(head.to_vec(), b"body".to_vec(), Duration::from_millis(1))
        }
        _ => Reply::ok("body"),
    })
    .await;
    let names = Names::default();
    names.set("a.example.com", [vec!["127.0.0.1".parse().unwrap()]]);
    // With one call at a time, the next one tells whether the place of the last is free.
    let limits = Limits { calls_in_flight: 1, ..Limits::PHONE };
    let policy = Policy { limits, network: net::policy(&names, &[server.port]), ..Policy::default() };
    let host = host_with(|b| b.policy(policy).bridge(bridge).permissions(ask));
    let mpkg = json!({
        "network": { "allow": ["*.example.com"] },
        "files": { "quota_bytes": 1000 },
        "storage": { "quota_bytes": 1000 },
    });
    host.install(Package { mpkg, ..Package::with(&PERMISSIONS) }.signed()).await.unwrap();
    host.prepare(APP).await.unwrap();
    Waiting { host, server, questions, handlers }
}

impl Waiting {
    async fn launch(&self) -> Instance {
        self.host.launch(APP, "ann").await.unwrap()
    }

    /// Waits until something holds that has to come true by itself.
    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let wait = async {
            while !holds() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}"));
    }

    async fn nobody_waits(&self, at: &str) {
        let none = |count: &Arc<AtomicUsize>| count.load(Ordering::SeqCst) == 0;
        self.until(&format!("{at}: a question is open"), || none(&self.questions)).await;
        self.until(&format!("{at}: a handler runs"), || none(&self.handlers)).await;
    }

    /// Ends an instance; after that there is nothing of it, and the number of tasks is what it was.
    async fn bury(&self, app: Instance, tasks: usize, at: &str) {
        app.kill("test");
        tokio::time::timeout(PATIENCE, app.stopped()).await.unwrap();
        let snapshot = self.host.snapshot();
        assert!(snapshot.instances.is_empty() && snapshot.memory_bytes == 0, "{at}: {snapshot:?}");
        drop(app);
        self.nobody_waits(at).await;
        let runtime = tokio::runtime::Handle::current();
        self.until(&format!("{at}: tasks are left"), || runtime.metrics().num_alive_tasks() <= tasks).await;
    }

    /// Waits until every connection that the server has seen is closed.
    async fn no_socket_is_open(&self, closed: &mut usize) {
        while *closed < self.server.seen().len() {
            self.server.closed().await;
            *closed += 1;
        }
    }
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// The guest runs on to the end of the call, as if nobody had gone, and then there is nothing left of it.
#[tokio::test]
async fn a_dropped_call_runs_to_its_end_and_leaves_nothing() {
    let waiting = waiting().await;
    let mut closed = 0;
    for (place, method, params) in kinds(waiting.server.port) {
        let mut longest = 0;
        for polls in 0.. {
            let before = tasks();
            let app = waiting.launch().await;
            let (ledger, seat) = (app.metrics().memory_bytes, waiting.host.snapshot().memory_bytes);
            let calling = format!("{place}{method}");
            let done = polled(app.call::<Value>(&calling, &params), polls).await;
            let at = format!("{method} after {polls} polls");
            // Its place is free again as soon as it is over.
            let free = async {
                while call(&app, "echo", json!(1)).await == Err(code::BUSY) {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, free).await.expect(&at);
            waiting.nobody_waits(&at).await;
            let counts = app.metrics().bridge.get(method).copied();
            assert_eq!(counts.map_or(0, |c| c.calls), u64::from(polls > 0), "{at}: begun and not ended");
            assert_eq!(counts.map_or(0, |c| c.errors), 0, "{at}");
            // A stream that was opened is the app's until it ends.
            if method != "network.open" {
                let kept = app.metrics().memory_bytes - ledger;
                assert!(kept <= kept_by(method), "{at}: {kept} bytes");
                waiting.no_socket_is_open(&mut closed).await;
            }
            assert_eq!(
                app.metrics().calls,
                2 + u64::from(polls > 0),
                "{at}: launched, this one and the echo"
            );
            assert!(waiting.host.snapshot().memory_bytes <= seat + (1 << 20), "{at}");
            waiting.bury(app, before, &at).await;
            waiting.no_socket_is_open(&mut closed).await;
            if let Some(outcome) = done {
                outcome.unwrap_or_else(|error| panic!("{at}: {error}"));
                longest = polls;
                break;
            }
        }
        // What needs no permission and answers at once has nowhere to wait.
        assert!(longest > 1 || method == "timers.set", "{method} waits somewhere, if only for the question");
    }
}

/// The same with a kill at that moment: what had begun ends there, and what was stored is there whole or not at all.
#[tokio::test]
async fn a_dropped_call_and_a_kill_leave_nothing() {
    let waiting = waiting().await;
    let mut closed = 0;
    for (place, method, params) in kinds(waiting.server.port) {
        for polls in 0.. {
            let before = tasks();
            let app = waiting.launch().await;
            let calling = format!("{place}{method}");
            let done = polled(app.call::<Value>(&calling, &params), polls).await;
            let at = format!("{method} after {polls} polls and a kill");
            waiting.bury(app, before, &at).await;
            waiting.no_socket_is_open(&mut closed).await;
            if done.is_some() {
                break;
            }
        }
        let app = waiting.launch().await;
        let keys = call(&app, "0storage.list", json!({})).await.unwrap()["keys"].clone();
        assert!(keys == json!([]) || keys == json!(["a", "b"]), "{method}: half of a transaction: {keys}");
        let file = call(&app, "1files.read", json!({ "path": "a" })).await;
        let whole = file.as_ref().map_or(true, |file| file["base64"] == "d2hvbGU=");
        assert!(whole, "{method}: half of a file: {file:?}");
        assert_eq!(call(&app, "4timers.list", json!({})).await, Ok(json!({ "timers": [] })));
        assert_eq!(app.publish("t", &json!(1)).unwrap().receivers, 0, "a kill forgets subscriptions");
        waiting.bury(app, tasks(), method).await;
    }
}

/// A call of the app's own page, which nobody else has an interest in: it ends where it waits, and the app goes on.
#[tokio::test]
async fn a_dropped_call_of_a_page_ends_where_it_waits() {
    let waiting = waiting().await;
    let mut closed = 0;
    for (_, method, params) in kinds(waiting.server.port) {
        let params = params.to_string();
        for polls in 0.. {
            let before = tasks();
            let app = waiting.launch().await;
            let ledger = app.metrics().memory_bytes;
            let done = polled(app.dispatch(method, &params), polls).await;
            let at = format!("{method} after {polls} polls, by a page");
            waiting.nobody_waits(&at).await;
            if method != "network.open" {
                let kept = app.metrics().memory_bytes - ledger;
                assert!(kept <= kept_by(method), "{at}: {kept} bytes");
                waiting.no_socket_is_open(&mut closed).await;
            }
            assert_eq!(call(&app, "echo", json!(polls)).await, Ok(json!(polls)), "{at}");
            waiting.bury(app, before, &at).await;
            waiting.no_socket_is_open(&mut closed).await;
            if let Some(outcome) = done {
                outcome.unwrap_or_else(|error| panic!("{at}: {error}"));
                assert!(polls > 1 || method == "timers.set", "{method} waits somewhere");
                break;
            }
        }
    }
}

/// Who reads has the stream in hand: a guest to the end of the read, a page to where it drops it.
#[tokio::test]
async fn a_dropped_read_of_a_stream_leaves_nothing() {
    let waiting = waiting().await;
    let url = json!({ "url": format!("http://a.example.com:{}/drip", waiting.server.port) });
    let mut closed = 0;
    for by_page in [false, true] {
        let (mut polls, mut rounds) = (0, 0);
        loop {
            let before = tasks();
            let app = waiting.launch().await;
            let opened = call(&app, "2network.open", url.clone()).await.unwrap();
            let wanted = json!({ "stream": opened["stream"] });
            let at = format!("network.read after {polls} polls, by a page: {by_page}");
            let done: Option<Value> = if by_page {
                let read = polled(app.dispatch("network.read", &wanted.to_string()), polls).await;
                read.map(|read| serde_json::from_str(&read.unwrap()).unwrap())
            } else {
                let read = polled(app.call::<Value>("2network.read", &wanted), polls).await;
                read.map(|read| read.unwrap())
            };
            waiting.nobody_waits(&at).await;
            waiting.bury(app, before, &at).await;
            waiting.no_socket_is_open(&mut closed).await;
            polls += 1;
            if let Some(piece) = done {
                assert!(piece["body_base64"].as_str().unwrap().starts_with("Ym9k"), "{at}: {piece}");
                if polls > 2 {
                    break;
                }
                // The machine was busy elsewhere, and the body there before anybody read it.
                (polls, rounds) = (0, rounds + 1);
                assert!(rounds < 100, "{at}: no read waits");
            }
        }
    }
}

/// Nobody gets around a limit by having the one who called go away: the guest that computes is stopped all the same.
#[tokio::test]
async fn a_dropped_call_that_computes_is_held_to_its_limits() {
    let limits = Limits { cpu_per_call: Duration::from_millis(50), ..Limits::PHONE };
    let policy = Policy { limits, ..Policy::default() };
    let host = host_with(|b| b.policy(policy));
    host.install(Package::default().signed()).await.unwrap();
    host.prepare(APP).await.unwrap();
    for polls in 1.. {
        let app = host.launch(APP, "ann").await.unwrap();
        let done = polled(app.call::<Value>("spin", &json!({})), polls).await;
        let reason = tokio::time::timeout(PATIENCE, app.stopped()).await.unwrap();
        assert!(matches!(reason, StopReason::Cpu { .. }), "after {polls} polls: {reason}");
        assert_eq!(host.snapshot().memory_bytes, 0, "after {polls} polls");
        if done.is_some() {
            assert!(polls > 1, "it gives its thread back at every tick");
            break;
        }
    }
}

/// A call that waits for its turn has a place among those in flight; whoever gives up gives it back.
#[tokio::test]
async fn a_dropped_call_gives_back_its_place_in_the_queue() {
    let (inside, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (arrived, opened) = (inside.clone(), gate.clone());
    let bridge = Bridge::new("host.wait").method("wait.once", move |_, _: Value| {
        let (arrived, opened) = (arrived.clone(), opened.clone());
        async move {
            arrived.notify_one();
            opened.notified().await;
            Ok::<_, RpcError>(())
        }
    });
    let limits = Limits { calls_in_flight: 2, ..Limits::PHONE };
    let policy = Policy { limits, ..Policy::default() };
    let host = host_with(|b| b.policy(policy).bridge(bridge).permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::with(&["host.wait"])).await;
    let first = tokio::spawn({
        let app = app.clone();
        async move { call(&app, "0wait.once", json!({})).await }
    });
    inside.notified().await;
    for polls in [0, 1, 1, 1] {
        assert_eq!(polled(call(&app, "echo", json!("dropped")), polls).await, None);
    }
    let mut second = Box::pin(call(&app, "echo", json!("second")));
    assert_eq!(polled(&mut second, 1).await, None, "it has its place");
    assert_eq!(call(&app, "echo", json!("third")).await, Err(code::BUSY), "and there is no other");
    gate.notify_one();
    assert_eq!(second.await, Ok(json!("second")));
    assert_eq!(first.await.unwrap(), Ok(Value::Null));
    assert_eq!(app.metrics().calls, 3, "launched and two: those that were dropped never went in");
}

/// A launch goes away at any point too: while its app is compiled, which nothing can stop, or its user is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_launch_leaves_nothing_whatever_it_waited_for() {
    let Waiting { host, questions, .. } = waiting().await;
    for polls in 1.. {
        // Never seen before, so that it is compiled.
        let app_id = format!("com.example.new{polls}");
        let package = Package { app_id: app_id.clone(), ..Package::with(&["storage"]) }.required();
        host.install(package.signed()).await.unwrap();
        let launching = host.begin_launch(&app_id, "ann").unwrap();
        let handle = launching.kill_handle();
        let launched = polled(launching, polls).await;
        let done = launched.is_some();
        drop(launched.map(Result::unwrap));
        tokio::time::timeout(PATIENCE, handle.stopped()).await.expect("the launch goes on");
        assert_eq!(host.snapshot().instances.len(), 0, "after {polls} polls");
        assert_eq!(host.snapshot().memory_bytes, 0, "after {polls} polls");
        let answered = async {
            while questions.load(Ordering::SeqCst) > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.expect("a question is still open");
        if done {
            assert!(polls > 2, "it waits for the compiler and for the user");
            break;
        }
    }
}
