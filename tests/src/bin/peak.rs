//! `peak COMMAND ARGUMENT…`: runs a command and prints the most memory that it had at once, in bytes, as the last line.
//!
//! A program of its own, since Linux counts what a process had before it became the command: started from a test that
//! holds a package in memory, every command would seem to need as much.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use nix::sys::resource::{UsageWho, getrusage};

    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else { return ExitCode::from(2) };
    let Ok(status) = std::process::Command::new(program).args(arguments).status() else {
        return ExitCode::from(127);
    };
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return ExitCode::from(126) };
    // Linux counts in KiB.
    println!("\n{}", usage.max_rss() * 1024);
    ExitCode::from(u8::try_from(status.code().unwrap_or(125)).unwrap_or(125))
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("only Linux is measured");
    ExitCode::FAILURE
}
