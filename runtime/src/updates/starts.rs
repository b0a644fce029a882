//! How launches come out, and what is recorded of it.
//!
//! A start is abnormal if the app failed by itself, or its host's process died, before it was up: launched without a trap,
//! and then either a call answered or [`Policy::beacon`](crate::Policy::beacon) lived. A release that never came up is
//! recorded before its code runs; failures of others are recorded afterwards, so that a launch of what is known to work
//! waits for no disk.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::tally::Tally;
use crate::data::{AppRelease, DataError, Installed, Judged, Records, Verdict};
use crate::error::LaunchError;
use crate::host::Inner;
use crate::life::Life;
use crate::session::Session;
use crate::stop::StopReason;

/// The release that a launch runs.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) release: Arc<AppRelease>,
    /// It matters how it comes out: somebody watches over the host, or there is something to go back to.
    pub(super) attended: bool,
    /// A good start is to be recorded.
    pub(super) watched: bool,
    /// It has never come up: recorded before it runs.
    pub(super) ahead: bool,
}

/// One launch, as far as it matters how it comes out.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    chosen: OnceLock<Chosen>,
    /// When the app had handled that it was launched.
    launched: OnceLock<Instant>,
    answered: AtomicBool,
    /// That it came up is recorded.
    told: AtomicBool,
    /// It was recorded before it ran, and not how it came out.
    open: AtomicBool,
    /// These two belong to the tally, and change under its lock.
    pub(super) judged: AtomicBool,
    pub(super) over: AtomicBool,
}

impl Trial {
    pub(crate) fn chosen(&self) -> Option<&Chosen> {
        self.chosen.get()
    }

    #[inline]
    pub(crate) fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) fn choose(&self, chosen: Chosen) {
        // Once for each launch.
        let _ = self.chosen.set(chosen);
    }
}

/// How a launch came out, to be recorded.
enum Outcome {
    CameUp,
    Failed(String),
    Ended,
}

struct Event {
    release: Arc<AppRelease>,
    outcome: Outcome,
}

#[derive(Default)]
struct Queue {
    events: Vec<Event>,
    /// Launches that were recorded before they ran and are not up yet, by package.
    under_way: HashMap<String, usize>,
}

/// The starts of a host.
#[derive(Default)]
pub(crate) struct Starts {
    pub(super) tally: Tally,
    host: OnceLock<Weak<Inner>>,
    beacon: OnceLock<Duration>,
    queue: Mutex<Queue>,
    /// There are events that are not recorded.
    dirty: AtomicBool,
    /// Held while events are recorded.
    recording: Mutex<()>,
}

impl Starts {
    /// Must be called before anything is launched. `interrupted` are releases that the last host was starting when it died.
    pub(crate) fn bind(&self, host: &Arc<Inner>, interrupted: &[Installed]) {
        let _ = self.host.set(Arc::downgrade(host));
        let _ = self.beacon.set(host.policy.beacon);
        for it in interrupted.iter().filter_map(|installed| installed.release().ok()) {
            tracing::warn!(app = %it.app, release = %it.release, "the last host ended while this was starting");
            self.tally.count(&Arc::new(it), |counters| counters.launches += 1);
        }
    }

    /// Whether a launch has come up.
    pub(super) fn is_up(&self, life: &Life) -> bool {
        let beacon = self.beacon.get().copied().unwrap_or_default();
        let trial = &life.trial;
        trial
            .launched
            .get()
            .is_some_and(|at| trial.answered.load(Ordering::Relaxed) || at.elapsed() >= beacon)
    }

    /// A call of the app was answered.
    #[cold]
    pub(crate) fn answered(&self, life: &Life) {
        life.trial.answered.store(true, Ordering::Relaxed);
        self.look(life);
    }

    /// The app has handled that it was launched.
    pub(crate) fn launched(&self, life: &Arc<Life>, runtime: &Handle) {
        let _ = life.trial.launched.set(Instant::now());
        self.look(life);
        let watched = life.trial.chosen().is_some_and(|chosen| chosen.watched);
        if watched && !life.trial.told.load(Ordering::Relaxed) {
            let (beacon, life) = (self.beacon.get().copied().unwrap_or_default(), life.clone());
            runtime.spawn(async move {
                tokio::select! {
                    biased;
                    () = life.switch.gone.cancelled() => {}
                    () = tokio::time::sleep(beacon) => life.look(),
                }
            });
        }
    }

