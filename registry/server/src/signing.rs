//! Making state documents out of what the database says, and signing them.
//!
//! Documents are written in the transaction of the change that they tell of. A state is checked against the one before
//! it first: a mistake here is found before every host has to.

use mpkg_fleet::{
    Admission, AppEntry, AppState, FleetHead, Kill, Position, ReleaseRef, SignedDocument, StopNotice,
    StreamEvent, StreamedApp, Targeting, Token, check_successor, limits,
};
use mpkg_manifest::AppId;
use mpkg_package::{Hash, Time};
use std::sync::Arc;

use crate::change::Change;
use crate::clock::time;
use crate::failure::{Failure, Refusal};
use crate::registry::Registry;
use crate::routes::Kind;
use crate::store::backup::NEW_EPOCH;
use crate::store::documents::HEAD;
use crate::store::{AppRow, Stored, apps, damaged, disabled, documents, kills, meta, rollouts, set_meta};

// An app's state has 64 KiB for everything. So that no stop is refused because something else was there first, each
// part has its share: targeting 24 KiB, the hashes of 256 disabled packages 17 KiB, kills and lifts what is here, and
// the rest is short.

/// Kills in one app's state, and the bytes that they have there; further ones go to the head.
const APP_KILLS: usize = 24;
const APP_KILL_BYTES: usize = 12 << 10;
/// Lifts that an app's state repeats. The head has many more.
const APP_LIFTS: i64 = 32;
const APP_LIFT_BYTES: usize = 8 << 10;
/// Lifts in the fleet head, which has room for as many apps and kills as there can be beside them.
const HEAD_LIFTS: i64 = limits::LIFTS as i64;
const HEAD_LIFT_BYTES: usize = 256 << 10;
/// Heads that are kept, and states of an app, besides the newest: for people who look into what hosts were told.
const HEADS: u64 = 1_000;
const STATES: u64 = 3;
/// States that are signed again in one change. Whoever wants to stop something waits for no more than that.
const TOGETHER: usize = 64;
/// Seconds of one number of a restored registry's epoch, and when they begin: 2026-01-01.
const EPOCH_S: i64 = 600;
const EPOCHS_FROM: i64 = 1_767_225_600;

fn text(envelope: &[u8]) -> Result<String, Failure> {
    String::from_utf8(envelope.to_vec()).map_err(|error| Failure::internal(&error))
}

async fn epoch(change: &mut Change<'_>) -> Result<u64, Failure> {
    let stored = meta(change.db(), "epoch").await?;
    Ok(stored.map_or(Ok(1), |text| text.parse()).map_err(|_| damaged("epoch"))?)
}

/// Issued now, or when the one before was, should the clock have been turned back; and when it expires.
fn dates(change: &Change<'_>, before: Option<Time>) -> Result<(Time, Time), Failure> {
    let issued = before.map_or(change.at, |before| before.max(change.at));
    let lifetime = i64::try_from(change.registry.config.state_lifetime.as_secs()).unwrap_or(i64::MAX);
    let expires = time(issued.unix().saturating_add(lifetime.max(1))).ok_or(Refusal::Internal)?;
    Ok((issued, expires))
}

/// The first head of a start: hosts learn that the registry is there, and, after a backup was restored, a new epoch.
pub(crate) async fn open(change: &mut Change<'_>) -> Result<(), Failure> {
    let restored = meta(change.db(), NEW_EPOCH).await?.unwrap_or_default();
    let mut states = Vec::new();
    if let Ok(at) = restored.parse::<i64>() {
        // The backup may be older than documents that hosts have, of this epoch and of one that an earlier restore
        // began: the time makes it another one.
        let by_time = u64::try_from((at - EPOCHS_FROM) / EPOCH_S).unwrap_or_default();
        let next = by_time.max(epoch(change).await? + 1);
        set_meta(change.db(), "epoch", &next.to_string()).await?;
        set_meta(change.db(), NEW_EPOCH, "").await?;
        for newest in documents::all_newest(change.db()).await? {
            let app = apps::app(change.db(), &newest.app).await?;
            let app = app.ok_or_else(|| damaged("state of nobody's app"))?;
            states.push(state(change, &app).await?);
        }
        change.audit("restore", "registry", &serde_json::json!({ "epoch": next })).await?;
    }
    head(change, states).await.map(|_| ())
}

