//! Telemetry: one writer takes what came in together, and answers when it is committed.
//!
//! Committed means in the journal. The same writer [folds](crate::fold) the journal into the tables: when there is
//! enough of it, and when somebody wants to read them.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use mpkg_fleet::Batch;
use tokio::sync::{mpsc, oneshot};

use crate::auth::Caller;
use crate::boots::Boots;
use crate::failure::{Failure, Refusal};
use crate::fold::{Fold, PART, Step, WINDOW};
use crate::registry::Registry;
use crate::store::{int, telemetry};
use mpkg_registry_client::wire::Received;

/// Batches that wait; the next sender waits with its connection.
const WAITING: usize = 1_024;
/// Batches that are taken together.
const TOGETHER: usize = 512;
/// Rows in one transaction, about: whoever wants to stop something waits for no more than that.
const COMMIT: usize = 8_192;
/// Rows that the journal holds while they cannot be counted; then no more are taken.
const MOST: u64 = 8 * WINDOW as u64;

struct Waiting {
    caller: Caller,
    batch: Batch,
    answer: oneshot::Sender<Result<Received, Failure>>,
}

type Settled = oneshot::Sender<Result<(), Failure>>;

enum Message {
    Batch(Waiting),
    Settle(Settled),
}

pub(crate) struct Intake {
    sender: Mutex<Option<mpsc::Sender<Message>>>,
}

pub(crate) struct Batches(mpsc::Receiver<Message>);

