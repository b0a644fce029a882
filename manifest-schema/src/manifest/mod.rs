//! The manifest's types.

mod icon;
mod language;
mod mpkg;
mod page;
mod reasons;
mod version;
mod window;

pub use icon::{Icon, IconSizes, IconSizesError};
pub use language::{Language, LanguageError};
pub use mpkg::{
    ABI, DEFAULT_QUOTA_BYTES, Files, Limits, MAX_CALLS_PER_SECOND, MAX_LIMIT_MS, MAX_MEMORY_BYTES,
    MAX_MESSAGE_BYTES, MAX_QUOTA_BYTES, MAX_RATES, MAX_STORAGE_SCHEMA, Mpkg, Network, Storage,
    WASM_PAGE_BYTES,
};
pub use page::{ColorScheme, DeviceType, Direction, KNOWN_DEVICE_TYPES, PermissionRequest, Widget};
pub use reasons::Reasons;
pub use version::{MAX_VERSION_NAME_BYTES, PlatformVersion, Version, VersionNameError, check_version_name};
pub use window::{
    BackgroundTextStyle, Color, ColorError, NavigationStyle, NavigationTextStyle, Orientation, Window,
};

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app_id::AppId;
use crate::json::Node;
use crate::path::PackagePath;
use crate::permission::{PermissionName, PermissionSet, Scope, ScopeValue};
use crate::problem::Problem;
use crate::span::Span;
use crate::text::{Paragraph, Text};
use crate::validate;

/// Members that this version does not know, kept as they are. W3C leaves them to vendors.
pub type Extra = BTreeMap<String, serde_json::Value>;

/// The manifest of a Mini App, `manifest.json`: a W3C MiniApp Manifest with the vendor member `mpkg`.
///
/// Read it with [`Manifest::parse`]. Reading it with serde alone checks each value, but neither the strict
/// JSON profile nor the rules between members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "Mini App manifest")]
pub struct Manifest {
    /// Identifier of the app in reverse DNS, lower case. It never changes.
    #[schemars(example = &"org.example.stock-alert")]
    pub app_id: AppId,
    /// The name shown to users.
    #[schemars(example = &"Stock alert")]
    pub name: Text<64>,
    /// A name for where the full one does not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"Stock")]
    pub short_name: Option<Text<24>>,
    /// What the app is for. Line breaks are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"Tells you when to reorder.")]
    pub description: Option<Paragraph<4000>>,
    /// Version of this release.
    #[schemars(example = serde_json::json!({ "code": 11, "name": "1.0.1" }))]
    pub version: Version,
    /// Versions of the hosting platform that the app works with.
    #[schemars(example = serde_json::json!({ "min_code": 1 }))]
    pub platform_version: PlatformVersion,
    /// Images that stand for the app, at least one.
    #[schemars(
        length(min = 1, max = 64),
        example = serde_json::json!([{ "src": "assets/icon.png", "sizes": "48x48" }])
    )]
    pub icons: Vec<Icon>,
    /// Routes of the app's pages, each once; the first is where the app starts. The file extension may be
    /// left out.
    #[schemars(
        length(min = 1, max = 1024),
        extend("uniqueItems" = true),
        example = serde_json::json!(["pages/index", "pages/detail"])
    )]
    pub pages: Vec<PackagePath>,
    /// Language of the texts in this manifest, as a BCP 47 tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"en-GB")]
    pub lang: Option<Language>,
    /// Base direction of the texts in this manifest and of the app.
    #[serde(default)]
    #[schemars(example = &"ltr")]
    pub dir: Direction,
    /// Preferred colour scheme.
    #[serde(default)]
    #[schemars(example = &"light")]
    pub color_scheme: ColorScheme,
    /// Devices that the app is made for; none given means any. W3C leaves the list open; common are
    /// `smartphone`, `tablet`, `tv`, `car`, `wearable` and `iot`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("uniqueItems" = true),
        example = serde_json::json!(["smartphone", "tablet"])
    )]
    pub device_type: Vec<DeviceType>,
    /// Permissions that the app asks for, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        example = serde_json::json!([{ "name": "device.location", "reason": "To show shops near you" }])
    )]
    pub req_permissions: Vec<PermissionRequest>,
    /// Widgets that come with the app.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), example = serde_json::json!([{ "name": "Stock", "path": "widgets/stock" }]))]
    pub widgets: Vec<Widget>,
    /// Look of the window that the app runs in.
    #[serde(default)]
    #[schemars(example = serde_json::json!({ "background_color": "#ffffff", "fullscreen": false }))]
    pub window: Window,
    /// What mpkg needs beyond W3C: the component and its limits.
    #[schemars(example = serde_json::json!({ "component": "app.wasm", "abi": 1 }))]
    pub mpkg: Mpkg,
    /// Other vendors' members, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A manifest that was accepted, and what there is to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The manifest.
    pub manifest: Manifest,
    /// What its author probably wants to know.
    pub warnings: Vec<Problem>,
    /// The same document with spans, to point at a line of it later.
    pub node: Node,
}

