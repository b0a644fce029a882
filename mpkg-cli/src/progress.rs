//! A spinner for work that takes long enough for somebody to wonder.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Printer;
use crate::text;

/// Shorter work shows nothing.
const PATIENCE: Duration = Duration::from_millis(500);

/// Work that goes on. Dropping it clears the line.
#[derive(Debug)]
pub(crate) struct Progress {
    printer: Printer,
    bar: ProgressBar,
    done: Option<Sender<()>>,
    waiter: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts to tell that `what` goes on, if somebody looks at a terminal half a second from now.
    pub(crate) fn start(printer: Printer, what: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        bar.set_message(text::one_line(what).into_owned());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
            bar.set_style(style);
        }
        if !printer.can_animate() {
            return Self { printer, bar, done: None, waiter: None };
        }
        let (done, wait) = channel::<()>();
        let shown = bar.clone();
        let waiter = std::thread::spawn(move || {
            if wait.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                shown.set_draw_target(ProgressDrawTarget::stderr());
                shown.enable_steady_tick(Duration::from_millis(100));
            }
        });
        Self { printer, bar, done: Some(done), waiter: Some(waiter) }
    }

    /// Tells which step is under way. Without a spinner and with `--verbose` it is printed as a line.
    pub(crate) fn step(&self, what: &str) {
        if self.printer.is_verbose() {
            self.bar.suspend(|| self.printer.note("", what));
        }
        self.bar.set_message(text::one_line(what).into_owned());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.done.take());
        if let Some(waiter) = self.waiter.take() {
            // It has nothing to report.
            _ = waiter.join();
        }
        self.bar.finish_and_clear();
    }
}
