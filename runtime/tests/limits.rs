//! Hostile guests are stopped with a typed reason; their host and their neighbours go on.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::{Package, TestHost, call, host, host_with};
use miniapp_runtime::rpc::RpcError;
use miniapp_runtime::{
    Bridge, CallError, LaunchError, Limit, Limits, PAGE, Policy, StaticPermissions, StopReason,
};
use serde_json::{Value, json};

/// Room for what takes long on a busy machine and is not an attack on the CPU.
const CPU: Duration = Duration::from_secs(2);

/// Attacks one instance while a neighbour is called; the neighbour must not notice.
async fn stopped_by(method: &str) -> StopReason {
    let limits = Limits { cpu_per_call: CPU, ..Limits::PHONE };
    let policy = Policy { limits, ..Policy::default() };
    let host = host_with(|b| b.policy(policy).permissions(StaticPermissions::allow_all()));
    let neighbour = host.run(&Package { app_id: "com.example.neighbour".into(), ..Package::default() }).await;
    let victim = host.run(&Package::with(&["log"])).await;
    let error = victim.call::<Value>(method, &json!({})).await.unwrap_err();
    let CallError::Stopped { reason, .. } = error else { panic!("{method}: {error}") };
    assert_eq!(victim.stopped().await, reason);
    assert_eq!(call(&neighbour, "echo", json!([1])).await, Ok(json!([1])), "after {method}");
    assert_eq!(host.instances().len(), 1);
    reason
}

