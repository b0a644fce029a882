//! What becomes of each app: installed, switched, removed.

use std::sync::Arc;
use std::time::Duration;

use mpkg_fleet::{KillId, Level, ReleaseRef};
use mpkg_manifest::AppId;

use super::{Actor, Answer, Done};
use crate::data::DataError;
use crate::updates::agent::AgentError;
use crate::updates::device::{Device, Offer};
use crate::updates::event::Event;
use crate::updates::fetch::some_of;
use crate::updates::orders::Orders;

impl<D: Device> Actor<D> {
    /// Brings every app to what is decided.
    pub(super) async fn settle(&mut self) {
        if self.unsaved {
            return;
        }
        let orders = self.orders(&self.fleet);
        for app in self.wanted.clone() {
            if let Err(error) = self.settle_app(&orders, &app).await {
                self.trouble(&error);
            }
        }
    }

    async fn settle_app(&mut self, orders: &Arc<Orders>, app: &AppId) -> Result<(), DataError> {
        if self.busy.contains(app) {
            return Ok(());
        }
        let Some(shelf) = self.shelf(app).await? else { return Ok(()) };
        let decision = orders.decide(app, shelf.current.as_ref());
        self.warn(app, &decision.effects.warn, &decision.running.warn);
        let Some(release) = decision.run else { return Ok(()) };
        self.installs.only(app, release.package.sha256);
        if shelf.rejects(&release) {
            if self.rejected.insert((app.clone(), release.package.sha256)) {
                self.tell(Event::Rejected { app: app.clone(), release });
                // It is rejected once: a run that ends before it reports must not take that with it.
                self.count().await;
                self.keep_unreported().await;
            }
            return Ok(());
        }
        if shelf.has(&release) {
            if shelf.ahead().is_none_or(|ahead| ahead.package != release.package) {
                self.switch(app.clone(), release);
            }
            return Ok(());
        }
        let Some(state) = self.fleet.app(app) else { return Ok(()) };
        let publisher = state.document().publisher;
        let offer = Offer { app: app.clone(), publisher, release: release.clone() };
        // The first one of an app waits for nobody.
        let wait = if shelf.current.is_some() { some_of(self.settings.spread) } else { Duration::ZERO };
        if let Some(work) = self.installs.begin(offer, &shelf, self.device.clone(), wait) {
            self.tell(Event::Fetching { app: app.clone(), release });
            self.beside.spawn(async move { Done::Installed(work.await) });
        }
        Ok(())
    }

    /// Switches an app beside: its instances may take their time to end.
    fn switch(&mut self, app: AppId, release: ReleaseRef) {
        tracing::debug!(app = app.as_str(), step = "switch", "updates");
        self.busy.push(app.clone());
        let (device, when) = (self.device.clone(), self.settings.switch);
        self.beside.spawn(async move {
            let outcome = device.switch(&app, &release, when).await;
            Done::Switched { app, release, outcome }
        });
    }

    /// Removes an app beside: it is ended first.
    pub(super) fn remove(&mut self, app: AppId, answer: Option<Answer<Result<(), AgentError>>>) {
        self.busy.push(app.clone());
        let device = self.device.clone();
        self.beside.spawn(async move {
            let outcome = device.remove(&app).await;
            Done::Removed { app, outcome, answer }
        });
    }

    pub(super) fn is_done_with(&mut self, app: &AppId) {
        if let Some(at) = self.busy.iter().position(|busy| busy == app) {
            self.busy.swap_remove(at);
        }
    }

    fn warn(&mut self, app: &AppId, ahead: &[KillId], running: &[KillId]) {
        for id in ahead.iter().chain(running) {
            let Some(kill) = self.fleet.kills().get(*id).filter(|kill| kill.level == Level::Warn) else {
                continue;
            };
            let reason = kill.reason.to_string();
            if self.warned.insert((app.clone(), *id)) {
                self.tell(Event::Warn { app: app.clone(), kill: *id, reason });
            }
        }
    }
}
