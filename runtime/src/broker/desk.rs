//! Where decisions are made and recorded: one for a host, shared by its instances.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Shared, WeakShared};
use mpkg_manifest::{Language, Manifest, PermissionSet, ScopeValue, permission};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Declared;
use super::clock::Clock;
use super::live::Live;
use super::standing::{Permissions, Standing, Subject, Term, recorded};
use crate::data::{
    AuditOutcome, AuditRecord, Data, DataError, Decider, Installed, Namespace, Records, StoredDecision,
    StoredGrant,
};
use crate::policy::Policy;
use crate::provider::{Decision, PermissionProvider, PermissionRequest};
use crate::rpc::Denial;
use crate::session::Identity;

/// How many fixed answers are remembered as recorded, before it begins anew.
const FIXED: usize = 4096;

/// What a broker is made from.
pub(crate) struct Settings {
    pub(crate) data: Arc<Data>,
    pub(crate) provider: Arc<dyn PermissionProvider>,
    pub(crate) prompt_timeout: Duration,
    pub(crate) language: Option<Language>,
    pub(crate) runtime: Handle,
}

pub(crate) struct Broker {
    settings: Settings,
    clock: Arc<Clock>,
    /// Held while a decision is recorded and applied, so that records and running instances see the same order.
    /// Never held across an await.
    changing: Mutex<()>,
    live: Arc<Live>,
    open: Mutex<HashMap<Key, Question>>,
    /// Fixed allows that are in the audit since this host runs.
    fixed: Mutex<HashSet<Key>>,
}

/// A permission that an instance asks for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) identity: Identity,
    pub(super) declared: Declared,
    /// An earlier grant has run out.
    pub(super) expired: bool,
}

/// Uses that share one question: of one user, app, release and permission.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    of: Namespace,
    release_seq: u64,
    permission: String,
}

/// A question that somebody waits for.
struct Question {
    overruled: CancellationToken,
    answer: WeakShared<AnswerFuture>,
}

type AnswerFuture = Pin<Box<dyn Future<Output = Option<Standing>> + Send>>;

const UNANSWERED: Standing = Standing::Refused { denial: Denial::NotGranted, by: Decider::Prompt };

impl Asked {
    fn key(&self) -> Key {
        Key {
            of: self.identity.namespace(),
            release_seq: self.identity.release_seq,
            permission: self.declared.name().to_owned(),
        }
    }

    fn request(&self, language: Option<&Language>) -> PermissionRequest {
        let Declared { name, required, reasons, scope } = &self.declared;
        let reason = reasons.pick(language);
        PermissionRequest {
            user: self.identity.user.clone(),
            app_id: self.identity.app_id.clone(),
            app_name: self.identity.app_name.clone(),
            permission: name.to_string(),
            sentence: permission::describe(name).map(|d| d.sentence.into_owned()).unwrap_or_default(),
            reason: reason.map(|(text, _)| text.to_owned()),
            reason_language: reason.and_then(|(_, language)| language.cloned()),
            reasons: reasons.clone(),
            scope: scope.clone(),
            required: *required,
        }
    }
}

