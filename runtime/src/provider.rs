//! Who decides on permissions: the embedder's [`PermissionProvider`].

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use mpkg_manifest::{Language, Reasons, ScopeValue};

/// What is asked of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionRequest {
    /// The user who is asked.
    pub user: String,
    /// The app that asks.
    pub app_id: String,
    /// The app's name, as its manifest has it. From the package: escape it before a terminal shows it.
    pub app_name: String,
    /// The permission.
    pub permission: String,
    /// What it lets the app do: a sentence that continues "This app can".
    pub sentence: String,
    /// The manifest's reason, if it gives one, in the host's language or the nearest to it. From the package, too.
    pub reason: Option<String>,
    /// The language of `reason`, as far as the manifest tells.
    pub reason_language: Option<Language>,
    /// The reason in all languages it is given in.
    pub reasons: Reasons,
    /// What the permission is limited to, such as hosts.
    pub scope: ScopeValue,
    /// True if the app cannot start without it.
    pub required: bool,
}

/// The user's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Yes, for this launch.
    AllowOnce,
    /// Yes, whenever the app is in use: from its launch on, and not while it is hidden.
    AllowWhileInUse,
    /// Yes, until it is taken back.
    AllowAlways,
    /// Yes, for that long from now, across launches. Whoever sets the clock back gains nothing while the host runs.
    AllowFor(Duration),
    /// No; the app may ask again at its next launch.
    Deny,
    /// No, and do not ask again.
    Block,
}

/// The future a provider answers with.
pub type DecisionFuture<'a> = Pin<Box<dyn Future<Output = Decision> + Send + 'a>>;

/// Decides on permissions that nothing is recorded about yet. The guest that asks is parked meanwhile, and can be
/// killed.
pub trait PermissionProvider: Send + Sync + 'static {
    /// Decides on one request. Uses of one permission by one user's app share a question; it is dropped when nobody
    /// waits for it any more or something else was decided. A panic, and no answer within
    /// [`Policy::prompt_timeout`](crate::Policy), count as not granted.
    fn decide<'a>(&'a self, request: &'a PermissionRequest) -> DecisionFuture<'a>;

    /// The answer that is settled without asking anybody, as by a setting. The audit has such an allow once in a run of
    /// the host for each user and release, and not at every launch. It must not wait.
    fn decide_at_once(&self, request: &PermissionRequest) -> Option<Decision> {
        let _ = request;
        None
    }
}

/// Allows a fixed set of permissions, always, and denies the rest.
///
/// ```
/// use miniapp_runtime::StaticPermissions;
/// let provider = StaticPermissions::allow(["storage", "events"]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct StaticPermissions {
    allowed: BTreeSet<String>,
    everything: bool,
}

impl StaticPermissions {
    /// Allows these and no others.
    pub fn allow<S: Into<String>>(permissions: impl IntoIterator<Item = S>) -> Self {
        Self { allowed: permissions.into_iter().map(Into::into).collect(), everything: false }
    }

    /// Allows whatever a manifest declares. For tests and tools.
    pub fn allow_all() -> Self {
        Self { allowed: BTreeSet::new(), everything: true }
    }
}

impl StaticPermissions {
    fn answer(&self, request: &PermissionRequest) -> Decision {
        let allowed = self.everything || self.allowed.contains(&request.permission);
        if allowed { Decision::AllowOnce } else { Decision::Deny }
    }
}

impl PermissionProvider for StaticPermissions {
    fn decide<'a>(&'a self, request: &'a PermissionRequest) -> DecisionFuture<'a> {
        Box::pin(std::future::ready(self.answer(request)))
    }

    fn decide_at_once(&self, request: &PermissionRequest) -> Option<Decision> {
        Some(self.answer(request))
    }
}

/// Denies everything: what a host without a provider does.
#[derive(Debug, Clone, Copy, Default)]
pub struct DenyPermissions;

impl PermissionProvider for DenyPermissions {
    fn decide<'a>(&'a self, _: &'a PermissionRequest) -> DecisionFuture<'a> {
        Box::pin(std::future::ready(Decision::Deny))
    }

    fn decide_at_once(&self, _: &PermissionRequest) -> Option<Decision> {
        Some(Decision::Deny)
    }
}

/// Asks by way of a function, such as one that shows a dialogue.
///
/// ```
/// use miniapp_runtime::{Decision, PromptPermissions};
/// let provider = PromptPermissions::new(|request| async move {
///     println!("{:?} asks for {}", request.app_name, request.permission);
///     Decision::Deny
/// });
/// ```
pub struct PromptPermissions<F>(F);

impl<F> std::fmt::Debug for PromptPermissions<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PromptPermissions")
    }
}

impl<F, Fut> PromptPermissions<F>
where
    F: Fn(PermissionRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Decision> + Send + 'static,
{
    /// Asks with `ask`, once a permission and launch at most.
    pub fn new(ask: F) -> Self {
        Self(ask)
    }
}

impl<F, Fut> PermissionProvider for PromptPermissions<F>
where
    F: Fn(PermissionRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Decision> + Send + 'static,
{
    fn decide<'a>(&'a self, request: &'a PermissionRequest) -> DecisionFuture<'a> {
        Box::pin((self.0)(request.clone()))
    }
}
