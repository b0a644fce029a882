//! The host's cost over raw wasmtime under the same engine settings: `spawn`, `call`, `bridge` and `authorize`; and how
//! long launches and kills take, what instances have resident, and how calls fare beside an app that does its worst.
//!
//! With names of rows as arguments (`-- spawn call`) only these.
//!
//! The guest is the hand-written one of the runtime's tests, so that as little as possible but the host is measured;
//! launches and memory are the examples'.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../runtime/tests/common/mod.rs"]
mod common;

use common::{APP, Package, host_with, wat};
use std::time::{Duration, Instant};

use miniapp_runtime::{Bridge, Compiler, Host, Limits, Policy, StaticPermissions, engine, rpc::RpcError};
use mpkg_package::Trust;
use mpkg_tests::{bench, workspace};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wasmtime::component::{Component, ComponentType, InstancePre, Lift, Linker, Lower, TypedFunc};
use wasmtime::{Engine, Store};

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct WireError {
    code: i32,
    message: String,
    data: Option<String>,
}

type Handle = TypedFunc<(String, String), (Result<String, WireError>,)>;

/// Plain wasmtime: same engine settings, same component, no limits, no permissions, no metrics.
struct Raw {
    engine: Engine,
    pre: InstancePre<()>,
    component: Component,
}

impl Raw {
    fn new() -> Self {
        let engine = engine(Compiler::Cranelift, &policy()).unwrap();
        let component = Component::new(&engine, wat(&["host"])).unwrap();
        let mut linker = Linker::new(&engine);
        let mut host = linker.instance("mpkg:bridge/host@1.0.0").unwrap();
        host.func_wrap("call", |_, (_method, _params): (String, String)| {
            Ok((Ok::<_, WireError>("null".to_owned()),))
        })
        .unwrap();
        let pre = linker.instantiate_pre(&component).unwrap();
        Self { engine, pre, component }
    }

    async fn start(&self) -> (Store<()>, Handle) {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = self.pre.instantiate_async(&mut store).await.unwrap();
        let app = self.component.get_export_index(None, "mpkg:bridge/app@1.0.0").unwrap();
        let handle = self.component.get_export_index(Some(&app), "handle").unwrap();
        let handle = instance.get_typed_func(&mut store, handle).unwrap();
        (store, handle)
    }
}

/// No limit that a benchmark's loop could meet.
fn policy() -> Policy {
    let long = Duration::from_secs(600);
    let limits = Limits { cpu_per_call: long, cpu_per_second: long, wall_per_call: long, ..Limits::PHONE };
    Policy { limits, ceilings: limits, ..Policy::default() }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let raw = Raw::new();
    let bridge = Bridge::new("host.bench").immediate("bench.nothing", |_, _: Value| Ok(()));
    let parked = Bridge::new("host.wait").method("wait.forever", |_, _: Value| async {
        std::future::pending::<()>().await;
        Ok::<_, RpcError>(())
    });
    let host = host_with(|b| {
        let b = b.policy(policy()).compiler(Compiler::Cranelift).permissions(StaticPermissions::allow_all());
        b.bridge(bridge).bridge(parked)
    });
    // The permission is recorded, as of a user who has allowed it for good.
    let app = runtime.block_on(async {
        host.install(Package::with(&["host.bench"]).signed()).await.unwrap();
        assert!(host.grant("ann", APP, "host.bench").unwrap());
        host.launch(APP, "ann").await.unwrap()
    });
    let (mut store, handle) = runtime.block_on(raw.start());
    let names: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let wanted = |name: &str| names.is_empty() || names.iter().any(|n| n == name);
    let mut rows = Vec::new();
    let params = r#"{"sku":"A-1","quantity":2}"#;
    let given: &RawValue = serde_json::from_str(params).unwrap();

    if wanted("spawn") {
        rows.push(bench::compare(
            "spawn",
            "raw wasmtime instantiate",
            1,
            |runs| {
                runtime.block_on(async {
                    for _ in 0..runs {
                        host.launch(APP, "ann").await.unwrap();
                    }
                })
            },
            |runs| {
                runtime.block_on(async {
                    for _ in 0..runs {
                        raw.start().await;
                    }
                })
            },
        ));
    }
    if wanted("call") {
        rows.push(bench::compare(
            "call",
            "raw wasmtime call",
            1,
            |runs| {
                runtime.block_on(async {
                    for _ in 0..runs {
                        app.call_raw("echo", given).await.unwrap();
                    }
                })
            },
            |runs| {
                runtime.block_on(async {
                    for _ in 0..runs {
                        let call = handle.call_async(&mut store, ("echo".to_owned(), params.to_owned()));
                        assert!(call.await.unwrap().0.is_ok());
                    }
                })
            },
        ));
    }
    if wanted("bridge") {
        rows.push(bench::compare(
            "bridge",
            "raw wasmtime host call",
            1000,
            |runs| {
                runtime.block_on(async {
                    for _ in 0..runs {
                        app.call_json("loopbench.nothing", "{}").await.unwrap();
                    }
                })
            },
            |runs| {
                runtime.block_on(async {
                    for _ in 0..runs {
                        let call =
                            handle.call_async(&mut store, ("loopbench.nothing".to_owned(), "{}".to_owned()));
                        assert!(call.await.unwrap().0.is_ok());
                    }
                })
            },
        ));
    }
    if wanted("authorize") {
        rows.push(authorize(&runtime, &app));
    }
    if wanted("kill") {
        rows.extend(runtime.block_on(kills(&host)));
    }
    let examples = ["examples/stock-alert", "examples/shopping-cart"];
    for project in examples.iter().filter(|_| wanted("examples")) {
        match workspace::built(project) {
            Ok(package) => rows.extend(runtime.block_on(example(project, &package))),
            Err(why) => eprintln!("SKIPPED: {project}: {why}"),
        }
    }
    if wanted("neighbours") {
        rows.extend(runtime.block_on(neighbours()));
    }
    print!("{}", bench::table(&rows));
    bench::record(&workspace::target().join("bench.json"), &rows).unwrap();
}

