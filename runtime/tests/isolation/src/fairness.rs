//! What an app is answered, and when, beside one that does its worst.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use miniapp_runtime::{CallError, Host, HostBuilder, StaticPermissions};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::party::{Player, Stage, cast};
use crate::report::{Attack, Distribution, Finding, Pressure, Report};
use crate::{Error, Isolation, Sample};

/// Between two calls: who calls without a pause is throttled itself.
const PAUSE: Duration = Duration::from_millis(1);

/// What is measured: a call of the neighbour's that an attack would be felt by.
struct Probe {
    method: String,
    /// Calls that are measured alone, and at least as many beside the attacker.
    calls: usize,
    pause: Duration,
}

impl Probe {
    fn of(attack: Attack, neighbour: &Player) -> Self {
        match (attack, neighbour.import(STORE)) {
            (Attack::Writes, Some(method)) => Self { method, calls: 600, pause: PAUSE * 10 },
            _ => Self { method: "echo".into(), calls: 1000, pause: PAUSE },
        }
    }

    /// Calls the app, paced, until there were enough and `enough` says so too.
    async fn times(&self, app: &Player, enough: impl Fn() -> bool) -> Result<Vec<Duration>, CallError> {
        let mut times = Vec::new();
        while times.len() < self.calls || !enough() {
            let params = json!({ "key": "measured", "value": times.len() });
            let began = Instant::now();
            let answered = app.instance.call::<Value>(&self.method, &params);
            match tokio::time::timeout(PATIENCE, answered).await {
                Ok(answer) => drop(answer?),
                Err(_) => return Err(CallError::Rpc(no_answer())),
            }
            times.push(began.elapsed());
            tokio::time::sleep(self.pause).await;
        }
        Ok(times)
    }
}

/// A transaction of about so many bytes. A megabyte in all is what the app may store.
fn bulk(bytes: usize) -> Sample {
    let value = "x".repeat(bytes / 4);
    let step = |n: usize| json!({ "set": { "key": format!("bulk-{n}"), "value": value } });
    let steps: Vec<Value> = (0..4).map(step).collect();
    Sample::new("storage.transaction", json!({ "ops": steps }))
}

/// What the attackers go through, made once: what the kit computes for an attacker is nobody's CPU time, and would be felt
/// for it. None where there is nothing to make the calls by.
struct Lists {
    bridges: Option<Box<RawValue>>,
    writes: Option<Box<RawValue>>,
}

impl Lists {
    async fn new(stage: &Stage, calls: &[Sample]) -> Result<Self, Error> {
        let app = stage.launch(1, mallory()).await?;
        // One that is refused at the door would be no attack, however often it is tried.
        let fits = async |list: &RawValue| app.instance.call_raw("echo", list).await.is_ok();
        let bridges = app.list(calls)?;
        if let Some(list) = &bridges
            && !fits(list).await
        {
            return Err(Error::Kit(
                "the list of all calls does not fit into a message of this host's".into(),
            ));
        }
        // As much as a transaction may write, or as a message may hold.
        for bytes in [256_000, 64_000, 16_000, 4_000] {
            let writes = app.list(&[bulk(bytes)])?;
            let Some(list) = &writes else { return Ok(Self { bridges, writes }) };
            if fits(list).await {
                return Ok(Self { bridges, writes });
            }
        }
        Err(Error::Kit("no transaction fits into a message of this host's".into()))
    }

    fn of(&self, attack: Attack) -> Option<Box<RawValue>> {
        match attack {
            Attack::Bridges => self.bridges.clone(),
            Attack::Writes => self.writes.clone(),
            _ => None,
        }
    }
}

/// What shows that the disk is somebody else's just now.
const STORE: &str = "storage.set";
/// How long any call of the neighbour may take: far longer than it does beside anybody who is kept in bounds.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn check<B: Fn(HostBuilder) -> HostBuilder>(kit: &Isolation<B>) -> Result<Report, Error> {
    let stage = Arc::new(Stage::build(kit, StaticPermissions::allow_all()).await?);
    let mut report = Report::default();
    let mut cast = cast().into_iter();
    let Some(party) = cast.next() else { return Ok(report) };
    let neighbour = stage.launch(0, party).await?;
    let calls: Vec<Sample> = stage.known(&kit.calls).into_iter().cloned().collect();
    // What works alone has to work beside anybody.
    let mut works = Vec::new();
    for sample in &calls {
        if let Ok(Ok(_)) = tokio::time::timeout(PATIENCE, neighbour.make(sample, None)).await {
            works.push(sample);
        }
    }
    let lists = Lists::new(&stage, &calls).await?;
    for attack in Attack::ALL {
        // Before and after: what else the machine does must not be taken for the attacker's doing.
        let probe = Probe::of(attack, &neighbour);
        let mut alone = probe.times(&neighbour, || true).await?;
        let attacker = Attacker::begin(stage.clone(), attack, lists.of(attack));
        let starved =
            |method: &str, why: String| Finding::Starved { method: method.to_owned(), beside: attack, why };
        // Until there were enough calls, and the attacker was held up or had its way a few times.
        match probe.times(&neighbour, || attacker.has_been_held()).await {
            Ok(beside) => {
                for sample in &works {
                    match tokio::time::timeout(PATIENCE, neighbour.make(sample, None)).await {
                        Ok(Ok(_)) => {}
                        Ok(Err(error)) => report.find(starved(&sample.method, error.to_string())),
                        Err(_) => report.find(starved(&sample.method, "no answer".into())),
                    }
                }
                let (rounds, stops) = attacker.counts();
                attacker.end(&stage.host).await;
                alone.extend(probe.times(&neighbour, || true).await?);
                let (alone, beside) = (Distribution::of(alone), Distribution::of(beside));
                report.pressures.push(Pressure { attack, rounds, stops, alone, beside });
            }
            Err(error) => {
                report.find(starved(&probe.method, error.to_string()));
                attacker.end(&stage.host).await;
            }
        }
        if neighbour.instance.stop_reason().is_some() {
            break;
        }
    }
    stage.host.shutdown();
    Ok(report)
}