impl Broker {
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            clock: Arc::new(Clock::new()),
            changing: Mutex::default(),
            live: Arc::default(),
            open: Mutex::default(),
            fixed: Mutex::default(),
        })
    }

    /// The permissions of a new instance: what is recorded, less what policy rules out.
    pub(crate) fn admit(
        &self,
        of: &Namespace,
        declared: Arc<[Declared]>,
        subject: Subject,
        policy: &Policy,
    ) -> Result<Arc<Permissions>, DataError> {
        let permissions = Arc::new(Permissions::new(declared, subject, policy, self.clock.clone()));
        // Listed before the records and the orders are read: what changes reaches it in one way or the other.
        self.live.list(of.clone(), &permissions);
        permissions.obey();
        permissions.load(&self.settings.data.grants(of)?);
        Ok(permissions)
    }

    /// The answer to a question, put now unless it is open already. `None` if something else was decided meanwhile.
    ///
    /// When nobody waits for it any more the question is dropped.
    pub(super) async fn answer(self: &Arc<Self>, asked: Asked) -> Option<Standing> {
        let (key, request) = (asked.key(), asked.request(self.settings.language.as_ref()));
        let fixed = self.fixed_answer(&request);
        if fixed == Some(Decision::AllowOnce) && !asked.expired && lock(&self.fixed).contains(&key) {
            return Some(Standing::Allowed(Term::Launch));
        }
        let answer = {
            let mut open = lock(&self.open);
            match open.get(&key).and_then(|question| question.answer.upgrade()) {
                Some(answer) => answer,
                None => {
                    open.retain(|_, question| question.answer.upgrade().is_some());
                    let overruled = CancellationToken::new();
                    let answer = self.clone().put(asked, request, fixed, overruled.clone());
                    if let Some(answer) = answer.downgrade() {
                        open.insert(key, Question { overruled, answer });
                    }
                    answer
                }
            }
        };
        answer.await
    }

    /// A provider that panics has not allowed anything.
    fn fixed_answer(&self, request: &PermissionRequest) -> Option<Decision> {
        let answer = catch_unwind(AssertUnwindSafe(|| self.settings.provider.decide_at_once(request)));
        answer.unwrap_or(Some(Decision::Deny))
    }

    /// Asks on a task of its own: the one who asked first may be killed while others wait.
    fn put(
        self: Arc<Self>,
        asked: Asked,
        request: PermissionRequest,
        fixed: Option<Decision>,
        overruled: CancellationToken,
    ) -> Shared<AnswerFuture> {
        let runtime = self.settings.runtime.clone();
        let task = AbortOnDropHandle::new(runtime.spawn(async move {
            if asked.expired {
                self.blocking(asked.clone(), |broker, asked| broker.record_expiry(asked)).await;
            }
            let (decision, by) = match fixed {
                Some(decision) => (Some(decision), Decider::Fixed),
                None => tokio::select! {
                    biased;
                    () = overruled.cancelled() => return None,
                    decision = self.prompt(&request) => (decision, Decider::Prompt),
                },
            };
            let record = move |broker: &Self, asked: &Asked| broker.record(asked, decision, by, &overruled);
            self.blocking(asked, record).await.unwrap_or(Some(UNANSWERED))
        }));
        let answer: AnswerFuture = Box::pin(async move { task.await.unwrap_or(Some(UNANSWERED)) });
        answer.shared()
    }

    /// `None` if there was no answer: a dialogue that crashed or that nobody looks at must not hold up a launch for
    /// ever.
    async fn prompt(&self, request: &PermissionRequest) -> Option<Decision> {
        let answer = AssertUnwindSafe(async { self.settings.provider.decide(request).await }).catch_unwind();
        match tokio::time::timeout(self.settings.prompt_timeout, answer).await {
            Ok(Ok(decision)) => Some(decision),
            Ok(Err(_panic)) => {
                tracing::error!(permission = request.permission, "the permission provider panicked");
                None
            }
            Err(_elapsed) => {
                tracing::warn!(
                    permission = request.permission,
                    "a question about a permission was not answered"
                );
                None
            }
        }
    }

    /// Records a decision and applies it wherever it counts. Waits for the disk.
    ///
    /// An allow that cannot be recorded is none: a host that could not write down that it gave a permission must not
    /// give it, or nobody could tell later what an app was able to do.
    fn record(
        &self,
        asked: &Asked,
        decision: Option<Decision>,
        by: Decider,
        overruled: &CancellationToken,
    ) -> Option<Standing> {
        let _changing = lock(&self.changing);
        if overruled.is_cancelled() {
            return None;
        }
        let now = self.clock.now_ms();
        let wanted = standing(decision, by, now);
        let (of, scope) = (asked.identity.namespace(), asked.declared.scope_set());
        let written = self.settings.data.change(|records| write(records, asked, wanted, by, now));
        match written {
            Ok((standing, recorded)) => {
                if recorded {
                    self.live.apply(&of, asked.declared.name(), standing, &scope);
                } else if by == Decider::Fixed && standing == Standing::Allowed(Term::Launch) {
                    let mut fixed = lock(&self.fixed);
                    if fixed.len() >= FIXED {
                        fixed.clear();
                    }
                    fixed.insert(asked.key());
                }
                Some(standing)
            }
            Err(error) => {
                let permission = asked.declared.name();
                tracing::error!(%error, permission, "a permission decision could not be recorded");
                Some(match wanted {
                    Standing::Allowed(_) | Standing::Open { .. } => {
                        Standing::Refused { denial: Denial::NotGranted, by }
                    }
                    Standing::Refused { .. } => wanted,
                })
            }
        }
    }

    /// Removes a grant that has run out.
    fn record_expiry(&self, asked: &Asked) {
        let _changing = lock(&self.changing);
        let (of, permission) = (asked.identity.namespace(), asked.declared.name());
        let now = self.clock.now_ms();
        let removed = self.settings.data.change(|records| {
            let grant = records.grant(&of, permission)?;
            let expired = |grant: &StoredGrant| recorded(grant, now) == Standing::Open { expired: true };
            if let Some(grant) = grant.filter(expired) {
                records.remove_grant(&of, permission)?;
                let scope = grant.scope.get(permission).cloned().unwrap_or(ScopeValue::None);
                let audit = asked.identity.audit(permission, scope);
                records.audit(AuditRecord {
                    outcome: AuditOutcome::AskAgain,
                    by: Decider::Expiry,
                    ..audit
                })?;
            }
            Ok(())
        });
        if let Err(error) = removed {
            tracing::error!(%error, permission, "a grant that has run out could not be removed");
        }
    }

    /// Puts a refused call into the audit.
    pub(super) async fn note(
        self: &Arc<Self>,
        identity: &Identity,
        permission: &str,
        scope: ScopeValue,
        reason: Denial,
        by: Decider,
    ) {
        let outcome = AuditOutcome::Denied { reason };
        let record = AuditRecord { outcome, by, ..identity.audit(permission, scope) };
        self.blocking(record, |broker, record| {
            if let Err(error) = broker.settings.data.change(|records| records.audit(record.clone())) {
                tracing::error!(%error, "a denied call could not be put into the audit");
            }
        })
        .await;
    }

    /// Runs what waits for the disk or a lock where it holds up nobody's guest. `None` if the runtime shuts down.
    async fn blocking<A: Send + 'static, T: Send + 'static>(
        self: &Arc<Self>,
        about: A,
        work: impl FnOnce(&Self, &A) -> T + Send + 'static,
    ) -> Option<T> {
        let broker = self.clone();
        self.settings.runtime.spawn_blocking(move || work(&broker, &about)).await.ok()
    }

    /// Closes the questions about a permission: something else was decided.
    fn overrule(&self, of: &Namespace, permission: &str) {
        lock(&self.open).retain(|key, question| {
            let meant = key.of == *of && key.permission == permission;
            if meant {
                question.overruled.cancel();
            }
            !meant
        });
    }

    /// Brings the newest orders to every instance, without waiting for anything; returns whose which permissions are taken
    /// that were not before.
    pub(crate) fn obey(&self) -> Vec<(Namespace, String)> {
        self.live.obey()
    }

    /// See [`Host::grant`](crate::Host::grant).
    pub(crate) fn grant(&self, user: &str, app_id: &str, permission: &str) -> Result<bool, DataError> {
        let _changing = lock(&self.changing);
        let unix_ms = self.clock.now_ms();
        let granted = self.settings.data.change(|records| {
            let Some(app) = records.installed(app_id)? else { return Ok(None) };
            let manifest: Manifest = serde_json::from_str(&app.manifest)?;
            let declared = crate::app::declared(&manifest);
            let Some(wanted) = declared.iter().find(|d| d.name() == permission) else { return Ok(None) };
            let (of, scope) = (app.namespace(user), wanted.scope_set());
            let grant = StoredGrant { decision: StoredDecision::Allow, scope: scope.clone(), unix_ms };
            records.set_grant(&of, permission, &grant)?;
            let audit = app.audit(user, permission, wanted.scope.clone());
            records.audit(AuditRecord {
                outcome: AuditOutcome::AllowedAlways,
                by: Decider::Host,
                ..audit
            })?;
            Ok(Some((of, scope)))
        })?;
        let Some((of, scope)) = granted else { return Ok(false) };
        self.live.apply(&of, permission, Standing::Allowed(Term::Always), &scope);
        self.overrule(&of, permission);
        Ok(true)
    }

    /// See [`Host::revoke`](crate::Host::revoke).
    pub(crate) fn revoke(&self, user: &str, app: &Installed, permission: &str) -> Result<(), DataError> {
        let (of, nothing) = (app.namespace(user), PermissionSet::default());
        let revoked = Standing::Refused { denial: Denial::Revoked, by: Decider::Host };
        // At once, and not when the disk is done with somebody else's decision; and once more in its turn, after it.
        self.live.apply(&of, permission, revoked, &nothing);
        let _changing = lock(&self.changing);
        self.live.apply(&of, permission, revoked, &nothing);
        self.overrule(&of, permission);
        let grant =
            StoredGrant { decision: StoredDecision::Revoked, scope: nothing, unix_ms: self.clock.now_ms() };
        self.settings.data.change(|records| {
            // Uninstalled meanwhile: nothing of it may stay.
            if records.installed(&app.app_id)?.is_none_or(|now| now.publisher != app.publisher) {
                return Ok(());
            }
            records.set_grant(&of, permission, &grant)?;
            let outcome = AuditOutcome::Denied { reason: Denial::Revoked };
            let audit = app.audit(user, permission, ScopeValue::None);
            records.audit(AuditRecord { outcome, by: Decider::Host, ..audit })
        })
    }

    /// See [`Host::forget`](crate::Host::forget).
    pub(crate) fn forget(&self, user: &str, app: &Installed, permission: &str) -> Result<bool, DataError> {
        let _changing = lock(&self.changing);
        let of = app.namespace(user);
        let existed = self.settings.data.change(|records| {
            let existed = records.remove_grant(&of, permission)?;
            if existed {
                records.audit(app.audit(user, permission, ScopeValue::None))?;
            }
            Ok(existed)
        })?;
        self.live.apply(&of, permission, Standing::Open { expired: false }, &PermissionSet::default());
        self.overrule(&of, permission);
        Ok(existed)
    }

    #[cfg(test)]
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// How a permission stands after that decision. No answer is none.
fn standing(decision: Option<Decision>, by: Decider, now: u64) -> Standing {
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
fn write(
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
    let (standing, decision) = match (wanted, stored(wanted)) {
        (Standing::Allowed(_), decision) if current => (wanted, decision),
        (Standing::Allowed(_), _) => (Standing::Allowed(Term::Launch), None),
        (Standing::Refused { .. } | Standing::Open { .. }, decision) => {
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
