//! Gates: every so often each rollout's votes are counted, and what follows is done.
//!
//! A rollback waits for nobody. An advance is made only where the rollout's author asked for it, and where policy wants
//! more people than that author, only when they have approved it.

use std::collections::BTreeMap;
use std::sync::Arc;

use mpkg_fleet::{Arm, ArmVotes, Command, Counters, Evidence, GateInputs, Phase, Verdict, evaluate, votes};
use mpkg_manifest::Text;
use sqlx::Row;

use crate::change::Change;
use crate::failure::{Failure, Refusal};
use crate::intake::{counters, from_number};
use crate::registry::Registry;
use crate::rollouts;
use crate::store::{Db, RolloutRow, damaged, evidence, int, uint};

/// Looks at all rollouts.
pub(crate) async fn look(registry: Arc<Registry>) -> Result<(), Failure> {
    let mut db = registry.store.read.acquire().await?;
    let going = crate::store::rollouts::going(&mut db).await?;
    drop(db);
    for row in going {
        // One rollout that cannot be decided must not keep others from being rolled back.
        if let Err(error) = look_at(&registry, row.id).await {
            tracing::error!(%error, rollout = row.id, "a gate failed");
        }
    }
    Ok(())
}

/// The votes of both arms, of devices that reported since the rollout began.
async fn arms(db: &mut Db, row: &RolloutRow) -> Result<[ArmVotes; 2], Failure> {
    let sql = "SELECT device, arm, release_seq, SUM(launches) AS launches, SUM(beacons) AS beacons, \
               SUM(calls) AS calls, SUM(errors) AS errors, SUM(slow_500) AS slow_500, SUM(slow_2000) AS slow_2000, \
               SUM(crashes) AS crashes, SUM(crash_loops) AS crash_loops, SUM(kills) AS kills \
               FROM counters WHERE app = ? AND at >= ? GROUP BY device, arm, release_seq";
    let query = sqlx::query(sql).bind(row.rollout.app.as_str()).bind(row.started.unwrap_or_default());
    let rows = query.fetch_all(db).await?;
    let mut result = [ArmVotes::default(); 2];
    let baseline = row.rollout.baseline.as_ref().map(|release| release.release_seq);
    let ours = [(Arm::Treatment, Some(row.rollout.release.release_seq)), (Arm::Control, baseline)];
    for ((arm, release_seq), votes_of) in ours.into_iter().zip(&mut result) {
        let mut devices: BTreeMap<&str, Option<Counters>> = BTreeMap::new();
        for found in &rows {
            if from_number(found.try_get("arm")?) != arm {
                continue;
            }
            let device = devices.entry(found.try_get("device")?).or_default();
            if release_seq == Some(uint(found.try_get("release_seq")?)) {
                *device = Some(counters(found)?);
            }
        }
        votes_of.devices = devices.len() as u64;
        for (device, counters) in devices {
            if let (Some(counters), Some(release_seq)) = (counters, release_seq) {
                votes_of.add(&votes(device, release_seq, &counters));
            }
        }
    }
    Ok(result)
}

/// What gates know about a rollout now. None for one that is on no step.
pub(crate) async fn inputs(
    db: &mut Db,
    row: &RolloutRow,
    at: mpkg_package::Time,
) -> Result<Option<GateInputs>, Failure> {
    let (Phase::Running { step } | Phase::Held { step }) = row.rollout.phase else { return Ok(None) };
    let plan = *row.rollout.plan.step(step).ok_or_else(|| damaged("step"))?;
    let [treatment, control] = arms(db, row).await?;
    let elapsed = at.unix().saturating_sub(row.rollout.since.unix());
    Ok(Some(GateInputs {
        app: row.rollout.app.clone(),
        release_seq: row.rollout.release.release_seq,
        at,
        step,
        plan,
        elapsed_s: u64::try_from(elapsed).unwrap_or_default(),
        control_share: plan.percent.control(),
        treatment,
        control,
    }))
}

fn name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::RollBack { .. } => "roll_back",
        Verdict::Hold { .. } => "hold",
        Verdict::Healthy => "healthy",
    }
}

fn reason(evidence: &Evidence) -> Result<Text<200>, Failure> {
    let text = match &evidence.verdict {
        Verdict::RollBack { why } => format!("gate: {} bad", why.len()),
        other => format!("gate: {}", name(other)),
    };
    text.parse().map_err(|_| Refusal::Internal.into())
}

async fn look_at(registry: &Registry, id: i64) -> Result<(), Failure> {
    let mut change = Change::own(registry, "gates").await?;
    let at = change.at;
    let Some(row) = crate::store::rollouts::get(change.db(), id).await? else { return Ok(()) };
    let Some(inputs) = inputs(change.db(), &row, at).await? else { return Ok(()) };
    let evidence = evaluate(inputs);
    let decision = name(&evidence.verdict);
    let command = match (&evidence.verdict, &row.rollout.phase) {
        (Verdict::RollBack { .. }, _) => Some(match &row.rollout.baseline {
            Some(to) => Command::RollBack { to: to.clone(), reason: reason(&evidence)? },
            // Nothing to go back to: at least nobody new.
            None => Command::Halt { reason: reason(&evidence)? },
        }),
        (Verdict::Healthy, Phase::Running { step }) if row.automatic => {
            let last = step + 1 >= row.rollout.plan.steps().len();
            let command = if last { Command::Complete } else { Command::Advance { skip_bake: false } };
            let author = row.author.clone();
            let agreed = rollouts::approved(&mut change, &row, &command, &author).await;
            agreed.is_ok().then_some(command)
        }
        _ => None,
    };
    let before = evidence::list(change.db(), id, i64::MAX, 1).await?;
    let same = before.first().is_some_and(|before| before.decision == decision);
    if same && command.is_none() {
        return Ok(());
    }
    let action = command.as_ref().map_or("none", Command::name);
    evidence::insert(change.db(), id, at.unix(), decision, action, &evidence.to_bytes()).await?;
    if let Some(command) = command {
        rollouts::command(&mut change, row, &command).await?;
    }
    change.commit().await
}

/// Devices that reported a release since a time.
pub(crate) async fn devices(
    db: &mut Db,
    app: &str,
    release_seq: u64,
    since: i64,
) -> Result<Vec<String>, Failure> {
    let sql = "SELECT DISTINCT device FROM counters WHERE app = ? AND release_seq = ? AND at >= ?";
    Ok(sqlx::query_scalar(sql).bind(app).bind(int(release_seq)).bind(since).fetch_all(db).await?)
}
