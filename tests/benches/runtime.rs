//! The host's cost over raw wasmtime under the same engine settings: `spawn`, `call` and `bridge`.
//!
//! The guest is the hand-written one of the runtime's tests, so that as little as possible but the host is measured.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../runtime/tests/common/mod.rs"]
mod common;

use common::{APP, Package, host_with, wat};
use miniapp_runtime::{Bridge, Compiler, StaticPermissions, engine_config};
use mpkg_tests::{bench, workspace};
use serde_json::Value;
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
        let engine = Engine::new(&engine_config(Compiler::Cranelift).unwrap()).unwrap();
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

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let raw = Raw::new();
    let bridge = Bridge::new("host.bench").immediate("bench.nothing", |_, _: Value| Ok(()));
    let host = host_with(|b| b.bridge(bridge).permissions(StaticPermissions::allow_all()));
    let app = runtime.block_on(host.run(&Package::with(&["host.bench"]).required()));
    let (mut store, handle) = runtime.block_on(raw.start());
    let params = r#"{"sku":"A-1","quantity":2}"#;

    let spawn = bench::compare(
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
    );
    let call = bench::compare(
        "call",
        "raw wasmtime call",
        1,
        |runs| {
            runtime.block_on(async {
                for _ in 0..runs {
                    app.call_json("echo", params).await.unwrap();
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
    );
    let bridge = bench::compare(
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
    );
    let rows = [spawn, call, bridge];
    print!("{}", bench::table(&rows));
    bench::record(&workspace::target().join("bench.json"), &rows).unwrap();
}
