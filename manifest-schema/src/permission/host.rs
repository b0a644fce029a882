//! An embedder's own permissions: `host.<service>`, whose methods are `<service>.<anything>`.

/// The WIT interface that carries every host's own methods.
pub const HOST_INTERFACE: &str = "host";

/// First parts of method names that a host's own service cannot have: a service `cart` would make
/// `cart.checkout` a method of both `cart.write` and `host.cart`.
pub const RESERVED_NAMESPACES: &[&str] = &[
    "app",
    "cart",
    "clipboard",
    "clock",
    "device",
    "events",
    "files",
    "host",
    "lifecycle",
    "log",
    "mpkg",
    "network",
    "notifications",
    "payments",
    "random",
    "rpc",
    "storage",
    "system",
    "timers",
    "ui",
    "user",
];

/// Longest name of a host's own service.
const MAX_SERVICE_BYTES: usize = 63;

/// The permission that a host's own method is under: the part before the first dot names the service.
///
/// ```
/// use mpkg_manifest::permission::host_permission_for_method;
/// assert_eq!(host_permission_for_method("loyalty.points").as_deref(), Some("host.loyalty"));
/// assert_eq!(host_permission_for_method("cart.steal"), None);
/// assert_eq!(host_permission_for_method("loyalty"), None);
/// ```
#[must_use]
pub fn host_permission_for_method(method: &str) -> Option<String> {
    let (service, rest) = method.split_once('.')?;
    (is_service(service) && !rest.is_empty()).then(|| format!("host.{service}"))
}

/// The service that `host.<service>` names, if it is such a permission.
pub(super) fn service_of(permission: &str) -> Option<&str> {
    permission.strip_prefix("host.").filter(|service| is_service(service))
}

pub(super) fn is_host_permission(permission: &str) -> bool {
    service_of(permission).is_some()
}

fn is_service(service: &str) -> bool {
    is_service_shape(service) && !RESERVED_NAMESPACES.contains(&service)
}

/// `[a-z][a-z0-9-]*`
pub(super) fn is_service_shape(service: &str) -> bool {
    service.len() <= MAX_SERVICE_BYTES
        && service.starts_with(|c: char| c.is_ascii_lowercase())
        && service.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
