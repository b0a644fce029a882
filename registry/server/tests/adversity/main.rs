//! A registry among people who mean it harm, on machines that fail, with clocks that are wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod attacks;
mod clock;
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
mod faults;
