//! What happened with each release since the host was built, as telemetry counts it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mpkg_fleet::Counters;
use mpkg_manifest::AppId;

use super::device::Counted;
use crate::data::AppRelease;
use crate::life::Life;
use crate::session::Session;

/// Counters never fall: what an instance has done moves from the live ones to the ended ones under one lock.
#[derive(Default)]
pub(crate) struct Tally(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    ended: HashMap<AppId, BTreeMap<u64, (Arc<AppRelease>, Counters)>>,
    /// By the instance's id. Each has a session until its end.
    live: HashMap<u64, Arc<Session>>,
}

impl Counts {
    fn of(&mut self, it: &Arc<AppRelease>) -> &mut Counters {
        let releases = self.ended.entry(it.app.clone()).or_default();
        &mut releases.entry(it.release.release_seq).or_insert_with(|| (it.clone(), Counters::default())).1
    }
}

impl Tally {
    /// Counts something that happened.
    pub(super) fn count(&self, it: &Arc<AppRelease>, count: impl FnOnce(&mut Counters)) {
        count(self.lock().of(it));
    }

    /// Counts how an instance's life ended; `up` tells whether it had come up.
    pub(super) fn stopped(&self, life: &Life, it: &Arc<AppRelease>, up: bool, failed: bool, killed: bool) {
        let mut counts = self.lock();
        life.trial.judged.store(true, Ordering::Relaxed);
        let counters = counts.of(it);
        counters.launches += u64::from(up || failed);
        counters.beacons += u64::from(up);
        counters.crashes += u64::from(failed);
        counters.kills += u64::from(killed);
    }

    /// Follows what a new instance does.
    pub(super) fn follow(&self, session: &Arc<Session>) {
        let mut counts = self.lock();
        // It may have been killed and buried meanwhile.
        if !session.life.trial.over.load(Ordering::Relaxed) {
            counts.live.insert(session.life.id, session.clone());
        }
    }

    /// Nothing of an instance is left: what it did is kept.
    pub(super) fn over(&self, life: &Life) {
        let mut counts = self.lock();
        life.trial.over.store(true, Ordering::Relaxed);
        let Some(session) = counts.live.remove(&life.id) else { return };
        if let Some(chosen) = life.trial.chosen() {
            let counters = counts.of(&chosen.release);
            *counters = counters.plus(session.metrics.counters());
        }
    }

    /// Everything until now; `up` tells whether an instance that lives has come up.
    pub(super) fn counted(&self, up: impl Fn(&Life) -> bool) -> Vec<Counted> {
        let counts = self.lock();
        let mut all: BTreeMap<(AppId, u64), (Arc<AppRelease>, Counters)> = BTreeMap::new();
        for (app, releases) in &counts.ended {
            for (seq, counted) in releases {
                all.insert((app.clone(), *seq), counted.clone());
            }
        }
        for session in counts.live.values() {
            let life = &session.life;
            let Some(chosen) = life.trial.chosen() else { continue };
            let mut counters = session.metrics.counters();
            if !life.trial.judged.load(Ordering::Relaxed) && up(life) {
                (counters.launches, counters.beacons) = (1, 1);
            }
            let it = &chosen.release;
            let key = (it.app.clone(), it.release.release_seq);
            let sum = all.entry(key).or_insert_with(|| (it.clone(), Counters::default()));
            sum.1 = sum.1.plus(counters);
        }
        let counted = |(it, counters): (Arc<AppRelease>, Counters)| Counted {
            app: it.app.clone(),
            release_seq: it.release.release_seq,
            counters,
        };
        all.into_values().map(counted).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
