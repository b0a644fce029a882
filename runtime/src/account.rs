//! What may still be used of something that is earned over time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Nanoseconds that may still be used, kept by one thread at a time.
#[derive(Debug)]
pub(crate) struct Account {
    saved: AtomicI64,
    /// The most that is saved.
    pub(crate) full: i64,
}

impl Account {
    pub(crate) fn full(of: Duration) -> Self {
        let full = signed(nanos(of));
        Self { saved: AtomicI64::new(full), full }
    }

    #[cfg(test)]
    pub(crate) fn set(&self, nanos: i64) {
        self.saved.store(nanos, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn get(&self) -> i64 {
        self.saved.load(Ordering::Relaxed)
    }

    /// True if all that can be saved is.
    #[inline]
    pub(crate) fn earn(&self, nanos: i64) -> bool {
        let saved = self.get().saturating_add(nanos);
        self.saved.store(saved.min(self.full), Ordering::Relaxed);
        saved >= self.full
    }

    /// What is left after that; what is kept of it is no less than `least`.
    #[inline]
    pub(crate) fn spend(&self, nanos: i64, least: i64) -> i64 {
        let left = self.get().saturating_sub(nanos);
        self.saved.store(left.max(least), Ordering::Relaxed);
        left
    }
}

/// In nanoseconds, as far as they can be counted.
#[inline]
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn signed(nanos: u64) -> i64 {
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_saved_than_fits_and_no_less_owed_than_is_kept() {
        let account = Account::full(Duration::from_nanos(100));
        assert!(account.earn(1));
        assert_eq!(account.get(), 100);
        assert_eq!((account.spend(250, -100), account.get()), (-150, -100));
        assert!(!account.earn(199));
        assert_eq!(account.get(), 99);
        assert!(account.earn(1));
        assert_eq!((account.spend(i64::MAX, i64::MIN), account.get()), (100 - i64::MAX, 100 - i64::MAX));
        assert_eq!(account.spend(i64::MAX, 0), i64::MIN);
        assert_eq!(account.get(), 0);
    }
}
