//! What an answer means, and how it is written down.

use super::desk::Asked;
use super::standing::{Standing, Term};
use crate::data::{AuditOutcome, AuditRecord, DataError, Decider, Records, StoredDecision, StoredGrant};
use crate::provider::Decision;
use crate::rpc::Denial;

/// How a permission stands after that decision. No answer is none.
pub(super) fn standing(decision: Option<Decision>, by: Decider, now: u64) -> Standing {
    match decision {
        Some(Decision::AllowOnce) => Standing::Allowed(Term::Launch),
        Some(Decision::AllowWhileInUse) => Standing::Allowed(Term::InUse),
        Some(Decision::AllowAlways) => Standing::Allowed(Term::Always),
        Some(Decision::AllowFor(time)) => {
            let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            Standing::Allowed(Term::Until(now.saturating_add(ms)))
        }
        Some(Decision::Deny) => Standing::Refused { denial: Denial::Denied, by },
        Some(Decision::Block) => Standing::Refused { denial: Denial::Blocked, by },
        None => Standing::Refused { denial: Denial::NotGranted, by },
    }
}

/// What is recorded of that, if it outlives the instance.
fn stored(standing: Standing) -> Option<StoredDecision> {
    match standing {
        Standing::Allowed(Term::Always) => Some(StoredDecision::Allow),
        Standing::Allowed(Term::InUse) => Some(StoredDecision::AllowInUse),
        Standing::Allowed(Term::Until(unix_ms)) => Some(StoredDecision::AllowUntil { unix_ms }),
        Standing::Refused { denial: Denial::Blocked, .. } => Some(StoredDecision::Block),
        Standing::Allowed(Term::Launch) | Standing::Refused { .. } | Standing::Open { .. } => None,
    }
}

fn outcome(standing: Standing) -> AuditOutcome {
    match standing {
        Standing::Allowed(Term::Launch) => AuditOutcome::AllowedOnce,
        Standing::Allowed(Term::InUse) => AuditOutcome::AllowedWhileInUse,
        Standing::Allowed(Term::Always) => AuditOutcome::AllowedAlways,
        Standing::Allowed(Term::Until(unix_ms)) => AuditOutcome::AllowedUntil { unix_ms },
        Standing::Refused { denial, .. } => AuditOutcome::Denied { reason: denial },
        Standing::Open { .. } => AuditOutcome::AskAgain,
    }
}

/// Writes a decision and its audit; answers how the permission stands then, and whether that is recorded.
pub(super) fn write(
    records: &Records<'_>,
    asked: &Asked,
    wanted: Standing,
    by: Decider,
    unix_ms: u64,
) -> Result<(Standing, bool), DataError> {
    let (of, permission) = (asked.identity.namespace(), asked.declared.name());
    let installed = records.installed(&asked.identity.app_id)?;
    let installed = installed.filter(|app| app.publisher == asked.identity.publisher);
    // The question was about that release. Where another one took its place meanwhile, the answer is not about what
    // that one asks for; where the app is gone, nothing of it may stay.
    let current = installed.as_ref().is_some_and(|app| app.release_seq == asked.identity.release_seq);
    let decision = stored(wanted);
    let (standing, decision) = match wanted {
        Standing::Allowed(_) if current => (wanted, decision),
        // Who asked has it to its own end, and the audit does not tell of more.
        Standing::Allowed(Term::Always) => (Standing::Allowed(Term::Launch), None),
        // In use, or up to a time, is what was allowed: not to be there to the end, hidden or not.
        Standing::Allowed(_) => (wanted, None),
        Standing::Refused { .. } | Standing::Open { .. } => {
            (wanted, decision.filter(|_| installed.is_some()))
        }
    };
    if let Some(decision) = decision {
        let scope = asked.declared.scope_set();
        records.set_grant(&of, permission, &StoredGrant { decision, scope, unix_ms })?;
    }
    let audit = asked.identity.audit(permission, asked.declared.scope.clone());
    records.audit(AuditRecord { outcome: outcome(standing), by, ..audit })?;
    Ok((standing, decision.is_some()))
}