/// The decision on a method whose permission is granted, beside a call through jsonrpsee's own dispatch.
fn authorize(runtime: &tokio::runtime::Runtime, app: &miniapp_runtime::Instance) -> bench::Row {
    let mut module = jsonrpsee::RpcModule::new(());
    module.register_method("bench.nothing", |_, (), _| ()).unwrap();
    let request = r#"{"jsonrpc":"2.0","id":1,"method":"bench.nothing","params":{}}"#;
    bench::compare(
        "authorize",
        "jsonrpsee's in-process dispatch",
        1,
        |runs| {
            runtime.block_on(async {
                for _ in 0..runs {
                    app.authorize("bench.nothing").await.unwrap();
                }
            })
        },
        |runs| {
            runtime.block_on(async {
                for _ in 0..runs {
                    std::hint::black_box(module.raw_json_request(request, 1).await.unwrap());
                }
            })
        },
    )
}

/// Calls into an app beside another one that does its worst: the 99th percentile, next to that alone.
async fn neighbours() -> Vec<bench::Row> {
    let report = miniapp_isolation::Isolation::new(|host| host).fairness().await.unwrap();
    assert!(report.holds(), "{report}");
    let nanos = |time: Duration| time.as_secs_f64() * 1e9;
    let row = |pressure: &miniapp_isolation::Pressure| bench::Row {
        name: format!("neighbour_{}", pressure.attack.label()),
        unit: "ns".into(),
        value: nanos(pressure.beside.p99),
        baseline: Some(nanos(pressure.alone.p99)),
        baseline_name: Some("99 % alone".into()),
        ratio: Some(pressure.ratio()),
        p50: Some(nanos(pressure.beside.p50)),
        p99: Some(nanos(pressure.beside.p99)),
    };
    report.pressures.iter().map(row).collect()
}

/// From a kill to the end of the call it interrupts, with the guest spinning and with it parked in a host call.
async fn kills(host: &Host) -> Vec<bench::Row> {
    const ROUNDS: usize = 200;
    host.install(Package { code: 2, ..Package::with(&["host.wait"]) }.required().signed()).await.unwrap();
    let mut rows = Vec::new();
    for (name, method) in [("kill_spinning", "spin"), ("kill_parked", "0wait.forever")] {
        let mut samples = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let app = host.launch(APP, "ann").await.unwrap();
            let busy = tokio::spawn({
                let app = app.clone();
                async move {
                    let ended = app.call::<Value>(method, &json!({})).await;
                    assert!(ended.is_err());
                    Instant::now()
                }
            });
            // Long enough to be inside, whatever the machine does; what is measured begins with the kill.
            tokio::time::sleep(Duration::from_millis(8)).await;
            let began = Instant::now();
            app.kill("bench");
            samples.push((busy.await.unwrap() - began).as_secs_f64() * 1e9);
        }
        rows.push(bench::distribution(name, "ns", samples));
    }
    rows
}

