//! Small W3C resources: direction, colour scheme, devices, permission requests, widgets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Extra;
use crate::path::PackagePath;
use crate::permission::PermissionName;
use crate::text::Text;

/// Implements `VALUES` and `as_str` for a closed list of words.
macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $name {
            /// The words that a manifest can say here.
            pub const VALUES: &'static [&'static str] = &[$($word),+];

            /// The word that a manifest says for this.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }
    };
}
pub(super) use words;

/// Base direction of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Left to right.
    Ltr,
    /// Right to left.
    Rtl,
    /// No explicit direction.
    #[default]
    Auto,
}

words!(Direction { Ltr = "ltr", Rtl = "rtl", Auto = "auto" });

/// Preferred colour scheme.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ColorScheme {
    /// As the system is set.
    #[default]
    Auto,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

words!(ColorScheme { Auto = "auto", Light = "light", Dark = "dark" });

/// Device types that platforms commonly know. W3C leaves the list open, so that others are only warned about.
pub const KNOWN_DEVICE_TYPES: &[&str] =
    &["smartphone", "phone", "tablet", "tv", "car", "wearable", "iot", "desktop"];

/// A kind of device, such as `smartphone`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct DeviceType(pub Text<32>);

/// A permission that the app asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PermissionRequest {
    /// Which permission.
    #[schemars(example = &"device.location")]
    pub name: PermissionName,
    /// Why the app needs it, shown to the user with the question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"To show shops near you")]
    pub reason: Option<Text<200>>,
    /// Other vendors' members, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A widget that comes with the app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Widget {
    /// The widget's title.
    #[schemars(example = &"Stock")]
    pub name: Text<64>,
    /// The widget's route, like those in `pages`.
    #[schemars(example = &"widgets/stock")]
    pub path: PackagePath,
    /// The oldest platform version that the widget works on; that of `platform_version` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 9_007_199_254_740_991_u64), example = 2)]
    pub min_code: Option<u64>,
    /// Other vendors' members, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}
