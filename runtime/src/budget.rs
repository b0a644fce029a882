//! One memory budget per store, over all its memories and tables and the host's copies of its messages.
//!
//! wasmtime's own `StoreLimits` caps each linear memory and each table by itself, so a component made of N modules
//! would get N times the cap. This budget adds them up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

/// Bytes a table element is charged at: the size of a reference on a 64-bit host.
pub(crate) const TABLE_ELEMENT: u64 = 8;

/// The most core instances, memories and tables of one component. A component model toolchain makes a handful.
const ENTITIES: usize = 64;

/// What is charged, shared with whoever holds host-side buffers for the guest.
#[derive(Debug)]
pub(crate) struct Ledger {
    cap: u64,
    used: AtomicU64,
    peak: AtomicU64,
    /// The demand that was refused last; 0 when none was since [`Ledger::forgive`].
    refused: AtomicU64,
}

impl Ledger {
    pub(crate) fn new(cap: u64) -> Arc<Self> {
        Arc::new(Self { cap, used: AtomicU64::new(0), peak: AtomicU64::new(0), refused: AtomicU64::new(0) })
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

    /// Bytes in all that were wanted when a demand was refused last, if any was.
    pub(crate) fn refused(&self) -> Option<u64> {
        Some(self.refused.load(Ordering::Relaxed)).filter(|&bytes| bytes != 0)
    }

    pub(crate) fn forgive(&self) {
        self.refused.store(0, Ordering::Relaxed);
    }

    fn charge(&self, bytes: u64) -> bool {
        let charged = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|&total| total <= self.cap)
        });
        match charged {
            Ok(before) => {
                self.peak.fetch_max(before + bytes, Ordering::Relaxed);
                true
            }
            Err(used) => {
                self.refused.store(used.saturating_add(bytes), Ordering::Relaxed);
                false
            }
        }
    }

    fn refund(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Charges `bytes` of host memory for as long as the hold lives.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Option<Hold> {
        let bytes = u64::try_from(bytes).ok()?;
        self.charge(bytes).then(|| Hold { ledger: self.clone(), bytes })
    }
}

/// Host-side bytes charged to a guest; refunded on drop.
#[derive(Debug)]
pub(crate) struct Hold {
    ledger: Arc<Ledger>,
    bytes: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.ledger.refund(self.bytes);
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
        self.pending = 0;
        let granted = self.ledger.charge(bytes);
        if granted {
            self.pending = bytes;
        }
        granted
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

    const PAGE: usize = 65536;

    #[test]
    fn counts_memories_tables_and_buffers_together() {
        let ledger = Ledger::new(3 * PAGE as u64);
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
        let ledger = Ledger::new(2 * PAGE as u64);
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
            steps in proptest::collection::vec((0usize..3, 0usize..200_000), 0..60),
        ) {
            let ledger = Ledger::new(cap);
            let mut budget = Budget::new(ledger.clone());
            let mut holds = Vec::new();
            let mut kept = 0u64;
            for (kind, bytes) in steps {
                match kind {
                    0 => if budget.memory_growing(0, bytes, None).unwrap() { kept += bytes as u64 },
                    1 => if budget.memory_growing(0, bytes, None).unwrap() {
                        budget.memory_grow_failed(wasmtime::Error::msg("x")).unwrap();
                    },
                    _ => holds.extend(ledger.hold(bytes)),
                }
                prop_assert!(ledger.used() <= cap);
            }
            drop(holds);
            prop_assert_eq!(ledger.used(), kept);
        }
    }
}