/// An example as its users meet it: never seen, seen before, and as many at once as should fit.
async fn example(project: &str, package: &std::path::Path) -> Vec<bench::Row> {
    let package = std::fs::read(package).unwrap();
    let key = common::key(1);
    let (statement_root, created) = (mpkg_package::Root::single(&key.public()), common_time());
    let signed =
        mpkg_package::sign(&package, &key, &statement_root, created).unwrap().embed(&package).unwrap();
    let name =
        |what: &str| format!("{what}_{}", if project.ends_with("stock-alert") { "rust" } else { "js" });
    let build = |folder: &std::path::Path| {
        let builder = Host::builder(folder).policy(policy()).trust(Trust::key(&key.public()));
        let builder = builder.permissions(StaticPermissions::allow_all());
        services().into_iter().fold(builder, |builder, bridge| builder.bridge(bridge)).build()
    };
    let open = |folder: &std::path::Path| build(folder).unwrap();
    let container = mpkg_package::container::read(&package).unwrap();
    let component = container.get("app.wasm").unwrap().data;
    let one_pass = engine(Compiler::Winch, &policy()).unwrap();

    let (mut cold, mut raw) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let began = Instant::now();
        drop(Component::new(&one_pass, component).unwrap());
        raw.push(began.elapsed().as_secs_f64() * 1e9);
        let folder = tempfile::tempdir().unwrap();
        let host = open(folder.path());
        let app = host.install(signed.clone()).await.unwrap();
        let began = Instant::now();
        let launched = host.launch(&app.app_id, "ann").await.unwrap();
        cold.push(began.elapsed().as_secs_f64() * 1e9);
        drop(launched);
        // Or the optimizing compile in the background would be measured with the next one.
        while host.snapshot().compiling > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    let folder = tempfile::tempdir().unwrap();
    let host = open(folder.path());
    let app = host.install(signed).await.unwrap();
    host.prepare(&app.app_id).await.unwrap();
    let mut warm = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        let launched = host.launch(&app.app_id, "ann").await.unwrap();
        warm.push(began.elapsed().as_secs_f64() * 1e9);
        drop(launched);
    }

    // Everything that the host had is free when its last task has let go of it.
    drop(host);
    let mut restarted = Vec::new();
    let mut host = None;
    for _ in 0..10 {
        drop(host.take());
        let next = loop {
            match build(folder.path()) {
                Ok(next) => break next,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        let began = Instant::now();
        let launched = next.launch(&app.app_id, "ann").await.unwrap();
        restarted.push(began.elapsed().as_secs_f64() * 1e9);
        drop(launched);
        host = Some(next);
    }
    let host = host.unwrap();

    let many = if project.ends_with("stock-alert") { 1000 } else { 80 };
    let before = resident();
    let mut live = Vec::with_capacity(many);
    for n in 0..many {
        live.push(host.launch(&app.app_id, &format!("user-{n}")).await.unwrap());
    }
    let taken = resident().saturating_sub(before);
    let counted = host.snapshot().memory_bytes;
    eprintln!("{many} x {project}: {taken} bytes resident, {counted} counted");
    vec![
        bench::distribution(&name("launch_cold"), "ns", cold).beside("raw wasmtime, compiling alone", raw),
        bench::distribution(&name("launch_restart"), "ns", restarted),
        bench::distribution(&name("launch_warm"), "ns", warm),
        bench::distribution(&name(&format!("memory_{many}")), "bytes", vec![taken as f64])
            .beside("the default budget", vec![Policy::default().memory_bytes as f64]),
    ]
}

/// What the examples need of a Super App.
fn services() -> Vec<Bridge> {
    let shown = |_: &_, _: Value| Ok(json!({ "id": "1" }));
    let empty = |_: &_, _: Value| Ok(json!({ "items": [] }));
    let mut write = Bridge::new("cart.write");
    for method in ["cart.add", "cart.update", "cart.remove", "cart.checkout"] {
        write = write.immediate(method, empty);
    }
    vec![
        Bridge::new("notifications").immediate("notifications.show", shown),
        Bridge::new("cart.read").immediate("cart.get", empty),
        write,
    ]
}

fn common_time() -> mpkg_package::Time {
    mpkg_package::Time::from_unix(1_767_225_600).unwrap()
}

/// Memory of this process, in bytes, pages that several mappings share counted once; 0 where the system does not tell.
fn resident() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    pss.and_then(|rest| rest.trim().strip_suffix(" kB")).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0)
        * 1024
}
