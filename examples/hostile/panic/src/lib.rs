//! Panics.

#[derive(Default)]
struct Panic {
    calls: u32,
}

#[mpkg_sdk::app(log_panics)]
impl Panic {
    #[method("ping")]
    fn ping(&mut self) -> &str {
        self.calls += 1;
        "pong"
    }

    /// The message is in the app's log before the trap.
    #[method("attack")]
    #[allow(clippy::panic, reason = "that is what it is for")]
    fn attack(&self) {
        panic!("after {} pings, on purpose", self.calls);
    }

    /// Panics in a notification, where nobody waits for an answer.
    #[on("lifecycle.shown")]
    fn shown(&self) {
        self.attack();
    }
}