impl Parsed {
    /// Where the manifest asks for a permission: the span of its name.
    #[must_use]
    pub fn permission_span(&self, name: &str) -> Option<Span> {
        let requests = self.node.get("req_permissions")?.as_array()?;
        let names = requests.iter().filter_map(|request| request.get("name"));
        names.filter(|node| node.as_str() == Some(name)).map(|node| node.span).next()
    }
}

impl Manifest {
    /// Parses and checks a manifest.
    ///
    /// ```
    /// use mpkg_manifest::Manifest;
    /// let source = br#"{
    ///     "app_id": "org.example.hello", "name": "Hello", "version": {"code": 1, "name": "1.0.0"},
    ///     "platform_version": {"min_code": 1}, "icons": [{"src": "assets/icon.png"}], "pages": ["pages/index"],
    ///     "mpkg": {"component": "app.wasm", "abi": 1}
    /// }"#;
    /// let parsed = Manifest::parse(source).unwrap();
    /// assert_eq!(parsed.manifest.entry_page().as_str(), "pages/index");
    /// assert!(parsed.warnings.is_empty());
    ///
    /// let problems = Manifest::parse(br#"{"app_id": "Hello", "nmae": "Hello"}"#).unwrap_err();
    /// assert!(problems.len() > 5);
    /// ```
    ///
    /// # Errors
    /// Answers every problem, warnings too (see [`Problem::severity`]), in the order in which they stand in
    /// the source. At least one of them is an error.
    pub fn parse(source: &[u8]) -> Result<Parsed, Vec<Problem>> {
        validate::manifest(source)
    }

    /// The page at which the app starts: the first one.
    #[must_use]
    pub fn entry_page(&self) -> &PackagePath {
        // A manifest without pages is refused; one made by hand starts at its component.
        self.pages.first().unwrap_or(&self.mpkg.component)
    }

    /// The title of the app's window: `window.navigation_bar_title_text`, otherwise the app's name.
    #[must_use]
    pub fn window_title(&self) -> &str {
        self.window.navigation_bar_title_text.as_deref().unwrap_or(&self.name)
    }

    /// The name to show where there is little room.
    #[must_use]
    pub fn short_name(&self) -> &str {
        self.short_name.as_deref().unwrap_or(&self.name)
    }

    /// The reason that the manifest gives for a permission.
    #[must_use]
    pub fn reason(&self, permission: &str) -> Option<&str> {
        let request = self.req_permissions.iter().find(|request| request.name.as_str() == permission)?;
        request.reason.as_deref()
    }

    /// The reason for a permission in all languages that the manifest gives it in.
    #[must_use]
    pub fn reasons(&self, permission: &str) -> Reasons {
        let translated = self.mpkg.reasons.iter();
        Reasons {
            own: self.reason(permission).map(|text| (self.lang.clone(), text.to_owned())),
            translated: translated
                .filter_map(|(language, texts)| Some((language.clone(), texts.get(permission)?.to_string())))
                .collect(),
        }
    }

    /// Whether the app can be launched without this permission: it is asked for at first use.
    #[must_use]
    pub fn is_optional(&self, permission: &str) -> bool {
        self.mpkg.optional_permissions.iter().any(|name| name.as_str() == permission)
    }

    /// The permissions that the app asks for, with their scopes.
    #[must_use]
    pub fn permissions(&self) -> PermissionSet {
        let mut set = PermissionSet::default();
        for PermissionRequest { name, .. } in &self.req_permissions {
            let scope = match name.describe().scope {
                Scope::None => ScopeValue::None,
                Scope::Hosts => {
                    let mut hosts = self.mpkg.network.allow.clone();
                    hosts.sort();
                    hosts.dedup();
                    ScopeValue::Hosts(hosts)
                }
                Scope::Quota => ScopeValue::QuotaBytes(self.quota(name)),
            };
            // Refuses only `network` without hosts, which parsing refuses too: an app that may reach no host
            // does not have the permission.
            let _ = set.insert(name.clone(), scope);
        }
        set
    }

    fn quota(&self, name: &PermissionName) -> u64 {
        if name.as_str() == "files" { self.mpkg.files.quota_bytes } else { self.mpkg.storage.quota_bytes }
    }
}
