//! The CPU time that an app's page has its host use: for messages that are read, looked at and answered.
//!
//! None of that is the guest's, whose [`Meter`](crate::meter::Meter) sees nothing of it. A page gets as much per second as
//! its app, and saves up as much; who uses more is made to wait.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use crate::limits::Limit;
use crate::meter::{BURST, polled, thread_cpu_time};
use crate::session::Session;

/// An account that several connections draw on at a time.
#[derive(Debug)]
pub(crate) struct PageTime {
    per_second: Duration,
    account: Mutex<Account>,
}

#[derive(Debug)]
struct Account {
    saved: Duration,
    owed: Duration,
    since: Instant,
}

impl PageTime {
    pub(crate) fn new(per_second: Duration) -> Self {
        let account = Account { saved: per_second * BURST, owed: Duration::ZERO, since: Instant::now() };
        Self { per_second, account: Mutex::new(account) }
    }

    pub(crate) fn charge(&self, took: Duration) {
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        let paid = took.min(account.saved);
        account.saved -= paid;
        account.owed += took - paid;
    }

    /// How long the page has to wait until it may have its host work again; `None` if it need not.
    fn debt(&self) -> Option<Duration> {
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // A share of nothing is a mistake in a policy; waiting for ever would hide it.
        let share = self.per_second.as_secs_f64().max(0.001);
        let earned = (now - account.since).min(Duration::from_secs(60 * 60)).mul_f64(share);
        account.since = now;
        let paid = earned.min(account.owed);
        account.owed -= paid;
        account.saved = (account.saved + earned - paid).min(self.per_second * BURST);
        (!account.owed.is_zero()).then(|| account.owed.div_f64(share))
    }
}

/// Does for a page what costs its host time, whenever the page may have some. `whose` is known once the page has said it;
/// what comes before is bounded otherwise.
pub(crate) async fn metered<'s, T>(
    whose: impl Fn() -> Option<&'s Session> + Unpin,
    work: impl Future<Output = T>,
) -> T {
    Metered { whose, work: pin!(work), wait: None }.await
}

struct Metered<'a, S, F> {
    whose: S,
    work: Pin<&'a mut F>,
    wait: Option<Pin<Box<Sleep>>>,
}

impl<'s, S: Fn() -> Option<&'s Session> + Unpin, F: Future> Future for Metered<'_, S, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        loop {
            if let Some(wait) = &mut this.wait {
                if wait.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                this.wait = None;
            }
            // Looked at again after a wait: others may have had that time.
            let Some(session) = (this.whose)() else { break };
            let Some(wait) = session.page_time.debt() else { break };
            session.metrics.hit(Limit::CpuPerSecond);
            this.wait = Some(Box::pin(tokio::time::sleep(wait)));
        }
        let (began, of_guests) = (cpu_time(), polled());
        let outcome = this.work.as_mut().poll(cx);
        if let Some(session) = (this.whose)() {
            // What a guest was called for in there is on its own account.
            let took = cpu_time().saturating_sub(began);
            session.page_time.charge(took.saturating_sub(polled().saturating_sub(of_guests)));
        }
        outcome
    }
}

/// This thread's, where the system tells; else real time, which is more on a busy machine.
fn cpu_time() -> Duration {
    thread_cpu_time().map_or_else(|| ORIGIN.elapsed(), Duration::from_nanos)
}

static ORIGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_used_up_what_was_saved_waits_for_as_long_as_it_takes_to_earn() {
        let time = PageTime::new(Duration::from_millis(500));
        time.charge(Duration::from_secs(2));
        assert_eq!(time.debt(), None, "as much as four seconds are worth");
        time.charge(Duration::from_millis(100));
        let wait = time.debt().unwrap();
        assert!(wait <= Duration::from_millis(200), "{wait:?}");
        assert!(wait > Duration::from_millis(100), "{wait:?}");
        time.account.lock().unwrap().since -= Duration::from_millis(200);
        assert_eq!(time.debt(), None);
    }

    #[test]
    fn savings_are_bounded() {
        let time = PageTime::new(Duration::from_millis(500));
        time.account.lock().unwrap().since -= Duration::from_secs(1000);
        assert_eq!(time.debt(), None);
        assert_eq!(time.account.lock().unwrap().saved, Duration::from_secs(2));
    }
}