/// A state that is not signed yet, and the one before it.
struct Next {
    before: Option<(AppState, Hash)>,
    document: AppState,
}

/// What the database says of an app, as its next state.
async fn next(change: &mut Change<'_>, app: &AppRow) -> Result<Next, Failure> {
    let epoch = epoch(change).await?;
    let stored = documents::newest(change.db(), app.id.as_str()).await?;
    let before = match &stored {
        Some(stored) => {
            let signed = SignedDocument::<AppState>::parse(&stored.envelope)?;
            Some((signed.document().clone(), signed.hash()))
        }
        None => None,
    };
    let (seq, prev_sha256) = match &before {
        Some((before, hash)) if before.epoch == epoch => (before.seq + 1, Some(*hash)),
        _ => (1, None),
    };
    let (issued, expires) = dates(change, before.as_ref().map(|(before, _)| before.issued))?;
    let in_charge = match app.in_charge {
        Some(id) => rollouts::get(change.db(), id).await?,
        None => None,
    };
    let shape = in_charge.as_ref().and_then(|row| row.rollout.shape());
    let salt = match (&in_charge, &before) {
        (Some(row), _) => row.rollout.salt.clone(),
        (None, Some((before, _))) => before.salt.clone(),
        (None, None) => "none".parse::<Token>().map_err(|error| Failure::internal(&error))?,
    };
    // A floor that was raised stops what is rolled out below it; the rollout itself may know nothing of that.
    let allowed = |release: &ReleaseRef| release.release_seq >= app.min_seq;
    let release = shape.as_ref().and_then(|shape| shape.release.clone()).filter(allowed);
    let arms = shape.as_ref().filter(|_| release.is_some());
    let targeting = in_charge.as_ref().map_or_else(Targeting::default, |row| row.targeting.clone());
    let disabled = disabled::of_app(change.db(), &app.id).await?;
    let document = AppState {
        app_id: app.id.clone(),
        publisher: app.publisher,
        epoch,
        seq,
        prev_sha256,
        issued,
        expires,
        release,
        baseline: shape.as_ref().and_then(|shape| shape.baseline.clone()).filter(allowed),
        percent: arms.map(|shape| shape.percent).unwrap_or_default(),
        control: arms.map(|shape| shape.control).unwrap_or_default(),
        admission: shape.as_ref().map_or(Admission::Open, |shape| shape.admission),
        salt,
        targeting,
        min_seq: app.min_seq,
        disabled: disabled.iter().map(|row| row.sha256).collect(),
        kills: kills_of(change, app.id.as_str()).await?,
        lifts: kills::lifts(change.db(), app.id.as_str(), APP_LIFTS, APP_LIFT_BYTES).await?,
    };
    Ok(Next { before, document })
}

async fn kills_of(change: &mut Change<'_>, place: &str) -> Result<Vec<Kill>, Failure> {
    let rows = kills::in_force(change.db(), place).await?;
    Ok(rows.into_iter().map(|row| row.kill).collect())
}

fn length(value: &impl serde::Serialize) -> Result<usize, Failure> {
    serde_json::to_vec(value).map(|json| json.len()).map_err(|error| Failure::internal(&error))
}

/// Whether one more kill fits into its app's state: into the share of kills, and beside all else that is there.
pub(crate) async fn fits(change: &mut Change<'_>, app: &AppRow, kill: &Kill) -> Result<bool, Failure> {
    let mut document = next(change, app).await?.document;
    document.kills.push(kill.clone());
    Ok(document.kills.len() <= APP_KILLS
        && length(&document.kills)? <= APP_KILL_BYTES
        && length(&document)? <= limits::APP_STATE)
}

/// The next state of an app.
pub(crate) async fn state(change: &mut Change<'_>, app: &AppRow) -> Result<StreamedApp, Failure> {
    let Next { before, document } = next(change, app).await?;
    if let Some((before, hash)) = &before {
        check_successor(before, *hash, &document)?;
    }
    let at = Position { epoch: document.epoch, seq: document.seq };
    let mut signed = SignedDocument::new(document)?;
    signed.sign(&change.registry.keys.state);
    let envelope = signed.to_bytes();
    let state = StreamedApp { app: app.id.clone(), state: text(&envelope)? };
    let stored = Stored { app: app.id.to_string(), at, sha256: signed.hash(), envelope };
    documents::insert(change.db(), &stored).await?;
    documents::prune(change.db(), &stored.app, at, STATES).await?;
    Ok(state)
}

