//! A network that loses, repeats, reorders and delays: all hosts end where the registry is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mpkg_fleet::Level;
use serde_json::json;

use crate::common::{APP, Package, start_with};
use crate::device::{Host, until};
use crate::following::{kill, lift};
use crate::proxy::{Answer, Fault, Proxy};

/// A number that looks random and is the same in every run.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_events_all_hosts_end_where_the_registry_is() {
    // Heartbeats tell a host that it has missed something.
    let registry =
        start_with(|config| mpkg_registry::Config { heartbeat_every: Duration::from_millis(300), ..config })
            .await;
    registry.claim().await;
    registry.publish(1).await;
    registry.everywhere(1).await;
    let mut hosts = Vec::new();
    for n in 0..12_u64 {
        let mut seed = n;
        let fault = move |event: &str| {
            if event.contains("heartbeat") {
                return Fault::Pass;
            }
            match next(&mut seed) % 6 {
                0 => Fault::Pass,
                1 => Fault::Drop,
                2 => Fault::Twice,
                3 => Fault::Swap,
                4 => Fault::Delay(Duration::from_millis(next(&mut seed) % 200)),
                _ => Fault::Break,
            }
        };
        let proxy = Proxy::new(&registry.base, |_, _| Answer::Honest, fault).await;
        let mut host = Host::at(&registry, &proxy.base, &format!("unit-{n}")).await;
        host.runs(1).await;
        hosts.push((host, proxy));
    }
    // A day's work in a second.
    let mut last = String::new();
    for code in 2..=4 {
        registry.publish(code).await;
        registry.everywhere(code).await;
        let first = kill(&registry, Level::Stop, json!({ "app": APP })).await;
        last = kill(&registry, Level::Block, json!({ "app": APP })).await;
        lift(&registry, &first).await;
        if code < 4 {
            lift(&registry, &last).await;
        }
    }
    let (head, state) = (registry.head().await, registry.state().await);
    for (host, _) in &mut hosts {
        host.caught_up(&registry).await;
        // The head names the state that the kill stands in.
        let device = host.device.clone();
        until("the kill", || !device.launches()).await;
        until("the newest state", || {
            host.device.orders().fleet().app(&state.app_id).unwrap().document() == &state
        })
        .await;
        let orders = host.device.orders();
        let fleet = orders.fleet();
        assert_eq!(fleet.head().unwrap().document(), &head);
        assert!(fleet.alarms().is_empty());
        let active: Vec<String> = fleet.kills().active().map(|(id, _)| id.to_string()).collect();
        assert_eq!(active, [last.clone()]);
    }
    lift(&registry, &last).await;
    for (host, _) in &mut hosts {
        host.runs(4).await;
        let device = host.device.clone();
        until("the lift", || device.launches()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_breaks_goes_on_where_it_was() {
    let registry = crate::following::with_baseline().await;
    let package = Package { filler: 300 << 10, ..Package::new(2) };
    registry.upload(&registry.admin, APP, package.signed()).await.ok();
    let path = format!("/v1/packages/{}", mpkg_package::Hash::of(&package.unsigned()));
    let (broken, whole) = (Arc::new(AtomicBool::new(true)), path.clone());
    let breaking = broken.clone();
    let proxy = Proxy::new(
        &registry.base,
        move |path, body| match path {
            // No patch: the way is long.
            path if path.contains("/delta/") => Answer::Status(404),
            path if path == whole && breaking.swap(false, Ordering::SeqCst) => Answer::Cut(body.len() / 2),
            _ => Answer::Honest,
        },
        |_| Fault::Pass,
    )
    .await;
    let mut host = Host::at(&registry, &proxy.base, "unit").await;
    host.runs(1).await;
    registry.everywhere(2).await;
    host.runs(2).await;
    assert!(!broken.load(Ordering::SeqCst));
    assert_eq!(host.device.held().packages[1].1, package.unsigned());
}