    /// Follows what a new instance does.
    pub(crate) fn follow(&self, session: &Arc<Session>) {
        self.tally.follow(session);
    }

    /// Nothing of an instance is left.
    pub(crate) fn over(&self, life: &Life) {
        self.tally.over(life);
    }

    /// Records that a launch has come up, if that is news.
    pub(crate) fn look(&self, life: &Life) {
        let Some(chosen) = life.trial.chosen() else { return };
        if chosen.watched && self.is_up(life) && !life.trial.told.swap(true, Ordering::AcqRel) {
            self.push(life, chosen, Outcome::CameUp);
        }
    }

    /// A life has ended.
    pub(crate) fn stopped(&self, life: &Life, reason: &StopReason) {
        let Some(chosen) = life.trial.chosen() else { return };
        let (up, failed) = (self.is_up(life), reason.is_failure());
        let killed = matches!(reason, StopReason::SwitchedOff { .. });
        self.tally.stopped(life, &chosen.release, up, failed, killed);
        if up {
            self.look(life);
        } else if failed && chosen.attended {
            self.push(life, chosen, Outcome::Failed(reason.to_string()));
        } else if life.trial.open.load(Ordering::Acquire) {
            self.push(life, chosen, Outcome::Ended);
        }
    }

    /// A launch that failed before the app's code ran: where that is the release's own fault it counts as a failed start.
    pub(crate) fn refused(&self, life: &Life, error: &LaunchError) {
        let Some(chosen) = life.trial.chosen() else { return };
        match error {
            LaunchError::Unusable { .. }
            | LaunchError::NotProvided { .. }
            | LaunchError::OverPolicy { .. } => {
                self.tally.count(&chosen.release, |counters| counters.launches += 1);
                if chosen.attended {
                    self.push(life, chosen, Outcome::Failed(error.to_string()));
                }
            }
            _ => {}
        }
    }

    fn push(&self, life: &Life, chosen: &Chosen, outcome: Outcome) {
        let Some(host) = self.host.get().and_then(Weak::upgrade) else { return };
        {
            let mut queue = lock(&self.queue);
            if life.trial.open.swap(false, Ordering::AcqRel) {
                let digest = chosen.release.release.package.sha256.to_string();
                if let Some(under_way) = queue.under_way.get_mut(&digest) {
                    *under_way = under_way.saturating_sub(1);
                }
            }
            queue.events.push(Event { release: chosen.release.clone(), outcome });
            self.dirty.store(true, Ordering::Release);
        }
        let runtime = host.runtime.clone();
        runtime.spawn_blocking(move || host.living.starts.record(&host));
    }

    /// Whether something has happened that a launch has to know and is not recorded.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }

    /// Records how launches came out; when it returns, all are that came out before. Waits for the disk.
    pub(crate) fn record(&self, host: &Inner) {
        let _recording = lock(&self.recording);
        loop {
            let events = {
                let mut queue = lock(&self.queue);
                if queue.events.is_empty() {
                    self.dirty.store(false, Ordering::Release);
                    return;
                }
                std::mem::take(&mut queue.events)
            };
            for event in events {
                self.record_one(host, &event);
            }
        }
    }

    fn record_one(&self, host: &Inner, event: &Event) {
        let app_id = event.release.app.as_str();
        let digest = event.release.release.package.sha256.to_string();
        let recorded = host.data.change_if(|records| {
            // Removed meanwhile.
            if records.held(app_id, &digest)?.is_none() {
                return Ok(None);
            }
            let current = records.installed(app_id)?.map(|app| app.digest);
            let under_way = lock(&self.queue).under_way.get(&digest).is_some_and(|&n| n > 0);
            records.change_boots(app_id, |boots| {
                match &event.outcome {
                    Outcome::CameUp => boots.came_up(&digest, current.as_deref()),
                    Outcome::Failed(why) => boots.failed(&digest, why),
                    Outcome::Ended => boots.ended(&digest),
                }
                if under_way && !boots.is_good(&digest) {
                    boots.began(&digest);
                }
            })?;
            judge(host, records, app_id).map(Some)
        });
        if matches!(event.outcome, Outcome::CameUp) {
            tracing::debug!(app = app_id, step = "beacon", "updates");
        }
        self.tell(recorded.map(Option::flatten));
    }

