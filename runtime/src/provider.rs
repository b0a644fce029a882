//! Who decides on permissions: the embedder's [`PermissionProvider`].

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

use mpkg_manifest::ScopeValue;

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
    /// The manifest's reason, if it gives one. From the package, too.
    pub reason: Option<String>,
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
    /// Yes, until it is taken back.
    AllowAlways,
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
    /// Decides on one request.
    fn decide<'a>(&'a self, request: &'a PermissionRequest) -> DecisionFuture<'a>;
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

impl PermissionProvider for StaticPermissions {
    fn decide<'a>(&'a self, request: &'a PermissionRequest) -> DecisionFuture<'a> {
        let allowed = self.everything || self.allowed.contains(&request.permission);
        Box::pin(std::future::ready(if allowed { Decision::AllowOnce } else { Decision::Deny }))
    }
}

/// Denies everything: what a host without a provider does.
#[derive(Debug, Clone, Copy, Default)]
pub struct DenyPermissions;

impl PermissionProvider for DenyPermissions {
    fn decide<'a>(&'a self, _: &'a PermissionRequest) -> DecisionFuture<'a> {
        Box::pin(std::future::ready(Decision::Deny))
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
