//! The smallest honest Super App: it trusts one publisher, lends its app one bridge of its own, and asks before it
//! gives a permission.
//!
//! `cargo run -p embed -- stock-alert.mpkg publisher.pub`

use std::path::PathBuf;

use anyhow::{Context, Result};
use miniapp_runtime::{Bridge, Decision, Host, Limits, Notification, Policy, PromptPermissions};
use mpkg_package::Trust;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Note {
    title: String,
    body: String,
}

#[derive(Serialize)]
struct Shown {
    id: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let package = arguments.next().context("usage: embed PACKAGE PUBLISHER")?;
    let publisher = arguments.next().context("usage: embed PACKAGE PUBLISHER")?;
    let data = tempfile::tempdir()?;

    // A bridge: what this Super App does for its Mini Apps. `{:?}` keeps an app's text from driving the terminal.
    let notifications =
        Bridge::new("notifications").method("notifications.show", |caller, note: Note| async move {
            println!("[{}] {:?}: {:?}", caller.app_id(), note.title, note.body);
            Ok(Shown { id: format!("{}-1", caller.instance()) })
        });
    // A person would be asked here. This one trusts its apps with everything but money.
    let ask = PromptPermissions::new(|request| async move {
        println!("{:?} wants to {}: {:?}", request.app_name, request.sentence, request.reason);
        if request.permission == "payments.request" { Decision::Deny } else { Decision::AllowOnce }
    });

    let host = Host::builder(data.path())
        .policy(Policy { ceilings: Limits { memory_bytes: 32 << 20, ..Limits::PHONE }, ..Policy::default() })
        .trust(Trust::parse(&std::fs::read(publisher)?)?)
        .permissions(ask)
        .bridge(notifications)
        .build()?;
    let installed = host.install_file(package).await?;
    let app = host.launch(&installed.app_id, "ann").await?;

    let mut said = app.notifications();
    let shelf = json!({ "sku": "tea", "stock": 12, "lead_time_hours": 24 });
    let _: Value = app.call("inventory.set", &shelf).await?;
    let order = json!({ "order_id": "o-1", "sku": "tea", "quantity": 9 });
    let status: Value = app.call("orders.add", &order).await?;
    println!("{status}");
    while let Some(notification) = said.try_recv() {
        if let Notification::Event { topic, data, .. } = &*notification {
            println!("event {topic}: {data}");
        }
    }
    println!("{} KiB at most", app.metrics().memory_peak / 1024);

    app.kill("the demonstration is over");
    println!("{}", app.stopped().await);
    Ok(())
}
