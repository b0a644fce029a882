//! `mpkg`: build, sign, verify, run and publish Mini Apps.
//!
//! A verb is made of three parts: its arguments (`cli`), what it does (`ops`), and a thin layer between them that
//! prints the result (`commands`).

mod cli;
mod commands;
mod draw;
mod error;
mod exit;
mod ops;
mod output;
mod progress;
mod rules;
mod snippet;
mod startup;
mod style;
mod text;

use std::process::ExitCode;

fn main() -> ExitCode {
    startup::run(std::env::args_os().collect()).into()
}