/// However the app is called: what is no JSON reaches nobody as an answer.
#[tokio::test]
async fn an_answer_that_is_no_json_is_no_answer() {
    let text = common::puppet::component(&[]);
    let hostile = text.replace(r#""\22refused\22""#, r#""\22refused!""#);
    assert_ne!(text, hostile);
    let component = wat::parse_str(hostile).unwrap();
    let host = host();
    let app = host.run(&Package { component, ..Package::default() }).await;
    let params = serde_json::value::to_raw_value(&json!({})).unwrap();
    let answer = app.call_raw("more", &params).await.unwrap();
    assert!(answer.read::<Value>().is_err() && answer.into_raw().is_err());
    for error in [
        app.call::<Value>("more", &json!({})).await.unwrap_err(),
        app.call_json("more", "{}").await.unwrap_err(),
    ] {
        assert!(matches!(error, CallError::BadAnswer { .. }), "{error}");
    }
    let told = app.rpc(r#"{"jsonrpc":"2.0","id":1,"method":"more"}"#).await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap()["error"]["code"], -32603);
    let answer = app.call_raw("echo", &params).await.unwrap();
    assert_eq!(answer.read::<Value>().unwrap(), json!({}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_has_its_own_reason() {
    let cap = Limits::PHONE.memory_bytes;
    let method = |m: &str| m.to_owned();
    // The call's own message ("grow", "{}") is charged as well, so the last page no longer fits by six bytes.
    assert_eq!(stopped_by("grow").await, StopReason::Memory { wanted: cap + 6, cap });
    assert_eq!(stopped_by("table").await.label(), "memory");
    assert_eq!(stopped_by("spin").await, StopReason::Cpu { method: method("spin"), budget: CPU });
    assert_eq!(stopped_by("deep").await, StopReason::Stack { method: method("deep") });
    assert_eq!(stopped_by("crash").await.label(), "crashed");
    assert_eq!(stopped_by("long").await, StopReason::Message { method: method("long"), limit: 1 << 20 });
    assert_eq!(stopped_by("flood").await.label(), "cpu");
}

#[tokio::test]
async fn a_stopped_guest_is_never_entered_again() {
    let host = host();
    let app = host.run(&Package::default()).await;
    app.call::<Value>("crash", &json!({})).await.unwrap_err();
    let again = app.call::<Value>("echo", &json!({})).await.unwrap_err();
    assert_eq!(again.code(), "MPKG-H28");
    assert!(!app.kill("too late"), "it has ended already, and for another reason");
    assert!(matches!(app.stop_reason(), Some(StopReason::Crashed { .. })));
}

/// The cap is exact to the page: what fits is granted, one page more is not.
#[tokio::test]
async fn the_cap_is_exact_to_the_page() {
    let host = host();
    let pages = 40;
    let package =
        Package { mpkg: json!({ "limits": { "memory_bytes": pages * PAGE } }), ..Package::default() };
    let app = host.run(&package).await;
    let used = app.metrics().memory_bytes;
    // The guest's answer and question are charged while they are under way: leave room for them.
    assert_eq!(call(&app, "more", json!({})).await, Ok(json!("refused")), "a refused growth is no crash");
    let metrics = app.metrics();
    assert_eq!(metrics.memory_cap, pages * PAGE);
    assert_eq!(metrics.memory_bytes, (pages - 1) * PAGE, "the call's own message took the last page's room");
    assert!(used >= 2 * PAGE);
}

#[tokio::test]
async fn several_memories_and_tables_count_together() {
    let memories = |count: usize| -> Vec<u8> {
        let mut text = common::puppet::component(&[]);
        let module = "(core module (memory 10) (table 8192 funcref))";
        let extra: String = (0..count)
            .map(|n| {
                format!(
                    "\n{} (core instance (instantiate $x{n}))",
                    module.replacen("module", &format!("module $x{n}"), 1)
                )
            })
            .collect();
        text.insert_str(text.find("\n  (func $handle").unwrap(), &extra);
        wat::parse_str(text).unwrap()
    };
    // Each extra module takes 10 pages of memory and one of table; the guest itself two pages.
    let host = host();
    for (count, cap, fits) in [(3, 35, true), (3, 34, false), (4, 46, true), (4, 45, false)] {
        let package = Package {
            app_id: format!("com.example.many{count}x{cap}"),
            mpkg: json!({ "limits": { "memory_bytes": cap * PAGE } }),
            component: memories(count),
            ..Package::default()
        };
        host.install(package.signed()).await.unwrap();
        match host.launch(&package.app_id, "ann").await {
            Ok(app) => {
                assert!(fits, "{count} modules in {cap} pages");
                assert_eq!(app.metrics().memory_bytes, (2 + 11 * count as u64) * PAGE);
            }
            Err(LaunchError::Stopped { reason: StopReason::Memory { cap: at, .. }, .. }) => {
                assert!(!fits, "{count} modules in {cap} pages");
                assert_eq!(at, cap * PAGE);
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_manifest_may_ask_for_less_and_policy_may_allow_more() {
    let asking =
        |bytes: u64| Package { mpkg: json!({ "limits": { "memory_bytes": bytes } }), ..Package::default() };
    let strict = host();
    strict.install(asking(128 << 20).signed()).await.unwrap();
    let refused = strict.launch(common::APP, "ann").await.unwrap_err();
    assert!(
        matches!(refused, LaunchError::OverPolicy { asked, allowed, .. } if (asked, allowed) == (128 << 20, 64 << 20))
    );
    let ceilings = Limits { memory_bytes: 128 << 20, ..Limits::PHONE };
    let generous = host_with(|b| b.policy(Policy { ceilings, ..Policy::default() }));
    let app = generous.run(&asking(128 << 20)).await;
    assert_eq!(app.metrics().memory_cap, 128 << 20);
}

#[tokio::test]
async fn what_is_too_large_to_be_compiled_here_is_not() {
    let package = Package::default();
    let bytes = package.component.len();
    for (component_bytes, runs) in [(bytes, true), (bytes - 1, false)] {
        let host = host_with(|b| b.policy(Policy { component_bytes, ..Policy::default() }));
        host.install(package.signed()).await.unwrap();
        match host.launch(common::APP, "ann").await {
            Ok(_) => assert!(runs),
            Err(LaunchError::OverPolicy { asked, allowed, .. }) => {
                assert!(!runs);
                assert_eq!((asked, allowed), (bytes as u64, component_bytes as u64));
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_message_too_long_is_refused_and_the_app_goes_on() {
    let limits = Limits { message_bytes: 4096, ..Limits::PHONE };
    let policy = Policy { limits, ..Policy::default() };
    let host = host_with(|b| b.policy(policy).permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::with(&["log"])).await;
    let long = json!("x".repeat(5000));
    assert_eq!(call(&app, "echo", long.clone()).await, Err(miniapp_runtime::rpc::code::TOO_LARGE));
    assert_eq!(call(&app, "echo", json!("x".repeat(3000))).await, Ok(json!("x".repeat(3000))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_beyond_the_limit_are_told_so_at_once() {
    let cpu_per_call = Duration::from_secs(60);
    let limits = Limits { calls_in_flight: 1, cpu_per_call, ..Limits::PHONE };
    let policy = Policy { limits, ceilings: limits, ..Policy::default() };
    let host = host_with(|b| b.policy(policy));
    let app = host.run(&Package::default()).await;
    // Either call may take the one place first; the one that spins tries until it has it.
    let spinning = tokio::spawn({
        let app = app.clone();
        async move {
            loop {
                match call(&app, "spin", json!({})).await {
                    Err(miniapp_runtime::rpc::code::BUSY) => tokio::task::yield_now().await,
                    other => return other,
                }
            }
        }
    });
    while call(&app, "echo", json!({})).await != Err(miniapp_runtime::rpc::code::BUSY) {
        assert!(app.stop_reason().is_none());
    }
    app.kill("enough");
    assert_eq!(spinning.await.unwrap(), Err(miniapp_runtime::rpc::code::CANCELLED));
}

/// Each limit by its name in the manifest: what is asked for is what the app gets, the others stay, and one above the
/// ceiling is refused with its name.
#[tokio::test]
async fn every_limit_can_be_asked_for_and_has_a_ceiling() {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap();
    let ms = Duration::from_millis;
    let phone = Limits::PHONE;
    let most = Limits {
        memory_bytes: phone.memory_bytes,
        cpu_per_call: ms(6000),
        cpu_per_second: ms(600),
        wall_per_call: ms(40_000),
        message_bytes: 2 << 20,
        calls_in_flight: 100,
        call_depth: 20,
        log_lines_per_second: 200,
    };
    let host = host_with(|b| b.policy(Policy { ceilings: most, ..Policy::default() }));
    type Case = (&'static str, u64, u64, &'static str, Limits);
    let cases: [Case; 8] = [
        ("memory_bytes", 4 << 20, most.memory_bytes, "memory", Limits { memory_bytes: 4 << 20, ..phone }),
        (
            "cpu_ms_per_call",
            700,
            millis(most.cpu_per_call),
            "CPU time per call",
            Limits { cpu_per_call: ms(700), ..phone },
        ),
        (
            "cpu_ms_per_second",
            300,
            millis(most.cpu_per_second),
            "CPU time per second",
            Limits { cpu_per_second: ms(300), ..phone },
        ),
        (
            "wall_ms_per_call",
            9000,
            millis(most.wall_per_call),
            "time per call",
            Limits { wall_per_call: ms(9000), ..phone },
        ),
        (
            "message_bytes",
            80_000,
            most.message_bytes as u64,
            "message length",
            Limits { message_bytes: 80_000, ..phone },
        ),
        (
            "calls_in_flight",
            7,
            most.calls_in_flight.into(),
            "calls in flight",
            Limits { calls_in_flight: 7, ..phone },
        ),
        ("call_depth", 3, most.call_depth.into(), "call depth", Limits { call_depth: 3, ..phone }),
        (
            "log_lines_per_second",
            11,
            most.log_lines_per_second.into(),
            "log lines per second",
            Limits { log_lines_per_second: 11, ..phone },
        ),
    ];
    for (n, (name, wanted, ceiling, label, expected)) in cases.into_iter().enumerate() {
        let asking = |what: &str, value: u64| Package {
            app_id: format!("com.example.{what}{n}"),
            mpkg: json!({ "limits": { name: value } }),
            ..Package::default()
        };
        let app = host.run(&asking("less", wanted)).await;
        assert_eq!(app.limits(), expected, "{name}");
        if name != "memory_bytes" {
            let app = host.run(&asking("most", ceiling)).await;
            assert_ne!(app.limits(), phone, "{name}: the ceiling itself is allowed");
        }
        // Memory comes in pages.
        let more = ceiling + if name == "memory_bytes" { PAGE } else { 1 };
        let over = asking("more", more);
        host.install(over.signed()).await.unwrap();
        match host.launch(&over.app_id, "ann").await.unwrap_err() {
            LaunchError::OverPolicy { what, asked, allowed, .. } => {
                assert_eq!((&*what, asked, allowed), (label, more, ceiling));
            }
            other => panic!("{name}: {other}"),
        }
    }
}

/// The rate of a method is a limit like the others: a manifest may ask for less of it, and for more as far as policy goes.
#[tokio::test]
async fn a_manifest_may_ask_for_a_methods_rate_within_its_ceiling() {
    let rate = |n| std::num::NonZeroU32::new(n).unwrap();
    let bell = || {
        let bell = Bridge::new("host.bell").immediate("bell.ring", |_, _: Value| Ok::<_, RpcError>(()));
        bell.rate("bell.ring", rate(10))
    };
    let asking = |app_id: &str, rate: u32| Package {
        app_id: app_id.to_owned(),
        mpkg: json!({ "limits": { "calls_per_second": { "bell.ring": rate } } }),
        ..Package::with(&["host.bell"])
    };
    let host = |policy: Policy| {
        host_with(|b| b.policy(policy).permissions(StaticPermissions::allow_all()).bridge(bell()))
    };
    let strict = host(Policy::default());
    let rings = async |host: &TestHost, package: Package| {
        let app = host.run(&package).await;
        let mut rings = 0;
        while call(&app, "0bell.ring", json!({})).await.is_ok() {
            rings += 1;
        }
        assert_eq!(app.metrics().limits_met[&Limit::Rate], 1);
        rings
    };
    // While these are made there may be time for one more.
    assert!((3..=4).contains(&rings(&strict, asking("com.example.few", 3)).await));
    assert!((10..=11).contains(&rings(&strict, asking("com.example.same", 10)).await));
    let more = asking("com.example.more", 15);
    strict.install(more.signed()).await.unwrap();
    match strict.launch(&more.app_id, "ann").await.unwrap_err() {
        LaunchError::OverPolicy { what, asked, allowed, .. } => {
            assert_eq!((&*what, asked, allowed), ("calls of `bell.ring` per second", 15, 10));
        }
        other => panic!("{other}"),
    }
    let rate_ceilings = [("bell.ring".to_owned(), rate(15))].into();
    let generous = host(Policy { rate_ceilings, ..Policy::default() });
    assert!((15..=16).contains(&rings(&generous, more).await));
}
