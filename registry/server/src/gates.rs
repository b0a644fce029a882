//! Gates: every so often each rollout's votes are counted, and what follows is done.
//!
//! A rollback waits for nobody. An advance is made only where the rollout's author asked for it, and where policy wants
//! more people than that author, only when they have approved it.

use std::sync::Arc;

use futures_util::TryStreamExt;
use mpkg_fleet::{Arm, ArmVotes, Command, Counters, Evidence, GateInputs, Phase, Verdict, evaluate, votes};
use mpkg_manifest::Text;
use mpkg_package::Time;
use sqlx::Row;

use crate::change::Change;
use crate::failure::{Failure, Refusal};
use crate::registry::Registry;
use crate::rollouts;
use crate::routes::Kind;
use crate::store::{Db, RolloutRow, damaged, evidence, telemetry, uint};

/// Looks at all rollouts.
pub(crate) async fn look(registry: Arc<Registry>) -> Result<(), Failure> {
    if let Err(error) = registry.intake.settle().await {
        // What was counted until then may be enough to roll back.
        tracing::error!(%error, "the newest telemetry is not counted");
    }
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

/// What one device has to say in one arm: none when it is not in the arm, and nothing within while it runs something
/// else.
type Said = Option<Option<Counters>>;

/// The votes of both arms, of devices that reported since the rollout began. One device after the other, so that it
/// takes no more memory for a million of them.
async fn arms(db: &mut Db, row: &RolloutRow, at: Time) -> Result<[ArmVotes; 2], Failure> {
    let sql =
        "SELECT device, arm, release_seq, counters FROM counters WHERE app = ? AND at >= ? ORDER BY device";
    // A rollout of the future began before the clock was put back: what came since is all earlier than that.
    let since = row.started.filter(|started| *started <= at.unix()).unwrap_or_default();
    let baseline = row.rollout.baseline.as_ref().map(|release| release.release_seq);
    let ours = [(Arm::Treatment, Some(row.rollout.release.release_seq)), (Arm::Control, baseline)];
    let mut result = [ArmVotes::default(); 2];
    let mut count = |device: &str, said: &[Said; 2]| {
        for ((votes_of, said), (_, release_seq)) in result.iter_mut().zip(said).zip(ours) {
            votes_of.devices += u64::from(said.is_some());
            if let (Some(Some(counters)), Some(release_seq)) = (said, release_seq) {
                votes_of.add(&votes(device, release_seq, counters));
            }
        }
    };
    let (mut device, mut said) = (String::new(), [None; 2]);
    let mut rows = sqlx::query(sql).bind(row.rollout.app.as_str()).bind(since).fetch(db);
    while let Some(found) = rows.try_next().await? {
        let name: &str = found.try_get("device")?;
        if name != device {
            count(&device, &said);
            (device, said) = (name.to_owned(), [None; 2]);
        }
        let (arm, release_seq) = (telemetry::arm(found.try_get("arm")?), uint(found.try_get("release_seq")?));
        for (said, ours) in said.iter_mut().zip(ours) {
            if arm == ours.0 {
                let mut sum = said.flatten();
                if Some(release_seq) == ours.1 {
                    let counters = telemetry::counters(found.try_get("counters")?)?;
                    sum = Some(sum.unwrap_or_default().plus(counters));
                }
                *said = Some(sum);
            }
        }
    }
    count(&device, &said);
    Ok(result)
}

/// What gates know about a rollout now. None for one that is on no step.
pub(crate) async fn inputs(db: &mut Db, row: &RolloutRow, at: Time) -> Result<Option<GateInputs>, Failure> {
    let (Phase::Running { step } | Phase::Held { step }) = row.rollout.phase else { return Ok(None) };
    let plan = *row.rollout.plan.step(step).ok_or_else(|| damaged("step"))?;
    let [treatment, control] = arms(db, row, at).await?;
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
    // Counting takes as long as there are devices, so it reads what was committed last: nobody who wants to stop
    // something waits for it.
    let at = registry.time()?;
    let mut db = registry.store.read.acquire().await?;
    let Some(seen) = crate::store::rollouts::get(&mut db, id).await? else { return Ok(()) };
    let Some(inputs) = inputs(&mut db, &seen, at).await? else { return Ok(()) };
    let before = evidence::list(&mut db, id, i64::MAX, 1).await?;
    let runs = match &seen.rollout.baseline {
        Some(to) => rollouts::runnable(&mut db, &seen.rollout.app, to).await.is_ok(),
        None => false,
    };
    drop(db);
    let evidence = evaluate(inputs);
    let decision = name(&evidence.verdict);
    let same = before.first().is_some_and(|before| before.decision == decision);

    let mut command = match (&evidence.verdict, &seen.rollout.phase) {
        (Verdict::RollBack { .. }, _) => Some(match &seen.rollout.baseline {
            Some(to) if runs => Command::RollBack { to: to.clone(), reason: reason(&evidence)? },
            // Nothing to go back to: at least nobody new.
            _ => Command::Halt { reason: reason(&evidence)? },
        }),
        (Verdict::Healthy, Phase::Running { step }) if seen.automatic => {
            let last = step + 1 >= seen.rollout.plan.steps().len();
            Some(if last { Command::Complete } else { Command::Advance { skip_bake: false } })
        }
        _ => None,
    };
    if same && command.is_none() {
        return Ok(());
    }
    let stops = command.as_ref().is_some_and(Command::stops);
    let mut change = Change::own(registry, "gates", if stops { Kind::Stop } else { Kind::Change }).await?;
    let row = crate::store::rollouts::get(change.db(), id).await?.ok_or_else(|| damaged("rollout"))?;
    if row.rollout != seen.rollout {
        // Somebody did something meanwhile, and the next look sees what it led to.
        return Ok(());
    }
    if let Some(wanted) = command.take_if(|command| !command.stops())
        && rollouts::approved(&mut change, &row, &wanted, &row.author).await.is_ok()
    {
        command = Some(wanted);
    }
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

/// Devices that reported an app since a time, each once with each release.
pub(crate) async fn devices(
    db: &mut Db,
    app: &str,
    since: i64,
    mut found: impl FnMut(u64, String),
) -> Result<(), Failure> {
    let sql = "SELECT DISTINCT device, release_seq FROM counters WHERE app = ? AND at >= ?";
    let mut rows = sqlx::query(sql).bind(app).bind(since).fetch(db);
    while let Some(row) = rows.try_next().await? {
        found(uint(row.try_get("release_seq")?), row.try_get("device")?);
    }
    Ok(())
}
