//! Telemetry: counted, kept, sent, and forgotten once the registry has it.

use std::collections::{BTreeMap, BTreeSet};

use mpkg_fleet::{Arm, Batch};
use mpkg_manifest::AppId;
use mpkg_registry_client::ClientError;

use super::{Actor, Answer, Done};
use crate::updates::device::{Counted, Device};
use crate::updates::event::Event;
use crate::updates::vault::TELEMETRY;

impl<D: Device> Actor<D> {
    /// Takes in what the device counted.
    pub(super) async fn count(&mut self) {
        let device = self.device.clone();
        let Some(counted) = self.on_disk(move || device.counted()).await else { return };
        let apps: BTreeSet<AppId> = counted.iter().map(|it: &Counted| it.app.clone()).collect();
        let orders = self.orders(&self.fleet);
        let mut arms: BTreeMap<AppId, Arm> = BTreeMap::new();
        for app in apps {
            let shelf = self.shelf(&app).await;
            let current = shelf.ok().flatten().and_then(|shelf| shelf.current);
            arms.insert(app.clone(), orders.decide(&app, current.as_ref()).arm);
        }
        self.unreported.count(counted, |app| arms.get(app).copied().unwrap_or(Arm::Neither));
    }

    pub(super) async fn keep_unreported(&mut self) {
        if !std::mem::take(&mut self.unreported.changed) {
            return;
        }
        let (vault, bytes) = (self.vault.clone(), self.unreported.to_bytes());
        let kept = self.on_disk(move || vault.write(TELEMETRY, &bytes)).await;
        if let Some(Err(error)) = kept {
            self.unreported.changed = true;
            self.trouble(&error);
        }
    }

    /// Counts, keeps that, and sends it.
    pub(super) async fn report(&mut self, answer: Option<Answer<()>>) {
        self.count().await;
        self.keep_unreported().await;
        self.send(answer);
    }

    fn send(&mut self, answer: Option<Answer<()>>) {
        let next = self.settings.registry.clone().filter(|_| !self.reporting);
        let Some((client, batch)) = next.zip(self.unreported.batch()) else {
            let _ = answer.map(|answer| answer.send(()));
            return;
        };
        self.reporting = true;
        self.beside.spawn(async move {
            let outcome = client.report(&batch).await.map(|_| ());
            Done::Reported { batch, outcome, answer }
        });
    }

    pub(super) async fn reported(
        &mut self,
        batch: Batch,
        outcome: Result<(), ClientError>,
        answer: Option<Answer<()>>,
    ) {
        self.reporting = false;
        match outcome {
            Ok(()) => {
                self.unreported.acknowledge(&batch);
                self.tell(Event::Reported { rows: batch.reports.len() });
                self.keep_unreported().await;
                // Until all is told.
                self.send(answer);
            }
            Err(error) => {
                // What it will never take must not keep back what comes after.
                if error.code().is_some_and(|code| code.starts_with("MPKG-F7")) {
                    self.unreported.acknowledge(&batch);
                }
                self.trouble(&error);
                let _ = answer.map(|answer| answer.send(()));
            }
        }
    }
}
