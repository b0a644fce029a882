//! A process with hosts in it: questions come as lines on standard input, answers go to standard output.

use std::io::{BufRead, Write};

use super::error::DemoError;
use super::group::Group;
use super::message::{Ask, Told};
use crate::error::{Failure, Outcome};

/// Threads that wait for the disk, and that verify.
const BLOCKING: usize = 4;

/// Answers until nobody asks any more.
pub(crate) fn work() -> Outcome {
    // One thread for a thousand hosts: the other processes have theirs.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(BLOCKING)
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("no threads: {error}")))?;
    let mut group = Group::default();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| DemoError::Process(format!("is not asked any more: {error}")))?;
        let ask: Ask = serde_json::from_str(&line)
            .map_err(|error| DemoError::Process(format!("does not understand: {error}")))?;
        let told = runtime.block_on(group.ask(ask)).unwrap_or_else(|error| Told::Failed(error.to_string()));
        tell(&told)?;
    }
    runtime.block_on(group.shutdown());
    Ok(())
}

fn tell(told: &Told) -> Outcome {
    let mut text = serde_json::to_string(told)
        .map_err(|error| Failure::internal(format!("an answer is not JSON: {error}")))?;
    text.push('\n');
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| DemoError::Process(format!("is not heard any more: {error}")).into())
}
