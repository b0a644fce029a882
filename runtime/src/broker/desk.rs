//! Where questions are put and answers recorded: one for a host, shared by its instances.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Shared, WeakShared};
use mpkg_manifest::{Language, ScopeValue, permission};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Declared;
use super::clock::Clock;
use super::fleet::Subject;
use super::live::Live;
use super::standing::{Permissions, Standing, Term, recorded};
use super::written::{standing, write};
use crate::data::{AuditOutcome, AuditRecord, Data, DataError, Decider, Namespace, StoredGrant};
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
    pub(super) settings: Settings,
    pub(super) clock: Arc<Clock>,
    /// Held while a decision is recorded and applied, so that records and running instances see the same order.
    /// Never held across an await.
    pub(super) changing: Mutex<()>,
    pub(super) live: Arc<Live>,
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
pub(super) struct Key {
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

impl Key {
    pub(super) fn is_of(&self, of: &Namespace) -> bool {
        self.of == *of
    }

    pub(super) fn is_about(&self, of: &Namespace, permission: &str) -> bool {
        self.is_of(of) && self.permission == permission
    }
}

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
                } else if by == Decider::Fixed && decision == Some(Decision::AllowOnce) {
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

    /// Closes questions: something else was decided.
    pub(super) fn overrule(&self, meant: impl Fn(&Key) -> bool) {
        lock(&self.open).retain(|key, question| {
            let meant = meant(key);
            if meant {
                question.overruled.cancel();
            }
            !meant
        });
    }

    /// Fixed allows are to be recorded anew, where the audit tells of another decision since: or its last word would be that
    /// decision, while the app has the permission.
    pub(super) fn unfix(&self, meant: impl Fn(&Key) -> bool) {
        lock(&self.fixed).retain(|key| !meant(key));
    }

    /// Brings the newest orders to every instance, without waiting for anything; returns whose which permissions are taken
    /// that were not before.
    pub(crate) fn obey(&self) -> Vec<(Namespace, String)> {
        self.live.obey()
    }

    #[cfg(test)]
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
