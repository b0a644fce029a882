//! Documents: fetched where they are missing, taken in, kept, obeyed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mpkg_fleet::{AcceptError, Follow, Outcome, StreamEvent};
use mpkg_manifest::AppId;

use super::{Actor, Answer, Done, Taken};
use crate::updates::device::Device;
use crate::updates::event::{Event, Paper};
use crate::updates::fetch::{DOCUMENT, FetchError, Papers, Wanted, documents, some_of};
use crate::updates::vault::FLEET;

impl<D: Device> Actor<D> {
    pub(super) async fn streamed(&mut self, event: StreamEvent) {
        self.heard = Some(Instant::now());
        let follow = event.follow(self.position());
        let papers: Papers = match event {
            StreamEvent::Head { head, apps, .. } => {
                let wanted = apps.into_iter().filter(|streamed| self.wanted.contains(&streamed.app));
                let states =
                    wanted.map(|streamed| (Paper::State { app: streamed.app }, streamed.state.into_bytes()));
                std::iter::once((Paper::Head, head.into_bytes())).chain(states).collect()
            }
            StreamEvent::Stop { notice } => vec![(Paper::Stop, notice.into_bytes())],
            StreamEvent::Roots { .. } => {
                self.fetch(Wanted::Head { roots: true });
                return;
            }
            StreamEvent::Heartbeat { .. } => Papers::new(),
        };
        let taken = self.take_in(papers).await;
        if taken.roots && self.may_ask_for_roots() {
            self.fetch(Wanted::Head { roots: true });
        } else if matches!(follow, Follow::Fetch | Follow::ApplyAndFetch) {
            self.fetch(Wanted::Head { roots: false });
        } else {
            self.fetch_missing();
        }
        if taken.persist {
            self.settle().await;
        }
    }

    pub(super) async fn fetched(&mut self, wanted: Wanted, papers: Papers, error: Option<FetchError>) {
        self.fetching = false;
        if let Some(error) = error {
            self.trouble(&error);
        }
        if !papers.is_empty() {
            self.heard = Some(Instant::now());
        }
        let taken = self.take_in(papers).await;
        if let Some(roots) = self.fetch_again.take() {
            self.fetch(Wanted::Head { roots });
        } else if taken.roots && self.may_ask_for_roots() {
            self.fetch(Wanted::Head { roots: true });
        } else if matches!(wanted, Wanted::Head { .. }) {
            // Only after a head: a registry that never gives what its head names is not asked for ever.
            self.fetch_missing();
        }
        if !self.fetching {
            for waiting in self.waiting.drain(..) {
                let _ = waiting.send(());
            }
        }
        if taken.persist {
            self.settle().await;
        }
    }

    /// Newer roots may be what is missing. They are asked for now and again, and not at each document: one that nobody can
    /// judge must not keep this host busy.
    fn may_ask_for_roots(&mut self) -> bool {
        let recently = self.roots_asked.is_some_and(|asked| asked.elapsed() < self.settings.look_every);
        if !recently {
            self.roots_asked = Some(Instant::now());
        }
        !recently
    }

    /// Fetches news, now or after what is being fetched, and answers when they are taken in.
    pub(super) fn news(&mut self, waiting: Answer<()>) {
        if self.settings.registry.is_none() {
            let _ = waiting.send(());
            return;
        }
        // Who did not wait so long is not waited for.
        self.waiting.retain(|waiting| !waiting.is_closed());
        self.waiting.push(waiting);
        self.fetch(Wanted::Head { roots: false });
    }

    /// Fetches the states that the head names and that are not here.
    pub(super) fn fetch_missing(&mut self) {
        let missing = self.fleet.missing();
        let apps: Vec<AppId> =
            missing.into_iter().filter(|app| self.wanted.contains(*app)).cloned().collect();
        if !apps.is_empty() {
            self.fetch(Wanted::States(apps));
        }
    }

    fn fetch(&mut self, wanted: Wanted) {
        let Some(client) = self.settings.registry.clone() else { return };
        if self.fetching {
            let roots = wanted == (Wanted::Head { roots: true });
            self.fetch_again = Some(self.fetch_again.unwrap_or(false) || roots);
            return;
        }
        self.fetching = true;
        let wanted = match wanted {
            Wanted::Head { roots } => Wanted::Head { roots: roots || self.fleet.roots().is_none() },
            states @ Wanted::States(_) => states,
        };
        // Whoever waits for an answer does not wait for others as well.
        let wait = if self.waiting.is_empty() { some_of(self.settings.spread / 10) } else { Duration::ZERO };
        self.beside.spawn(async move {
            tokio::time::sleep(wait).await;
            let (papers, error) = documents(&client, &wanted, DOCUMENT).await;
            Done::Fetched { wanted, papers, error }
        });
    }

    /// Takes documents in: kills are obeyed at once, everything else once it is on the disk.
    pub(super) async fn take_in(&mut self, papers: Papers) -> Taken {
        let mut taken = Taken::default();
        if papers.is_empty() {
            return taken;
        }
        let mut next = (*self.fleet).clone();
        for (paper, bytes) in papers {
            let clock = (self.settings.clock)();
            let outcome = match &paper {
                Paper::Roots => next.accept_roots(&bytes),
                Paper::Head => next.accept_head(&bytes, clock),
                Paper::State { .. } => next.accept_app(&bytes, clock),
                Paper::Stop => next.accept_stop(&bytes),
            };
            self.note(paper, outcome, &mut taken);
        }
        let next = Arc::new(next);
        if !taken.killed.is_empty() {
            // Before the disk is waited for: a power cut can make this host forget that it stopped something, and then it
            // hears of it again.
            let stopped = self.device.obey(&self.orders(&next));
            self.tell(Event::Killed { kills: taken.killed.clone(), stopped });
        }
        if taken.persist {
            self.fleet = next;
            self.save().await;
            // With a kill all of it is obeyed already.
            if !self.unsaved && taken.killed.is_empty() {
                self.device.obey(&self.orders(&self.fleet));
            }
            if !taken.lifted.is_empty() {
                self.tell(Event::Lifted { kills: taken.lifted.clone() });
            }
        }
        let position = self.position();
        if *self.reached.borrow() != position {
            self.reached.send_replace(position);
            self.tell(Event::Head { at: position.unwrap_or_default() });
        }
        taken
    }

    fn note(&self, paper: Paper, outcome: Outcome, taken: &mut Taken) {
        taken.persist |= outcome.must_persist();
        if let Some(error) = &outcome.refused {
            taken.roots |= matches!(
                error,
                AcceptError::NoRoot
                    | AcceptError::Document(_)
                    | AcceptError::RootExpired { .. }
                    | AcceptError::Epoch { .. }
            );
            let (code, message, alarm) = (error.code(), error.to_string(), outcome.alarm);
            if alarm {
                tracing::error!(code, message, "the registry contradicts itself, or somebody has its key");
            }
            self.tell(Event::Refused { paper: paper.clone(), code, message, alarm });
        }
        for notice in outcome.notices {
            self.tell(Event::Noticed { paper: paper.clone(), notice });
        }
        taken.killed.extend(outcome.killed);
        taken.lifted.extend(outcome.lifted);
    }

    pub(super) async fn save(&mut self) {
        let (vault, fleet) = (self.vault.clone(), self.fleet.clone());
        let saved = self.on_disk(move || vault.write(FLEET, &fleet.to_bytes())).await;
        self.unsaved = !matches!(saved, Some(Ok(())));
        if let Some(Err(error)) = saved {
            self.trouble(&error);
        }
    }
}
