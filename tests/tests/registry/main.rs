//! A registry and people at terminals, as real processes: serve, log in, publish, roll out, kill, lift, go back, audit.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod drive;
mod people;
mod rollouts;
mod serving;
#[cfg(target_os = "linux")]
mod terminal;
