//! What a monitoring system reads is OpenMetrics text, whose counters never fall, and in which every limit shows.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{APP, Package, builder, call, host, host_with, one_compiler};
use miniapp_runtime::rpc::code;
use miniapp_runtime::{Host, Limits, PAGE, Phase, Policy, StaticPermissions};
use serde_json::json;

/// The samples by name and labels, and the types by family; panics where the text breaks the format's rules.
fn parse(text: &str) -> (BTreeMap<String, f64>, BTreeMap<String, String>) {
    let (mut samples, mut types) = (BTreeMap::new(), BTreeMap::<String, String>::new());
    let body = text.strip_suffix("# EOF\n").expect("it ends with a mark");
    let mut family = String::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (kind, name, value) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            match kind {
                "HELP" | "UNIT" => assert!(!value.is_empty()),
                "TYPE" => {
                    family = name.to_owned();
                    assert!(types.insert(name.to_owned(), value.to_owned()).is_none(), "{name} twice");
                }
                other => panic!("{other} in {line}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{line}");
        let suffix = name.strip_prefix(&family).unwrap_or_else(|| panic!("{name} is none of {family}"));
        let allowed: &[&str] = match types[&family].as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => panic!("{other}"),
        };
        assert!(allowed.contains(&suffix), "{name} of a {}", types[&family]);
        if let Some(labels) = series.strip_prefix(name).filter(|labels| !labels.is_empty()) {
            let labels = labels.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
            for label in labels.split(',') {
                let (_, value) = label.split_once('=').unwrap();
                let value = value.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
                assert!(!value.contains(['"', '\\']), "{line}");
            }
        }
        let twice = samples.insert(series.to_owned(), value.parse().unwrap());
        assert!(twice.is_none(), "{series} twice");
    }
    (samples, types)
}

fn met(host: &Host, limit: &str) -> f64 {
    let (samples, _) = parse(&host.open_metrics());
    let series = format!(r#"miniapp_limits_met_total{{app="{APP}",limit="{limit}"}}"#);
    samples.get(&series).copied().unwrap_or(0.0)
}

/// Each limit with a way to meet it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_limit_that_is_met_shows() {
    let ms = Duration::from_millis;
    let limits = Limits {
        memory_bytes: 64 * PAGE,
        cpu_per_call: ms(300),
        cpu_per_second: ms(30),
        wall_per_call: Duration::from_secs(20),
        message_bytes: 4096,
        calls_in_flight: 1,
        call_depth: 1,
        log_lines_per_second: 1,
    };
    let rates = [("storage.usage".to_owned(), std::num::NonZeroU32::MIN)].into();
    let policy = Policy { limits, rates, ..Policy::default() };
    let host = host_with(|b| b.policy(policy).permissions(StaticPermissions::allow_all()));
    host.install(Package::with(&["storage"]).required().signed()).await.unwrap();
    let meet = async |method: &str, params: serde_json::Value| {
        let app = host.launch(APP, "ann").await.unwrap();
        let _ = call(&app, method, params).await;
        app.kill("done");
        app.stopped().await;
    };
    meet("more", json!({})).await;
    assert!(met(&host, "memory") >= 1.0, "a refusal counts where the app copes with it");
    // Spinning uses up what was saved, and then the call's own budget.
    meet("spin", json!({})).await;
    assert_eq!(met(&host, "cpu_per_call"), 1.0);
    assert!(met(&host, "cpu_per_second") >= 1.0);
    meet("deep", json!({})).await;
    assert_eq!(met(&host, "stack"), 1.0);
    meet("echo", json!("x".repeat(5000))).await;
    assert_eq!(met(&host, "message"), 1.0);
    meet("loopstorage.usage", json!({})).await;
    assert!(met(&host, "rate") >= 1.0);
    let app = host.launch(APP, "ann").await.unwrap();
    // Either may take the one place first; the one that spins tries until it has it.
    let spinning = tokio::spawn({
        let app = app.clone();
        async move { while call(&app, "spin", json!({})).await == Err(code::BUSY) {} }
    });
    while call(&app, "echo", json!({})).await.is_ok() {
        tokio::task::yield_now().await;
    }
    app.kill("done");
    spinning.await.unwrap();
    assert!(met(&host, "calls_in_flight") >= 1.0);

    let wall = Limits { wall_per_call: ms(500), cpu_per_call: Duration::from_secs(9), ..Limits::PHONE };
    let host = host_with(|b| b.policy(Policy { limits: wall, ..Policy::default() }));
    let app = host.run(&Package::with(&["log"])).await;
    let lines = call(&app, "looplog.write", json!({ "level": "info", "message": "m" })).await;
    assert!(lines.is_ok() && met(&host, "log_lines") >= 1.0);
    let _ = call(&app, "spin", json!({})).await;
    assert_eq!(met(&host, "wall"), 1.0);
}

