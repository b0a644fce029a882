//! The registry under load, each figure beside a baseline that was measured turn about with it: kills to ten thousand
//! listeners beside plain axum server-sent events, telemetry of ten thousand devices, uploads beside hashing and
//! writing.
//!
//! Server and listeners are processes of their own (this program, told its part by a variable), so that their memory
//! and processor time are theirs alone. `MPKG_BENCH_LISTENERS` and `MPKG_BENCH_DEVICES` make a quick run of it.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../../../registry/server/tests/common/mod.rs"]
mod common;
mod fanout;
mod listeners;
mod process;
mod servers;
mod telemetry;
mod upload;

use mpkg_tests::{bench, workspace};

/// A number of the environment.
fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() {
    let files = process::raise_files();
    match process::part().as_deref() {
        Some(servers::REGISTRY) => return servers::registry(),
        Some(servers::PLAIN) => return servers::plain(),
        Some(listeners::PART) => return listeners::listen(),
        _ => {}
    }
    let mut wanted = number("MPKG_BENCH_LISTENERS", 10_000);
    // The server has some files of its own.
    if wanted as u64 + 200 > files {
        wanted = usize::try_from(files.saturating_sub(200)).unwrap();
        println!("this machine lets a process open {files} files, so there are only {wanted} listeners");
    }
    let mut rows = Vec::new();
    let only = std::env::var("MPKG_BENCH_ONLY").ok();
    let runs = |part: &str| only.as_deref().is_none_or(|only| only == part);
    if runs("fanout") {
        rows.extend(fanout::measure(wanted));
    }
    if runs("telemetry") {
        rows.extend(telemetry::measure(number("MPKG_BENCH_DEVICES", 10_000)));
    }
    if runs("upload") {
        rows.extend(upload::measure());
    }
    print!("{}", bench::table(&rows));
    bench::record(&workspace::target().join("bench.json"), &rows).unwrap();
}