impl Intake {
    pub(crate) fn new() -> (Self, Batches) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self { sender: Mutex::new(Some(sender)) }, Batches(receiver))
    }

    async fn send(&self, message: Message) -> Result<(), Refusal> {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sender.ok_or(Refusal::Stopping)?.send(message).await.map_err(|_| Refusal::Stopping)
    }

    /// Gives when the rows are committed.
    pub(crate) async fn take(&self, caller: Caller, batch: Batch) -> Result<Received, Failure> {
        let (answer, committed) = oneshot::channel();
        self.send(Message::Batch(Waiting { caller, batch, answer })).await?;
        committed.await.map_err(|_| Refusal::Stopping)?
    }

    /// Gives when the tables hold all that was answered until now. Whoever reads them does this first.
    pub(crate) async fn settle(&self) -> Result<(), Failure> {
        let (answer, settled) = oneshot::channel();
        self.send(Message::Settle(answer)).await?;
        settled.await.map_err(|_| Refusal::Stopping)?
    }

    /// No more; what waits is still written.
    pub(crate) fn close(&self) {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// The journal, as it stands when the registry is opened.
#[derive(Clone, Copy)]
pub(crate) struct Journal {
    pub(crate) last: i64,
    pub(crate) rows: u64,
}

/// The writer.
pub(crate) async fn write(registry: Arc<Registry>, journal: Journal, Batches(mut receiver): Batches) {
    let mut writer = Writer {
        registry,
        last: journal.last,
        rows: journal.rows,
        boots: Boots::default(),
        fold: None,
        asked: VecDeque::new(),
        failed: None,
    };
    let (mut messages, mut batches) = (Vec::new(), Vec::new());
    loop {
        if !writer.busy() && receiver.recv_many(&mut messages, TOGETHER).await == 0 {
            break;
        }
        while messages.len() < TOGETHER
            && let Ok(message) = receiver.try_recv()
        {
            messages.push(message);
        }
        let mut asked = Vec::new();
        for message in messages.drain(..) {
            match message {
                Message::Batch(waiting) => batches.push(waiting),
                Message::Settle(settled) => asked.push(settled),
            }
        }
        let noted = writer.take(&mut batches).await;
        writer.asked.extend(asked.into_iter().map(|settled| (writer.last, settled)));
        // As much of the journal goes as comes, so it does not grow while there is much to do.
        writer.fold(noted.max(1)).await;
    }
}

struct Writer {
    registry: Arc<Registry>,
    /// The newest number in the journal.
    last: i64,
    /// The rows in it.
    rows: u64,
    boots: Boots,
    fold: Option<Fold>,
    /// Who wants the tables to hold everything up to some number.
    asked: VecDeque<(i64, Settled)>,
    /// Why nothing could be counted when it was last tried.
    failed: Option<Failure>,
}

impl Writer {
    fn busy(&self) -> bool {
        self.fold.is_some() || !self.asked.is_empty()
    }

    /// Commits what waits, and gives the number of rows.
    async fn take(&mut self, waiting: &mut Vec<Waiting>) -> usize {
        let mut noted = 0;
        while !waiting.is_empty() {
            let mut rows = 0;
            let fits = waiting.iter().take_while(|it| {
                rows += it.batch.reports.len();
                rows <= COMMIT
            });
            let first = fits.count().max(1);
            let now: Vec<_> = waiting.drain(..first).collect();
            let result = match &self.failed {
                Some(failure) if self.rows >= MOST => Err(failure.clone()),
                _ => self.commit(&now).await,
            };
            for (index, it) in now.into_iter().enumerate() {
                let answer = match &result {
                    Ok(received) => received.get(index).copied().ok_or_else(|| Refusal::Internal.into()),
                    Err(failure) => Err(failure.clone()),
                };
                noted += answer.as_ref().map_or(0, |it| usize::try_from(it.accepted).unwrap_or_default());
                // Who does not wait any more sends again, which does no harm.
                let _ = it.answer.send(answer);
            }
        }
        noted
    }

    async fn commit(&mut self, waiting: &[Waiting]) -> Result<Vec<Received>, Failure> {
        let registry = &self.registry;
        let mut tx = registry.store.begin().await?;
        let reported = waiting.iter().flat_map(|it| &it.batch.reports);
        let reported = reported.map(|report| (report.app.as_str(), int(report.release_seq))).collect();
        let known = telemetry::known(&mut tx, reported).await?;

        // The device is whoever signed in, whatever else it says.
        let mut entry: telemetry::Entry<&str> = Vec::with_capacity(waiting.len());
        let mut received = Vec::with_capacity(waiting.len());
        let (boots, now, mut dropped) = (&mut self.boots, registry.unix(), 0);
        for it in waiting {
            let device = it.caller.owner.as_str();
            let counts = it.batch.reports.iter().filter(|report| {
                let whose = known.get(&(report.app.as_str(), int(report.release_seq)));
                let about = whose.is_some_and(|publisher| it.caller.app(&report.app, *publisher).is_ok());
                let counts = about && boots.admit(now, device, report);
                dropped += u64::from(about && !counts);
                counts
            });
            let rows: Vec<telemetry::Noted<&str>> = counts
                .map(|it| {
                    let arm = telemetry::number(it.arm);
                    (it.app.as_str(), it.release_seq, it.boot.as_str(), arm, it.counters.into())
                })
                .collect();
            let accepted = rows.len() as u64;
            received.push(Received { accepted, ignored: it.batch.reports.len() as u64 - accepted });
            if accepted > 0 {
                entry.push((device, rows));
            }
        }
        let total: u64 = received.iter().map(|it| it.accepted).sum();
        if total > 0 {
            // Another number in any case: nobody knows what became of a commit that failed.
            self.last += 1;
            telemetry::note(&mut tx, self.last, now, total, &entry).await?;
        }
        tx.commit().await?;
        self.rows += total;
        registry.metrics.rows.fetch_add(total, Ordering::Relaxed);
        registry.metrics.dropped.fetch_add(dropped, Ordering::Relaxed);
        registry.metrics.commits.fetch_add(1, Ordering::Relaxed);
        Ok(received)
    }

    /// Counts about so many rows of the journal, if there is a reason to.
    async fn fold(&mut self, rows: usize) {
        for _ in 0..rows.div_ceil(PART) {
            if self.fold.is_none() && self.asked.is_empty() && self.rows < WINDOW as u64 {
                return;
            }
            match self.step().await {
                Ok(settled) => {
                    self.failed = None;
                    while let Some((_, asked)) = self.asked.pop_front_if(|(upto, _)| *upto <= settled) {
                        let _ = asked.send(Ok(()));
                    }
                }
                Err(failure) => {
                    self.fold = None;
                    for (_, asked) in self.asked.drain(..) {
                        let _ = asked.send(Err(failure.clone()));
                    }
                    self.failed = Some(failure);
                    return;
                }
            }
        }
    }

    /// Counts the next part, and gives the number up to which everything is counted.
    async fn step(&mut self) -> Result<i64, Failure> {
        let registry = &self.registry;
        if self.fold.is_none() {
            self.fold = Fold::begin(registry, WINDOW).await?;
        }
        let Some(fold) = &mut self.fold else {
            self.rows = 0;
            return Ok(self.last);
        };
        match fold.step(registry, PART).await? {
            Step::More => Ok(0),
            Step::Done { last, rows } => {
                self.fold = None;
                self.rows = self.rows.saturating_sub(rows as u64);
                Ok(last)
            }
        }
    }
}
