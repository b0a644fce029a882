//! Hosts that follow a registry: the real agent over the real protocol, with devices that only note what they are told.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod attacks;
#[path = "../../../registry/server/tests/common/mod.rs"]
mod common;
mod device;
mod faults;
mod following;
mod offline;
mod power;
mod proxy;
#[allow(dead_code, reason = "shared with the runtime's tests, which use all of it")]
#[path = "../../../runtime/tests/common/puppet.rs"]
mod puppet;
