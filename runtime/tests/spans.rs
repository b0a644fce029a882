//! Who does what is told to whoever listens to spans. The one test of its process: listeners are a process's.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex};

use common::{Package, host_with};
use miniapp_runtime::rpc::RpcError;
use miniapp_runtime::{Bridge, StaticPermissions};
use serde_json::{Value, json};
use tracing_subscriber::fmt::format::FmtSpan;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn launches_calls_and_bridge_calls_say_whose_they_are() {
    let lines = Lines::default();
    let writer = lines.clone();
    tracing_subscriber::fmt()
        .with_env_filter("miniapp_runtime=debug")
        .with_ansi(false)
        .with_span_events(FmtSpan::NEW)
        .with_writer(move || writer.clone())
        .init();
    let bridge =
        Bridge::new("cart.read").method("cart.get", |_, _: Value| async { Ok::<_, RpcError>(json!([])) });
    let host = host_with(|b| b.bridge(bridge).permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::with(&["cart.read", "clock"]).required()).await;
    app.call::<Value>("0cart.get", &json!({})).await.unwrap();
    app.call::<Value>("1clock.now", &json!({})).await.unwrap();
    app.dispatch("cart.get", "{}").await.unwrap();

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    for span in [
        r#"call{app="com.example.puppet" version="1.0.0" instance=1 method="0cart.get"}: "#,
        r#"method="0cart.get"}:bridge{method="cart.get"}: "#,
        r#"method="1clock.now"}:bridge{method="clock.now"}: "#,
        r#"dispatch{app="com.example.puppet" version="1.0.0" instance=1 method="cart.get"}: "#,
    ] {
        assert!(
            text.lines().any(|line| line.contains(span) && line.ends_with(": new")),
            "no {span} in\n{text}"
        );
    }
    // The version is known once a release was chosen; what happens in the launch from then on has it.
    let launched = r#"launch{app="com.example.puppet" instance=1 version="1.0.0"}:call{"#;
    assert!(text.contains(launched), "no {launched} in\n{text}");
}
