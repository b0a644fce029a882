//! One memory budget per store, over all its memories and tables and the host's copies of its messages.
//!
//! wasmtime's own `StoreLimits` caps each linear memory and each table by itself, so a component made of N modules
//! would get N times the cap. This budget adds them up.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

use crate::memory::Seat;
use crate::policy::PAGE;

/// Memories grow in whole pages. What is beyond such a bound by less than this is not the host's yet: or a message, which
/// come and go by the million, would cross it every time.
const SLACK: u64 = PAGE / 2;

/// The longest message, in bytes, that is charged without an exchange between threads.
const SHORT: usize = 1024;

/// Bytes a table element is charged at: the size of a reference on a 64-bit host.
pub(crate) const TABLE_ELEMENT: u64 = 8;

/// The most core instances, memories and tables of one component. A component model toolchain makes a handful.
pub(crate) const ENTITIES: usize = 64;

/// What is charged, shared with whoever holds host-side buffers for the guest.
#[derive(Debug)]
pub(crate) struct Ledger {
    cap: u64,
    used: AtomicU64,
    /// The message of the call that runs, where it is a short one: one call runs at a time, and is short enough for an
    /// exchange between threads to show.
    call: AtomicU64,
    peak: AtomicU64,
    /// The demand that was refused last; 0 when none was since [`Ledger::forgive`].
    refused: AtomicU64,
    seat: Arc<Seat>,
    /// How much of what is used the seat stands for. The rest is the host's too, in whole pages.
    covered: AtomicU64,
    /// Set when it was the host that had no room.
    host_full: AtomicBool,
    /// Demands that were refused: by the cap, and by the host.
    refusals: [AtomicU64; 2],
}

impl Ledger {
    /// A ledger whose seat stands for the first `covered` bytes.
    pub(crate) fn new(cap: u64, seat: Arc<Seat>, covered: u64) -> Arc<Self> {
        Arc::new(Self {
            cap,
            used: AtomicU64::new(0),
            call: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            seat,
            covered: AtomicU64::new(covered),
            host_full: AtomicBool::new(false),
            refusals: Default::default(),
        })
    }

    /// A ledger on a host that has room for everything.
    #[cfg(test)]
    pub(crate) fn alone(cap: u64) -> Arc<Self> {
        let host = crate::memory::HostMemory::new(u64::MAX);
        Self::new(cap, host.seat(0).unwrap_or_else(|| unreachable!("nothing always fits")), 0)
    }

