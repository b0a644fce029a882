//! There is one gate: every method that an app can reach, on every transport, is authorized before it does anything.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/page.rs"]
mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use common::{APP, Package, TestHost, host_with, wat};
use miniapp_runtime::rpc::{RpcError, code};
use miniapp_runtime::{Bridge, CallError, HostBuilder, Instance, Policy, StaticPermissions};
use mpkg_manifest::permission::{VOCABULARY, interface_for};
use page::{Page, Socket, notification, request, until};
use serde_json::{Value, json};

/// An embedder's own permissions and their methods.
const OWN: &[(&str, &[&str])] =
    &[("host.loyalty", &["loyalty.points", "loyalty.spend"]), ("host.wallet", &["wallet.drain"])];

/// Every permission there is with its methods, free ones too.
fn vocabulary() -> Vec<(&'static str, &'static [&'static str], bool)> {
    let built_in = VOCABULARY.iter().map(|spec| (spec.name, spec.methods, spec.free));
    built_in.chain(OWN.iter().map(|(name, methods)| (*name, *methods, false))).collect()
}

type Effects = Arc<Mutex<BTreeMap<String, u32>>>;

/// A host on which every method of every permission counts its effects; every second one answers at once.
fn counting(settings: impl FnOnce(HostBuilder) -> HostBuilder) -> (TestHost, Effects) {
    let effects = Effects::default();
    let host = host_with(|mut builder| {
        for (permission, methods, _) in vocabulary() {
            let mut bridge = Bridge::new(permission);
            for (n, method) in methods.iter().enumerate() {
                let effects = effects.clone();
                let count = move || *effects.lock().unwrap().entry((*method).to_owned()).or_default() += 1;
                bridge = if n % 2 == 0 {
                    bridge.immediate(*method, move |_, _: Value| {
                        count();
                        Ok::<_, RpcError>(())
                    })
                } else {
                    bridge.method(*method, move |_, _: Value| {
                        count();
                        async { Ok::<_, RpcError>(()) }
                    })
                };
            }
            builder = builder.bridge(bridge);
        }
        settings(builder)
    });
    (host, effects)
}

/// A package that imports every interface and declares these permissions.
fn package(declared: &[&'static str]) -> (Package, Vec<&'static str>) {
    let mut interfaces: Vec<_> = declared.iter().map(|name| interface_for(name).unwrap()).collect();
    interfaces.extend(VOCABULARY.iter().filter(|spec| spec.free).map(|spec| spec.interface));
    interfaces.dedup();
    let mpkg = if declared.contains(&"network") {
        json!({ "network": { "allow": ["a.example"] } })
    } else {
        json!({})
    };
    let package = Package {
        permissions: declared.to_vec(),
        optional: declared.to_vec(),
        component: wat(&interfaces),
        mpkg,
        ..Package::default()
    };
    (package, interfaces)
}

fn code_of<T>(outcome: Result<T, RpcError>) -> Result<(), i32> {
    outcome.map(drop).map_err(|error| error.code)
}

/// What a method answers, the same on each way to it.
async fn each_way(app: &Instance, interfaces: &[&str], permission: &str, method: &str) -> Result<(), i32> {
    let by_name = code_of(app.dispatch(method, "{}").await);
    let authorized = code_of(app.authorize(method).await);
    assert_eq!(by_name, authorized, "{method}: a call and a question about it differ");
    let interface = interface_for(permission).unwrap();
    if let Some(place) = interfaces.iter().position(|name| *name == interface) {
        let digit = char::from(b'0' + u8::try_from(place).unwrap());
        let by_import = match app.call::<Value>(&format!("{digit}{method}"), &json!({})).await {
            Ok(_) => Ok(()),
            Err(CallError::Rpc(error)) => Err(error.code),
            Err(other) => panic!("{method}: {other}"),
        };
        assert_eq!(by_import, by_name, "{method}: two transports, two answers");
    }
    by_name
}

#[tokio::test]
async fn nothing_granted_nothing_done_and_each_permission_opens_its_own_methods_only() {
    let (host, effects) = counting(|builder| builder);
    // What is called here is all that can be called on this host, and no host has more than that without bridges of its own.
    let known: BTreeSet<(&str, &str)> = vocabulary()
        .iter()
        .flat_map(|(name, methods, _)| methods.iter().map(|method| (*method, *name)))
        .collect();
    assert_eq!(host.methods().collect::<BTreeSet<_>>(), known);
    assert!(common::host().methods().all(|method| known.contains(&method)));
    let all: Vec<_> = vocabulary().into_iter().filter(|(.., free)| !free).map(|(name, ..)| name).collect();
    let (package, interfaces) = package(&all);
    let app = host.run(&package).await;
    let mut reached = 0;
    for granted in std::iter::once(None).chain(all.iter().map(Some)) {
        if let Some(permission) = granted {
            assert!(host.grant("ann", APP, permission).unwrap());
        }
        for (permission, methods, free) in vocabulary() {
            for method in methods {
                effects.lock().unwrap().clear();
                let outcome = each_way(&app, &interfaces, permission, method).await;
                if free || Some(&permission) == granted {
                    assert_eq!(outcome, Ok(()), "{method} with {granted:?}");
                    let done = effects.lock().unwrap().clone();
                    assert_eq!(done, BTreeMap::from([((*method).to_owned(), 2)]), "{method}");
                } else {
                    assert_eq!(outcome, Err(code::PERMISSION_DENIED), "{method} with {granted:?}");
                    assert!(
                        effects.lock().unwrap().is_empty(),
                        "{method} had an effect before it was denied"
                    );
                }
                reached += 1;
            }
        }
        if let Some(permission) = granted {
            host.revoke("ann", APP, permission).unwrap();
        }
    }
    let methods: usize = vocabulary().iter().map(|(_, methods, _)| methods.len()).sum();
    assert_eq!(reached, methods * (all.len() + 1));
}

/// How often [`each_envelope`] makes a call.
const ENVELOPES: u64 = 8;

/// What a method is answered over the gateway, by HTTP and by WebSocket, wherever there is an answer: as a call, as a
/// notification, and in a batch of both.
async fn each_envelope(page: &Page, socket: &mut Socket, method: &str) -> [Result<(), i32>; 4] {
    let (call, silent) = (request(method, json!({})), notification(method, json!({})));
    let batch = json!([silent, call]);
    let posted = page.post(&silent.to_string()).await;
    assert_eq!((posted.status, posted.body.as_str()), (204, ""), "{method}");
    socket.send(&silent.to_string()).await;
    let of_batch = |answers: Value| {
        assert_eq!(answers.as_array().map(Vec::len), Some(1), "{method}: {answers}");
        answers[0].clone()
    };
    let answers = [
        page.rpc(call.clone()).await,
        of_batch(page.rpc(batch.clone()).await),
        socket.say(&call).await,
        of_batch(socket.say(&batch).await),
    ];
    answers.map(|answer| match answer["error"]["code"].as_i64() {
        Some(code) => Err(i32::try_from(code).unwrap()),
        None => answer.get("result").map(|_| ()).ok_or(0),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_envelope_is_a_way_around_the_gate() {
    let often = NonZeroU32::new(1000).unwrap();
    let methods = vocabulary().into_iter().flat_map(|(_, methods, _)| methods);
    let rates = methods.map(|method| ((*method).to_owned(), often)).collect();
    let (host, effects) = counting(|builder| builder.policy(Policy { rates, ..Policy::default() }));
    let all: Vec<_> = vocabulary().into_iter().filter(|(.., free)| !free).map(|(name, ..)| name).collect();
    let app = host.run(&package(&all).0).await;
    let page = Page::of(&app).await;
    let mut socket = page.socket().await;
    let done = |method: &str| u64::from(effects.lock().unwrap().get(method).copied().unwrap_or(0));
    let denied = |method: &str| app.metrics().bridge.get(method).map_or(0, |metrics| metrics.denied);
    for granted in [false, true] {
        for permission in all.iter().filter(|_| granted) {
            assert!(host.grant("ann", APP, permission).unwrap());
        }
        effects.lock().unwrap().clear();
        let mut expected = BTreeMap::new();
        for (_, methods, free) in vocabulary() {
            for method in methods {
                let before = denied(method);
                let open = free || granted;
                let answer = if open { Ok(()) } else { Err(code::PERMISSION_DENIED) };
                assert_eq!(each_envelope(&page, &mut socket, method).await, [answer; 4], "{method}");
                // Nobody is told when a notification is done.
                until(method, || done(method) + denied(method) - before == ENVELOPES).await;
                expected.insert(*method, if open { (ENVELOPES, 0) } else { (0, ENVELOPES) });
                assert_eq!((done(method), denied(method) - before), expected[method], "{method}");
            }
        }
        // Once each, and nothing came after.
        for (method, (effects, _)) in expected {
            assert_eq!(done(method), effects, "{method}");
        }
    }
}

#[tokio::test]
async fn what_is_not_declared_is_not_dispatched() {
    let (host, effects) = counting(|builder| builder.permissions(StaticPermissions::allow_all()));
    let (nothing, interfaces) = package(&[]);
    let app = host.run(&nothing).await;
    for (permission, methods, free) in vocabulary() {
        if free {
            continue;
        }
        for method in methods {
            let denied = each_way(&app, &interfaces, permission, method).await;
            assert_eq!(denied, Err(code::PERMISSION_DENIED), "{method}");
        }
    }
    assert!(effects.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_not_found_on_any_transport() {
    let (host, _) = counting(|builder| builder.permissions(StaticPermissions::allow_all()));
    let app = host.run(&package(&[]).0).await;
    for method in
        ["", "log", "log.nothing", "cart.steal", "lifecycle.launched", "rpc.discover", "loyalty.other"]
    {
        assert_eq!(code_of(app.dispatch(method, "{}").await), Err(code::METHOD_NOT_FOUND), "{method}");
    }
    let bare = host_with(|builder| builder.permissions(StaticPermissions::allow_all()));
    let app = bare.run(&package(&[]).0).await;
    for method in ["clipboard.read", "loyalty.points"] {
        assert_eq!(code_of(app.dispatch(method, "{}").await), Err(code::UNAVAILABLE), "{method}");
    }
}

#[tokio::test]
async fn nothing_is_dispatched_for_an_instance_that_has_ended() {
    let parked = Arc::new(tokio::sync::Notify::new());
    let p = parked.clone();
    let bridge = Bridge::new("host.slow").method("slow.wait", move |_, _: Value| {
        let parked = p.clone();
        async move {
            parked.notify_one();
            std::future::pending::<Result<(), RpcError>>().await
        }
    });
    let host = host_with(|b| b.bridge(bridge).permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::with(&["host.slow"])).await;
    let waiting = tokio::spawn({
        let app = app.clone();
        async move { app.dispatch("slow.wait", "{}").await }
    });
    parked.notified().await;
    app.kill("test");
    assert_eq!(code_of(waiting.await.unwrap()), Err(code::CANCELLED), "a parked call ends with its instance");
    assert_eq!(code_of(app.dispatch("log.write", "{}").await), Err(code::CANCELLED));
    assert_eq!(code_of(app.authorize("log.write").await), Err(code::CANCELLED));
}

#[tokio::test]
async fn messages_have_the_same_limits_on_every_transport() {
    let limits = miniapp_runtime::Limits { message_bytes: 64, ..miniapp_runtime::Limits::PHONE };
    let policy = miniapp_runtime::Policy { limits, ..Default::default() };
    let (host, effects) = counting(|b| b.policy(policy).permissions(StaticPermissions::allow_all()));
    let app = host.run(&package(&["cart.read"]).0).await;
    let long = format!("\"{}\"", "x".repeat(64));
    assert_eq!(code_of(app.dispatch("cart.get", &long).await), Err(code::TOO_LARGE));
    let together = format!("\"{}\"", "x".repeat(60));
    assert_eq!(code_of(app.dispatch("cart.get", &together).await), Err(code::TOO_LARGE));
    assert_eq!(code_of(app.dispatch(&"x".repeat(65), "").await), Err(code::TOO_LARGE));
    assert!(effects.lock().unwrap().is_empty());
}
