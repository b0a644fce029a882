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

/// Bytes a table element is charged at: the size of a reference on a 64-bit host.
pub(crate) const TABLE_ELEMENT: u64 = 8;

/// The most core instances, memories and tables of one component. A component model toolchain makes a handful.
pub(crate) const ENTITIES: usize = 64;

/// What is charged, shared with whoever holds host-side buffers for the guest.
#[derive(Debug)]
pub(crate) struct Ledger {
    cap: u64,
    used: AtomicU64,
    peak: AtomicU64,
    /// The demand that was refused last; 0 when none was since [`Ledger::forgive`].
    refused: AtomicU64,
    seat: Arc<Seat>,
    /// Set once the app has started: until then its seat is an estimate that covers all it charges.
    seated: AtomicBool,
    /// Set when it was the host that had no room.
    host_full: AtomicBool,
}

impl Ledger {
    pub(crate) fn new(cap: u64, seat: Arc<Seat>) -> Arc<Self> {
        Arc::new(Self {
            cap,
            used: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            seat,
            seated: AtomicBool::new(false),
            host_full: AtomicBool::new(false),
        })
    }

    /// A ledger on a host that has room for everything.
    #[cfg(test)]
    pub(crate) fn alone(cap: u64) -> Arc<Self> {
        let host = crate::memory::HostMemory::new(u64::MAX);
        Self::new(cap, host.seat(0).unwrap_or_else(|| unreachable!("nothing always fits")))
    }

    pub(crate) fn cap(&self) -> u64 {
        self.cap
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// From now on what is charged is charged to the host as well.
    pub(crate) fn take_seat(&self) {
        self.seated.store(true, Ordering::Relaxed);
    }

    /// Bytes in all that were wanted when a demand was refused last, if any was.
    pub(crate) fn refused(&self) -> Option<u64> {
        Some(self.refused.load(Ordering::Relaxed)).filter(|&bytes| bytes != 0)
    }

    /// True if the last refusal was for want of memory in the host, not for the app's own cap.
    pub(crate) fn host_was_full(&self) -> bool {
        self.host_full.load(Ordering::Relaxed)
    }

    pub(crate) fn forgive(&self) {
        if self.refused.load(Ordering::Relaxed) != 0 {
            self.refused.store(0, Ordering::Relaxed);
        }
    }

    fn refuse(&self, wanted: u64, host_full: bool) {
        self.host_full.store(host_full, Ordering::Relaxed);
        self.refused.store(wanted, Ordering::Relaxed);
    }

    /// What cannot be charged is remembered as what the guest was refused.
    fn charge(&self, bytes: u64) -> Option<Charge> {
        self.charge_aside(bytes).inspect_err(|refused| self.refuse(refused.wanted, refused.host_full)).ok()
    }

    fn charge_aside(&self, bytes: u64) -> Result<Charge, Refused> {
        let charged = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|&total| total <= self.cap)
        });
        let before = match charged {
            Ok(before) => before,
            Err(used) => {
                return Err(Refused { wanted: used.saturating_add(bytes), host_full: false });
            }
        };
        // Small messages come and go by the million; the host counts in pages.
        let on_host = bytes >= PAGE && self.seated.load(Ordering::Relaxed);
        if on_host && !self.seat.grow(bytes) {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Refused { wanted: before.saturating_add(bytes), host_full: true });
        }
        if before + bytes > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(before + bytes, Ordering::Relaxed);
        }
        Ok(Charge { bytes, on_host: if on_host { bytes } else { 0 } })
    }

    fn refund(&self, charge: Charge) {
        self.used.fetch_sub(charge.bytes, Ordering::Relaxed);
        if charge.on_host > 0 {
            self.seat.shrink(charge.on_host);
        }
    }

    /// Charges `bytes` of host memory for as long as the hold lives.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Option<Hold> {
        let charge = self.charge(u64::try_from(bytes).ok()?)?;
        Some(Hold { ledger: self.clone(), charge })
    }

    /// The same for what the guest did not ask for: a refusal is not held to be why it crashed.
    pub(crate) fn hold_aside(self: &Arc<Self>, bytes: usize) -> Option<Hold> {
        let charge = self.charge_aside(u64::try_from(bytes).ok()?).ok()?;
        Some(Hold { ledger: self.clone(), charge })
    }

    /// The same for who knows that the ledger outlives it: a call is short enough for a counted reference to show.
    pub(crate) fn hold_here(&self, bytes: usize) -> Option<Hold<&Self>> {
        let charge = self.charge(u64::try_from(bytes).ok()?)?;
        Some(Hold { ledger: self, charge })
    }
}

/// Bytes that were charged, and how many of them to the host too.
#[derive(Debug, Clone, Copy, Default)]
struct Charge {
    bytes: u64,
    on_host: u64,
}

struct Refused {
    wanted: u64,
    host_full: bool,
}

/// Host-side bytes charged to a guest; refunded on drop.
#[derive(Debug)]
pub(crate) struct Hold<L: Deref<Target = Ledger> = Arc<Ledger>> {
    ledger: L,
    charge: Charge,
}

impl Hold {
    /// Charges or refunds the difference. False if there is no room: nothing has changed then.
    pub(crate) fn resize(&mut self, bytes: usize) -> bool {
        let Ok(bytes) = u64::try_from(bytes) else { return false };
        let held = &mut self.charge;
        if bytes >= held.bytes {
            let Ok(more) = self.ledger.charge_aside(bytes - held.bytes) else { return false };
            held.bytes = bytes;
            held.on_host += more.on_host;
        } else {
            let less = held.bytes - bytes;
            let less = Charge { bytes: less, on_host: less.min(held.on_host) };
            held.bytes = bytes;
            held.on_host -= less.on_host;
            self.ledger.refund(less);
        }
        true
    }
}

impl<L: Deref<Target = Ledger>> Drop for Hold<L> {
    fn drop(&mut self) {
        self.ledger.refund(self.charge);
    }
}

/// The limiter of one store.
#[derive(Debug)]
pub(crate) struct Budget {
    ledger: Arc<Ledger>,
    /// Charged by a growth that the engine has not confirmed. wasmtime reports a failed growth without its size,
    /// and always before the next growth begins.
    pending: Charge,
}

impl Budget {
    pub(crate) fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger, pending: Charge::default() }
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
        self.refund_pending();
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
        let ledger = Ledger::new(100 * PAGE as u64, memory.seat(PAGE as u64).unwrap());
        let mut budget = Budget::new(ledger.clone());
        assert!(budget.memory_growing(0, 10 * PAGE, None).unwrap(), "starting is covered by the estimate");
        ledger.take_seat();
        assert!(budget.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(!budget.memory_growing(0, PAGE, None).unwrap());
        assert!(ledger.host_was_full());
        budget.memory_grow_failed(wasmtime::Error::msg("nothing is pending")).unwrap();
        assert_eq!(memory.used(), 3 * PAGE as u64);
        drop((budget, ledger));
        assert_eq!(memory.used(), 0);
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
                        let (before, used) = (hold.charge.bytes, ledger.used());
                        let resized = hold.resize(bytes);
                        let now = if resized { bytes as u64 } else { before };
                        prop_assert_eq!((hold.charge.bytes, ledger.used()), (now, used - before + now));
                    },
                }
                prop_assert!(ledger.used() <= cap);
            }
            drop(holds);
            prop_assert_eq!(ledger.used(), kept);
        }
    }
}