    pub(crate) fn cap(&self) -> u64 {
        self.cap
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed) + self.call.load(Ordering::Relaxed)
    }

    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// From now on the seat stands for what is used now, as was measured.
    pub(crate) fn covers_all(&self) {
        self.covered.store(self.used.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Bytes in all that were wanted when a demand was refused last, if any was.
    pub(crate) fn refused(&self) -> Option<u64> {
        Some(self.refused.load(Ordering::Relaxed)).filter(|&bytes| bytes != 0)
    }

    /// True if the last refusal was for want of memory in the host, not for the app's own cap.
    pub(crate) fn host_was_full(&self) -> bool {
        self.host_full.load(Ordering::Relaxed)
    }

    /// How many demands were refused, by the cap or by the host.
    pub(crate) fn refusals(&self, by_host: bool) -> u64 {
        let [cap, host] = &self.refusals;
        if by_host { host } else { cap }.load(Ordering::Relaxed)
    }

    fn count_refusal(&self, wanted: u64, host_full: bool) -> Refused {
        let [cap, host] = &self.refusals;
        if host_full { host } else { cap }.fetch_add(1, Ordering::Relaxed);
        Refused { wanted, host_full }
    }

    #[inline]
    pub(crate) fn forgive(&self) {
        if self.refused.load(Ordering::Relaxed) != 0 {
            self.refused.store(0, Ordering::Relaxed);
        }
    }

    fn refuse(&self, wanted: u64, host_full: bool) {
        self.host_full.store(host_full, Ordering::Relaxed);
        self.refused.store(wanted, Ordering::Relaxed);
    }

    /// What it costs the host that `low` bytes in use become `high`, whatever else is charged at the same time.
    fn cost(&self, low: u64, high: u64) -> u64 {
        // Looked at once: it may be lowered meanwhile.
        let free = self.covered.load(Ordering::Relaxed).saturating_add(SLACK);
        let of_host = |used: u64| used.saturating_sub(free).div_ceil(PAGE).saturating_mul(PAGE);
        of_host(high).saturating_sub(of_host(low))
    }

    /// What cannot be charged is remembered as what the guest was refused.
    fn charge(&self, bytes: u64) -> Option<u64> {
        self.charge_aside(bytes).inspect_err(|refused| self.refuse(refused.wanted, refused.host_full)).ok()
    }

    fn charge_aside(&self, bytes: u64) -> Result<u64, Refused> {
        let call = self.call.load(Ordering::Relaxed);
        let charged = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|total| total.checked_add(call).is_some_and(|all| all <= self.cap))
        });
        let before = match charged {
            Ok(before) => before,
            Err(used) => {
                let wanted = used.saturating_add(call).saturating_add(bytes);
                return Err(self.count_refusal(wanted, false));
            }
        };
        let after = before + bytes;
        let more = self.cost(before, after);
        if more > 0 && !self.seat.grow(more) {
            let now = self.used.fetch_sub(bytes, Ordering::Relaxed);
            let less = self.cost(now.saturating_sub(bytes), now);
            // Others may have changed it meanwhile; then the page that was crossed is theirs.
            self.seat.correct(more, less);
            return Err(self.count_refusal(after, true));
        }
        self.look_at_peak(after + call);
        Ok(bytes)
    }

    #[inline]
    fn look_at_peak(&self, used: u64) {
        if used > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(used, Ordering::Relaxed);
        }
    }

    fn refund(&self, bytes: u64) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        let less = self.cost(before.saturating_sub(bytes), before);
        if less > 0 {
            self.seat.shrink(less);
        }
    }

    /// Charges `bytes` of host memory for as long as the hold lives.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Option<Hold> {
        let bytes = self.charge(u64::try_from(bytes).ok()?)?;
        Some(Hold { ledger: self.clone(), bytes })
    }

    /// The same for what the guest did not ask for: a refusal is not held to be why it crashed.
    pub(crate) fn hold_aside(self: &Arc<Self>, bytes: usize) -> Option<Hold> {
        let bytes = self.charge_aside(u64::try_from(bytes).ok()?).ok()?;
        Some(Hold { ledger: self.clone(), bytes })
    }

    /// Charges the message of the one call that runs.
    ///
    /// A short one may be over the cap by its own length, if something else is charged by another thread in that moment.
    #[inline]
    pub(crate) fn hold_call(&self, bytes: usize) -> Option<HoldCall<'_>> {
        if bytes > SHORT {
            return self.hold_here(bytes).map(HoldCall::Long);
        }
        let bytes = u64::try_from(bytes).ok()?;
        let used = self.used.load(Ordering::Relaxed) + bytes;
        if used > self.cap {
            let refused = self.count_refusal(used, false);
            self.refuse(refused.wanted, refused.host_full);
            return None;
        }
        self.call.store(bytes, Ordering::Relaxed);
        self.look_at_peak(used);
        Some(HoldCall::Short(self))
    }

    /// The same for who knows that the ledger outlives it: a call is short enough for a counted reference to show.
    pub(crate) fn hold_here(&self, bytes: usize) -> Option<Hold<&Self>> {
        let bytes = self.charge(u64::try_from(bytes).ok()?)?;
        Some(Hold { ledger: self, bytes })
    }
}

struct Refused {
    wanted: u64,
    host_full: bool,
}

/// Host-side bytes charged to a guest; refunded on drop.
#[derive(Debug)]
pub(crate) struct Hold<L: Deref<Target = Ledger> = Arc<Ledger>> {
    ledger: L,
    bytes: u64,
}