fn no_answer() -> miniapp_runtime::rpc::RpcError {
    miniapp_runtime::rpc::RpcError::new(miniapp_runtime::rpc::code::TIMED_OUT, "There was no answer.")
}

/// An app of another publisher and another user, made to do its worst by a task of its own.
struct Attacker {
    at_work: Arc<AtWork>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct AtWork {
    done: AtomicBool,
    /// Times that it went at it, and times that it was stopped for it.
    rounds: AtomicU64,
    stops: AtomicU64,
    throttled: AtomicBool,
}

/// Rounds of an attacker that nobody has to hold up.
const ROUNDS: u64 = 5;

impl Attacker {
    fn begin(stage: Arc<Stage>, attack: Attack, list: Option<Box<RawValue>>) -> Self {
        let at_work = Arc::new(AtWork::default());
        let task = tokio::spawn(work(stage, attack, list, at_work.clone()));
        Self { at_work, task }
    }

    fn counts(&self) -> (u64, u64) {
        (self.at_work.rounds.load(Ordering::Relaxed), self.at_work.stops.load(Ordering::Relaxed))
    }

    /// True once it was made to wait or stopped, or has gone at it a few times.
    fn has_been_held(&self) -> bool {
        let (rounds, stops) = self.counts();
        self.task.is_finished()
            || stops > 0
            || rounds > ROUNDS
            || self.at_work.throttled.load(Ordering::Relaxed)
    }

    async fn end(self, host: &Host) {
        self.at_work.done.store(true, Ordering::Relaxed);
        // It may be between two lives just now.
        while !self.task.is_finished() {
            host.kill(mallory().app_id.as_str(), "the kit has seen enough");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn mallory() -> crate::Party {
    let [_, app, _] = crate::party::APPS;
    crate::Party { app_id: app.to_owned(), user: "mallory".to_owned() }
}

async fn work(stage: Arc<Stage>, attack: Attack, list: Option<Box<RawValue>>, at_work: Arc<AtWork>) {
    while !at_work.done.load(Ordering::Relaxed) {
        // A host without room for the next one says so; what ended the last one is what counts.
        let Ok(app) = stage.launch(1, mallory()).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        while app.instance.stop_reason().is_none() {
            let looking = async {
                while app.instance.metrics().throttled.is_zero() {
                    tokio::time::sleep(PAUSE * 10).await;
                }
                at_work.throttled.store(true, Ordering::Relaxed);
                std::future::pending().await
            };
            at_work.rounds.fetch_add(1, Ordering::Relaxed);
            tokio::select! {
                () = once(&app, attack, list.as_deref()) => {}
                () = looking => {}
            }
            // Calls that are answered at once would otherwise keep this thread from the neighbour.
            tokio::task::yield_now().await;
        }
        at_work.stops.fetch_add(1, Ordering::Relaxed);
    }
}

/// One round; an app that is stopped over it has ended after that.
async fn once(app: &Player, attack: Attack, list: Option<&RawValue>) {
    let call = async |method: &str, params: Value| {
        let _ = app.instance.call::<Value>(method, &params).await;
    };
    match attack {
        Attack::Spin => call("spin", json!({})).await,
        Attack::Grow => call("grow", json!({})).await,
        Attack::Flood => call("flood", json!({ "level": "debug", "message": "flood" })).await,
        Attack::Bridges | Attack::Writes => {
            if let Some(list) = list {
                let _ = app.instance.call_raw("list", list).await;
            }
        }
        Attack::Page => {
            let ask = async || {
                for _ in 0..32 {
                    let _ = app.instance.dispatch("random.bytes", r#"{"length":65536}"#).await;
                    // As between two messages of a connection.
                    tokio::task::yield_now().await;
                }
            };
            tokio::join!(ask(), ask(), ask(), ask(), ask(), ask(), ask(), ask());
        }
        Attack::Kills => {
            // At work when it is killed, or there would be nothing to interrupt.
            let spinning = tokio::spawn({
                let instance = app.instance.clone();
                async move { instance.call::<Value>("spin", &json!({})).await }
            });
            tokio::time::sleep(PAUSE).await;
            app.instance.kill("the kit ends it");
            let _ = spinning.await;
            app.instance.stopped().await;
        }
    }
}
