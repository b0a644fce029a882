//! The built-in permissions. `sdk/wit` has one interface for each row; `log`, `clock`, `random` and `timers` are
//! free.

use super::{Permission, Risk, Scope, Spec};

/// Every built-in permission.
pub const VOCABULARY: &[Spec] = &[
    Spec {
        permission: Permission::Log,
        name: "log",
        sentence: "write to its own log",
        risk: Risk::Low,
        methods: &["log.write"],
        scope: Scope::None,
        interface: "log",
        free: true,
    },
    Spec {
        permission: Permission::Clock,
        name: "clock",
        sentence: "read the time",
        risk: Risk::Low,
        methods: &["clock.now", "clock.monotonic"],
        scope: Scope::None,
        interface: "clock",
        free: true,
    },
    Spec {
        permission: Permission::Random,
        name: "random",
        sentence: "draw random numbers",
        risk: Risk::Low,
        methods: &["random.bytes"],
        scope: Scope::None,
        interface: "random",
        free: true,
    },
    Spec {
        permission: Permission::Timers,
        name: "timers",
        sentence: "be woken after a while",
        risk: Risk::Low,
        methods: &["timers.set", "timers.clear", "timers.list"],
        scope: Scope::None,
        interface: "timers",
        free: true,
    },
    Spec {
        permission: Permission::Storage,
        name: "storage",
        sentence: "remember its own data on this device, up to a fixed size",
        risk: Risk::Low,
        methods: &[
            "storage.get",
            "storage.set",
            "storage.delete",
            "storage.list",
            "storage.usage",
            "storage.transaction",
            "storage.clear",
            "storage.watch",
            "storage.unwatch",
        ],
        scope: Scope::Quota,
        interface: "storage",
        free: false,
    },
    Spec {
        permission: Permission::Network,
        name: "network",
        sentence: "exchange data with the internet hosts that it lists",
        risk: Risk::Sensitive,
        methods: &["network.fetch", "network.open", "network.read", "network.close"],
        scope: Scope::Hosts,
        interface: "network",
        free: false,
    },
    Spec {
        permission: Permission::Events,
        name: "events",
        sentence: "send messages to and receive messages from the app that hosts it",
        risk: Risk::Low,
        methods: &["events.publish", "events.subscribe", "events.unsubscribe"],
        scope: Scope::None,
        interface: "events",
        free: false,
    },
    Spec {
        permission: Permission::UserProfile,
        name: "user.profile",
        sentence: "see your name, your language and an id that stands for you",
        risk: Risk::Sensitive,
        methods: &["user.profile"],
        scope: Scope::None,
        interface: "user-profile",
        free: false,
    },
    Spec {
        permission: Permission::DeviceLocation,
        name: "device.location",
        sentence: "see where this device is",
        risk: Risk::Sensitive,
        methods: &["device.location"],
        scope: Scope::None,
        interface: "device-location",
        free: false,
    },
    Spec {
        permission: Permission::CartRead,
        name: "cart.read",
        sentence: "see what is in your shopping cart",
        risk: Risk::Sensitive,
        methods: &["cart.get"],
        scope: Scope::None,
        interface: "cart-read",
        free: false,
    },
    Spec {
        permission: Permission::CartWrite,
        name: "cart.write",
        sentence: "change your shopping cart and place the order",
        risk: Risk::High,
        methods: &["cart.add", "cart.update", "cart.remove", "cart.checkout"],
        scope: Scope::None,
        interface: "cart-write",
        free: false,
    },
    Spec {
        permission: Permission::PaymentsRequest,
        name: "payments.request",
        sentence: "ask you to pay, with you confirming each payment",
        risk: Risk::High,
        methods: &["payments.request"],
        scope: Scope::None,
        interface: "payments-request",
        free: false,
    },
    Spec {
        permission: Permission::Notifications,
        name: "notifications",
        sentence: "show you notifications",
        risk: Risk::Sensitive,
        methods: &["notifications.show"],
        scope: Scope::None,
        interface: "notifications",
        free: false,
    },
    Spec {
        permission: Permission::Clipboard,
        name: "clipboard",
        sentence: "read and replace what you have copied",
        risk: Risk::Sensitive,
        methods: &["clipboard.read", "clipboard.write"],
        scope: Scope::None,
        interface: "clipboard",
        free: false,
    },
    Spec {
        permission: Permission::Files,
        name: "files",
        sentence: "keep files in a private folder on this device, up to a fixed size",
        risk: Risk::Low,
        methods: &["files.read", "files.write", "files.delete", "files.list", "files.stat", "files.usage"],
        scope: Scope::Quota,
        interface: "files",
        free: false,
    },
];

impl Permission {
    /// Its name in manifests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Clock => "clock",
            Self::Random => "random",
            Self::Timers => "timers",
            Self::Storage => "storage",
            Self::Network => "network",
            Self::Events => "events",
            Self::UserProfile => "user.profile",
            Self::DeviceLocation => "device.location",
            Self::CartRead => "cart.read",
            Self::CartWrite => "cart.write",
            Self::PaymentsRequest => "payments.request",
            Self::Notifications => "notifications",
            Self::Clipboard => "clipboard",
            Self::Files => "files",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Risk, VOCABULARY};
    use crate::permission::RESERVED_NAMESPACES;

    #[test]
    fn rows_are_consistent() {
        let mut methods = BTreeSet::new();
        for (index, spec) in VOCABULARY.iter().enumerate() {
            assert_eq!(spec.permission as usize, index, "{}", spec.name);
            assert_eq!(spec.permission.name(), spec.name);
            assert_eq!(spec.name.replace('.', "-"), spec.interface);
            assert!(!spec.free || spec.risk == Risk::Low);
            for method in spec.methods {
                assert!(methods.insert(method), "{method} is under two permissions");
                let namespace = method.split('.').next().unwrap();
                assert!(RESERVED_NAMESPACES.contains(&namespace), "{namespace}");
            }
        }
    }
}