/// The next fleet head, with the states that changed.
pub(crate) async fn head(change: &mut Change<'_>, states: Vec<StreamedApp>) -> Result<Position, Failure> {
    let epoch = epoch(change).await?;
    let stored = documents::newest(change.db(), HEAD).await?;
    let before = match &stored {
        Some(stored) => Some(SignedDocument::<FleetHead>::parse(&stored.envelope)?),
        None => None,
    };
    let (seq, prev_sha256) = match &before {
        Some(signed) if signed.document().epoch == epoch => (signed.document().seq + 1, Some(signed.hash())),
        _ => (1, None),
    };
    let (issued, expires) = dates(change, before.as_ref().map(|signed| signed.document().issued))?;
    let newest = documents::all_newest(change.db()).await?.into_iter();
    let entry = |at: Position, sha256| AppEntry { epoch: at.epoch, seq: at.seq, sha256 };
    let entries = newest.map(|it| (it.app, entry(it.at, it.sha256))).collect();
    let document = FleetHead {
        epoch,
        seq,
        prev_sha256,
        issued,
        expires,
        apps: entries,
        kills: kills_of(change, HEAD).await?,
        lifts: kills::lifts(change.db(), HEAD, HEAD_LIFTS, HEAD_LIFT_BYTES).await?,
        policy: change.registry.config.policy,
    };
    let mut signed = SignedDocument::new(document)?;
    signed.sign(&change.registry.keys.state);
    let (at, envelope) = (Position { epoch, seq }, signed.to_bytes());
    let event = StreamEvent::Head {
        prev: stored.map(|stored| stored.at).unwrap_or_default(),
        at,
        head: text(&envelope)?,
        apps: states,
    };
    let row = Stored { app: HEAD.into(), at, sha256: signed.hash(), envelope };
    documents::insert(change.db(), &row).await?;
    documents::prune(change.db(), HEAD, at, HEADS).await?;
    change.announce(event);
    Ok(at)
}

/// One app's state and with it the head.
pub(crate) async fn app(change: &mut Change<'_>, app: &AppRow) -> Result<Position, Failure> {
    let state = state(change, app).await?;
    head(change, vec![state]).await
}

/// Kills for those who listen now. It is signed by a key that can do nothing else, and needs no state to be judged.
pub(crate) fn stop_notice(registry: &Registry, issued: Time, kills: Vec<Kill>) -> Result<String, Failure> {
    let mut signed = SignedDocument::new(StopNotice { issued, kills })?;
    signed.sign(&registry.keys.stop);
    text(&signed.to_bytes())
}

/// Apps whose state is past half of its life. Reading them all takes a while, and is no reason to keep anybody from a
/// change.
async fn aging(registry: &Registry) -> Result<Vec<AppId>, Failure> {
    let half = i64::try_from(registry.config.state_lifetime.as_secs() / 2).unwrap_or(i64::MAX);
    let (now, mut aging) = (registry.unix(), Vec::new());
    let mut db = registry.store.read.acquire().await?;
    for newest in documents::all_newest(&mut db).await? {
        let Some(stored) = documents::newest(&mut db, newest.app.as_str()).await? else { continue };
        let signed = SignedDocument::<AppState>::parse(&stored.envelope)?;
        if signed.document().issued.unix().saturating_add(half) < now {
            aging.push(newest.app);
        }
    }
    Ok(aging)
}

/// Signs the head again, and states that are past half of their life.
pub(crate) async fn again(registry: Arc<Registry>) -> Result<(), Failure> {
    let mut aging = aging(&registry).await?.into_iter();
    loop {
        let part: Vec<_> = aging.by_ref().take(TOGETHER).collect();
        let mut change = Change::own(&registry, "registry", Kind::Change).await?;
        let mut states = Vec::with_capacity(part.len());
        for id in &part {
            if let Some(app) = apps::app(change.db(), id).await? {
                states.push(state(&mut change, &app).await?);
            }
        }
        head(&mut change, states).await?;
        change.commit().await?;
        if aging.len() == 0 {
            return Ok(());
        }
    }
}