impl Hold {
    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }

    /// A part of it, or what there is, to be refunded by itself.
    pub(crate) fn split(&mut self, bytes: usize) -> Self {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).min(self.bytes);
        self.bytes -= bytes;
        Self { ledger: self.ledger.clone(), bytes }
    }

    /// Charges or refunds the difference. False if there is no room: nothing has changed then.
    pub(crate) fn resize(&mut self, bytes: usize) -> bool {
        let Ok(bytes) = u64::try_from(bytes) else { return false };
        if bytes <= self.bytes {
            self.ledger.refund(self.bytes - bytes);
        } else if self.ledger.charge_aside(bytes - self.bytes).is_err() {
            return false;
        }
        self.bytes = bytes;
        true
    }
}

impl<L: Deref<Target = Ledger>> Drop for Hold<L> {
    fn drop(&mut self) {
        self.ledger.refund(self.bytes);
    }
}

/// The message of the call that runs, refunded on drop.
#[derive(Debug)]
pub(crate) enum HoldCall<'l> {
    Short(&'l Ledger),
    Long(#[expect(dead_code, reason = "refunds when it is dropped")] Hold<&'l Ledger>),
}

impl Drop for HoldCall<'_> {
    fn drop(&mut self) {
        match self {
            Self::Short(ledger) => ledger.call.store(0, Ordering::Relaxed),
            Self::Long(_) => {}
        }
    }
}

/// The limiter of one store.
#[derive(Debug)]
pub(crate) struct Budget {
    ledger: Arc<Ledger>,
    /// Charged by a growth that the engine has not confirmed. wasmtime reports a failed growth without its size,
    /// and always before the next growth begins.
    pending: u64,
}

impl Budget {
    pub(crate) fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger, pending: 0 }
    }

    fn grow(&mut self, bytes: u64) -> bool {
        let charge = self.ledger.charge(bytes);
        self.pending = charge.unwrap_or_default();
        charge.is_some()
    }

    fn refund_pending(&mut self) {
        self.ledger.refund(std::mem::take(&mut self.pending));
    }
}