#[tokio::test]
async fn launches_that_come_to_nothing_show_by_code() {
    let host = host();
    let hostile = "com.example.a\"} 1\nminiapp_calls_total{app=\"x";
    for app in ["com.example.none", hostile] {
        assert_eq!(host.launch(app, "ann").await.unwrap_err().code(), "MPKG-H10");
    }
    assert_eq!(host.launch(APP, "").await.unwrap_err().code(), "MPKG-H11");
    let (samples, _) = parse(&host.open_metrics());
    assert_eq!(samples[r#"miniapp_launches_refused_total{code="MPKG-H10"}"#], 2.0);
    assert_eq!(samples[r#"miniapp_launches_refused_total{code="MPKG-H11"}"#], 1.0);
}

/// Read again and again while instances come and go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_never_fall() {
    let host = host();
    host.install(Package::with(&["log"]).signed()).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let reading = tokio::task::spawn_blocking({
        let (host, done) = (host.host.clone(), done.clone());
        move || {
            let (mut before, mut reads) = (BTreeMap::<String, f64>::new(), 0);
            while !done.load(Ordering::SeqCst) {
                let (samples, types) = parse(&host.open_metrics());
                let counts = |name: &str| {
                    let name = name.split('{').next().unwrap();
                    let family = name.strip_suffix("_total").or_else(|| name.strip_suffix("_count"));
                    family.is_some_and(|family| types.contains_key(family))
                };
                for (name, value) in &before {
                    if counts(name) {
                        let now = samples.get(name).copied().unwrap_or(0.0);
                        assert!(now >= *value, "{name} fell from {value} to {now}");
                    }
                }
                before = samples;
                reads += 1;
            }
            reads
        }
    });
    for n in 0..400 {
        let app = host.launch(APP, "ann").await.unwrap();
        call(&app, "0log.write", json!({ "level": "info", "message": "m" })).await.unwrap();
        if n % 2 == 0 {
            app.kill("test");
        }
    }
    done.store(true, Ordering::SeqCst);
    assert!(reading.await.unwrap() > 1);
    let (samples, _) = parse(&host.open_metrics());
    // Each is told that it was launched, and called once.
    assert_eq!(samples[&format!(r#"miniapp_calls_total{{app="{APP}"}}"#)], 800.0);
    assert_eq!(samples[&format!(r#"miniapp_log_lines_total{{app="{APP}"}}"#)], 400.0);
}

#[tokio::test]
async fn every_phase_of_a_launch_is_timed_once_and_what_is_there_is_not_compiled() {
    let folder = tempfile::tempdir().unwrap();
    for cold in [true, false] {
        let host = builder(folder.path()).compiler(one_compiler()).build().unwrap();
        if cold {
            host.install(Package::default().signed()).await.unwrap();
        }
        host.launch(APP, "ann").await.unwrap();
        // Which waits until the code is on the disk.
        host.prepare(APP).await.unwrap();
        let samples = parse(&host.open_metrics()).0;
        for phase in Phase::ALL {
            let of = |what: &str| {
                samples[&format!("miniapp_launch_phase_seconds_{what}{{phase=\"{}\"}}", phase.label())]
            };
            let expected = if !cold && matches!(phase, Phase::Wait | Phase::Compile) { 0.0 } else { 1.0 };
            assert_eq!(of("count"), expected, "{phase:?}, cold: {cold}");
            // Who does not have to wait has waited for less than some clocks can tell.
            let took = phase == Phase::Wait || (of("sum") > 0.0) == (expected > 0.0);
            assert!(of("sum") < 60.0 && took, "{phase:?}, cold: {cold}");
        }
    }
}