    /// Decides about an app whose release has failed as often as it may. Waits for the disk.
    pub(super) fn settle(&self, host: &Inner, app_id: &str) -> Result<(), DataError> {
        let here = host.data.on_hand(app_id)?;
        let due = |current: &crate::data::Current| {
            here.as_ref().is_some_and(|here| here.boots.is_due(&current.installed.digest))
        };
        if here.as_ref().and_then(|here| here.current.as_ref()).is_some_and(due) {
            let judged = host.data.change_if(|records| judge(host, records, app_id))?;
            self.tell(Ok(judged));
        }
        Ok(())
    }

    /// Counts and logs what was decided.
    fn tell(&self, judged: Result<Option<Judged>, DataError>) {
        match judged {
            Ok(None) => {}
            Ok(Some(Judged { about, verdict, newly })) => {
                let (app, release_seq) = (&about.app_id, about.release_seq);
                match verdict {
                    Verdict::Back(to) => {
                        tracing::warn!(
                            app,
                            release_seq,
                            to,
                            "a release failed to start too often; going back"
                        );
                    }
                    Verdict::Quarantine | Verdict::Stay => {
                        tracing::error!(app, release_seq, "an app failed to start too often; it is given up");
                    }
                }
                if let Ok(it) = about.release()
                    && newly
                {
                    self.tally.count(&Arc::new(it), |counters| counters.crash_loops += 1);
                }
            }
            Err(error) => tracing::error!(%error, "how a launch came out could not be recorded"),
        }
    }

    /// Guest code is about to run: recorded first where the release has never come up.
    pub(crate) async fn begin(&self, host: &Arc<Inner>, life: &Life) -> Result<(), LaunchError> {
        let Some(chosen) = life.trial.chosen().filter(|chosen| chosen.ahead) else { return Ok(()) };
        let it = chosen.release.clone();
        let digest = it.release.package.sha256.to_string();
        {
            let mut queue = lock(&self.queue);
            *queue.under_way.entry(digest.clone()).or_default() += 1;
            life.trial.open.store(true, Ordering::Release);
        }
        // Who ended it before that has seen nothing to take back.
        if life.switch.reason().is_some() && life.trial.open.load(Ordering::Acquire) {
            self.push(life, chosen, Outcome::Ended);
        }
        let host = host.clone();
        let recorded = tokio::task::spawn_blocking(move || {
            host.data.change_if(|records| {
                // Unless it was killed before its turn to be written came: nobody would take the record back.
                let queue = lock(&host.living.starts.queue);
                let under_way = queue.under_way.get(&digest).is_some_and(|&n| n > 0);
                drop(queue);
                if !under_way || records.held(it.app.as_str(), &digest)?.is_none() {
                    return Ok(None);
                }
                records.change_boots(it.app.as_str(), |boots| boots.began(&digest)).map(Some)
            })
        });
        recorded.await.map_err(|_| LaunchError::Interrupted)??;
        tracing::debug!(app = life.app_id, step = "begun", "updates");
        Ok(())
    }

    /// Everything counted since the host was built.
    pub(super) fn counted(&self) -> Vec<super::Counted> {
        self.tally.counted(|life| self.is_up(life))
    }
}

/// Decides about an app, if a decision is due.
fn judge(host: &Inner, records: &Records<'_>, app_id: &str) -> Result<Option<Judged>, DataError> {
    let may_run =
        |it: &AppRelease| host.orders.allow(it) && host.tiers.can_run(&it.release.package.sha256.to_string());
    records.judge(app_id, host.orders.any(), may_run)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