impl ResourceLimiter for Budget {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow((desired as u64).saturating_sub(current as u64)))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.refund_pending();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let elements = (desired as u64).saturating_sub(current as u64);
        Ok(self.grow(elements.saturating_mul(TABLE_ELEMENT)))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // Where sizes have 32 bits wasmtime also reports a growth past them, which was never asked for here: a guest
        // could have each growth that succeeded refunded in this way.
        if cfg!(target_pointer_width = "64") {
            self.refund_pending();
        }
        Ok(())
    }

    fn instances(&self) -> usize {
        ENTITIES
    }

    fn tables(&self) -> usize {
        ENTITIES
    }

    fn memories(&self) -> usize {
        ENTITIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::memory::HostMemory;

    const PAGE: usize = 65536;

    #[test]
    fn what_an_app_takes_after_its_start_is_the_hosts_too() {
        let memory = HostMemory::new(3 * PAGE as u64);
        let ledger = Ledger::new(100 * PAGE as u64, memory.seat(PAGE as u64).unwrap(), 10 * PAGE as u64);
        let mut budget = Budget::new(ledger.clone());
        assert!(budget.memory_growing(0, 10 * PAGE, None).unwrap(), "this much is covered by the estimate");
        assert_eq!(memory.used(), PAGE as u64);
        assert!(budget.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(!budget.memory_growing(0, PAGE, None).unwrap());
        assert!(ledger.host_was_full());
        budget.memory_grow_failed(wasmtime::Error::msg("nothing is pending")).unwrap();
        assert_eq!(memory.used(), 3 * PAGE as u64);
        drop((budget, ledger));
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn small_buffers_are_the_hosts_too_in_whole_pages() {
        let memory = HostMemory::new(2 * PAGE as u64);
        let ledger = Ledger::new(100 * PAGE as u64, memory.seat(0).unwrap(), 0);
        let mut small: Vec<_> = (0..PAGE / 2048).map(|_| ledger.hold(1024).unwrap()).collect();
        assert_eq!(memory.used(), 0);
        small.extend((0..2 * PAGE / 1024).map(|_| ledger.hold(1024).unwrap()));
        assert_eq!(memory.used(), 2 * PAGE as u64);
        assert!(ledger.hold(1).is_none() && ledger.host_was_full());
        drop(small);
        assert_eq!((ledger.used(), memory.used()), (0, 0));
    }

    #[test]
    fn counts_memories_tables_and_buffers_together() {
        let ledger = Ledger::alone(3 * PAGE as u64);
        let mut budget = Budget::new(ledger.clone());
        assert!(budget.memory_growing(0, PAGE, None).unwrap());
        assert!(budget.table_growing(0, PAGE / 8, None).unwrap());
        let hold = ledger.hold(PAGE).unwrap();
        assert!(!budget.memory_growing(0, PAGE, None).unwrap(), "a second memory finds the budget used up");
        assert_eq!(ledger.refused(), Some(4 * PAGE as u64));
        assert!(ledger.hold(1).is_none());
        drop(hold);
        assert!(budget.memory_growing(0, PAGE, None).unwrap());
        assert_eq!(ledger.peak(), 3 * PAGE as u64);
    }

    #[test]
    fn a_calls_message_counts_while_it_lasts_short_or_long() {
        for bytes in [6, SHORT, SHORT + 1, PAGE] {
            let ledger = Ledger::alone(2 * PAGE as u64);
            let mut budget = Budget::new(ledger.clone());
            assert!(budget.memory_growing(0, PAGE, None).unwrap());
            let hold = ledger.hold_call(bytes).unwrap();
            let used = (PAGE + bytes) as u64;
            assert_eq!((ledger.used(), ledger.peak()), (used, used));
            assert!(!budget.memory_growing(0, PAGE - bytes + 1, None).unwrap(), "{bytes}");
            assert_eq!(ledger.refused(), Some(2 * PAGE as u64 + 1));
            assert!(budget.memory_growing(0, PAGE - bytes, None).unwrap(), "{bytes}");
            drop(hold);
            assert_eq!(ledger.used(), (2 * PAGE - bytes) as u64);
            assert!(budget.memory_growing(0, bytes, None).unwrap());
            assert!(ledger.hold_call(1).is_none() && ledger.hold_call(SHORT + 1).is_none());
        }
    }

    #[test]
    fn a_failed_growth_is_refunded_once() {
        let ledger = Ledger::alone(2 * PAGE as u64);
        let mut budget = Budget::new(ledger.clone());
        assert!(budget.memory_growing(0, 2 * PAGE, None).unwrap());
        budget.memory_grow_failed(wasmtime::Error::msg("no address space")).unwrap();
        budget.memory_grow_failed(wasmtime::Error::msg("reported twice")).unwrap();
        assert_eq!(ledger.used(), 0);
    }

    proptest! {
        #[test]
        fn never_over_the_cap_and_never_leaks(
            cap in 0u64..1_000_000,
            steps in proptest::collection::vec((0usize..4, 0usize..200_000), 0..60),
        ) {
            let ledger = Ledger::alone(cap);
            let mut budget = Budget::new(ledger.clone());
            let mut holds = Vec::new();
            let mut kept = 0u64;
            for (kind, bytes) in steps {
                match kind {
                    0 => if budget.memory_growing(0, bytes, None).unwrap() { kept += bytes as u64 },
                    1 => if budget.memory_growing(0, bytes, None).unwrap() {
                        budget.memory_grow_failed(wasmtime::Error::msg("x")).unwrap();
                    },
                    2 => holds.extend(ledger.hold(bytes)),
                    _ => if let Some(hold) = holds.last_mut() {
                        let (before, used) = (hold.bytes, ledger.used());
                        let resized = hold.resize(bytes);
                        let now = if resized { bytes as u64 } else { before };
                        prop_assert_eq!((hold.bytes, ledger.used()), (now, used - before + now));
                    },
                }
                prop_assert!(ledger.used() <= cap);
            }
            drop(holds);
            prop_assert_eq!(ledger.used(), kept);
        }
    }
}
