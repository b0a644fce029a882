//! The permission vocabulary: what an app can ask for, what that means to its user, and which bridge methods
//! it opens.

mod host;
mod name;
mod set;
mod vocabulary;

pub use host::{HOST_INTERFACE, RESERVED_NAMESPACES, host_permission_for_method};
pub use name::{PermissionName, PermissionNameError};
pub use set::{PermissionSet, ScopeError, ScopeValue};
pub use vocabulary::VOCABULARY;

use std::borrow::Cow;

/// A permission of the built-in vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// `log`: needs no permission.
    Log,
    /// `clock`: needs no permission.
    Clock,
    /// `random`: needs no permission.
    Random,
    /// `timers`: needs no permission.
    Timers,
    /// `storage`
    Storage,
    /// `network`
    Network,
    /// `events`
    Events,
    /// `user.profile`
    UserProfile,
    /// `device.location`
    DeviceLocation,
    /// `cart.read`
    CartRead,
    /// `cart.write`
    CartWrite,
    /// `payments.request`
    PaymentsRequest,
    /// `notifications`
    Notifications,
    /// `clipboard`
    Clipboard,
    /// `files`
    Files,
}

/// How much harm a permission can do in the wrong hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Risk {
    /// Stays within the app.
    Low,
    /// Reaches personal data, other people's servers or the user's attention.
    Sensitive,
    /// Can cost money or do what cannot be undone.
    High,
}

impl Risk {
    /// The class in lower case: `low`, `sensitive`, `high`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Sensitive => "sensitive",
            Self::High => "high",
        }
    }
}

/// What narrows a permission down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Nothing: all or not at all.
    None,
    /// The hosts in `mpkg.network.allow`.
    Hosts,
    /// A number of bytes.
    Quota,
}

/// One row of the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Which one it is.
    pub permission: Permission,
    /// Its name in manifests, such as `cart.read`.
    pub name: &'static str,
    /// What it lets an app do, for the app's user: a sentence that continues "This app can".
    pub sentence: &'static str,
    /// Its risk class.
    pub risk: Risk,
    /// The bridge methods under it.
    pub methods: &'static [&'static str],
    /// What narrows it down.
    pub scope: Scope,
    /// The interface of the package `mpkg:bridge` that carries its methods.
    pub interface: &'static str,
    /// Every app has it without asking.
    pub free: bool,
}

/// What there is to say about any permission, built-in or a host's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// See [`Spec::sentence`].
    pub sentence: Cow<'static, str>,
    /// See [`Spec::risk`]. A host's own permissions count as sensitive: only the host knows better.
    pub risk: Risk,
    /// See [`Spec::scope`].
    pub scope: Scope,
}

/// The built-in permission with that name.
///
/// ```
/// use mpkg_manifest::permission;
/// assert_eq!(permission::by_name("cart.read").unwrap().methods, ["cart.get"]);
/// assert!(permission::by_name("log").unwrap().free);
/// assert!(permission::by_name("host.loyalty").is_none());
/// ```
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Spec> {
    VOCABULARY.iter().find(|spec| spec.name == name)
}

/// The built-in permission whose methods that WIT interface carries (`cart-read`). `host` carries any host's
/// own.
#[must_use]
pub fn by_interface(interface: &str) -> Option<&'static Spec> {
    VOCABULARY.iter().find(|spec| spec.interface == interface)
}

/// The built-in permission that a method is under.
///
/// ```
/// use mpkg_manifest::permission;
/// assert_eq!(permission::method("cart.checkout").unwrap().name, "cart.write");
/// assert!(permission::method("cart.steal").is_none());
/// ```
#[must_use]
pub fn method(method: &str) -> Option<&'static Spec> {
    VOCABULARY.iter().find(|spec| spec.methods.contains(&method))
}

/// The WIT interface that carries a permission's methods, built-in or a host's own.
///
/// ```
/// use mpkg_manifest::permission;
/// assert_eq!(permission::interface_for("device.location"), Some("device-location"));
/// assert_eq!(permission::interface_for("host.loyalty"), Some("host"));
/// assert_eq!(permission::interface_for("nonsense"), None);
/// ```
#[must_use]
pub fn interface_for(name: &str) -> Option<&'static str> {
    match by_name(name) {
        Some(spec) => Some(spec.interface),
        None => host::is_host_permission(name).then_some(HOST_INTERFACE),
    }
}

/// What a permission means, built-in or a host's own.
///
/// ```
/// use mpkg_manifest::permission::{self, Risk};
/// assert_eq!(permission::describe("payments.request").unwrap().risk, Risk::High);
/// let own = permission::describe("host.loyalty").unwrap();
/// assert_eq!(own.sentence, "use the service `loyalty` of the app that hosts it");
/// ```
#[must_use]
pub fn describe(name: &str) -> Option<Description> {
    if let Some(spec) = by_name(name) {
        return Some(Description { sentence: spec.sentence.into(), risk: spec.risk, scope: spec.scope });
    }
    let service = host::service_of(name)?;
    let sentence = format!("use the service `{service}` of the app that hosts it").into();
    Some(Description { sentence, risk: Risk::Sensitive, scope: Scope::None })
}
