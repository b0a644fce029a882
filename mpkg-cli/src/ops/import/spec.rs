//! The sections of the W3C MiniApp specifications that an import goes by.

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

/// A section of a specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) spec: &'static str,
    pub(crate) number: &'static str,
    pub(crate) title: &'static str,
    page: &'static str,
    /// The nearest place that can be linked to.
    anchor: &'static str,
}

impl Section {
    /// A link to it.
    pub(crate) fn url(&self) -> String {
        format!("https://www.w3.org/TR/{}/#{}", self.page, self.anchor)
    }
}

impl std::fmt::Display for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.spec, self.number, self.title)
    }
}

impl Serialize for Section {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut section = serializer.serialize_struct("Section", 4)?;
        section.serialize_field("spec", self.spec)?;
        section.serialize_field("number", self.number)?;
        section.serialize_field("title", self.title)?;
        section.serialize_field("url", &self.url())?;
        section.end()
    }
}

const fn packaging(number: &'static str, title: &'static str, anchor: &'static str) -> Section {
    Section { spec: "MiniApp Packaging", number, title, page: "miniapp-packaging", anchor }
}

const fn manifest(number: &'static str, title: &'static str, anchor: &'static str) -> Section {
    Section { spec: "MiniApp Manifest", number, title, page: "miniapp-manifest", anchor }
}

pub(super) const STRUCTURE: Section =
    packaging("2.1", "Directory and File System Structure", "sec-filestructure");
pub(super) const ROOT: Section = packaging("2.1.1", "Root Directory", "sec-filestructure");
pub(super) const PAGES_FOLDER: Section = packaging("2.1.2", "pages Directory", "sec-pages-directory");
pub(super) const COMMON: Section = packaging("2.1.3", "common Directory", "sec-filestructure");
pub(super) const I18N: Section = packaging("2.1.4", "i18n Directory", "sec-filestructure");
pub(super) const NAMES: Section = packaging("2.1.5", "File and Path Names", "sec-filestructure");
pub(super) const RESOURCES: Section = packaging("2.2", "MiniApp Resources", "sec-miniapp-resources");
pub(super) const HTML: Section = packaging("2.2.1", "HTML Resources", "sec-miniapp-resources-html");
pub(super) const CSS: Section = packaging("2.2.2", "CSS Resources", "sec-miniapp-resources-css");
pub(super) const SCRIPTS: Section = packaging("2.2.3", "Scripting Resources", "sec-miniapp-resources-js");
pub(super) const ZIP: Section =
    packaging("3.2", "ZIP File Requirements", "sec-miniapp-zip-file-requirements");
pub(super) const SIGNATURE: Section =
    packaging("3.3", "Digital Signature Requirements", "sec-miniapp-digital-signature-requirements");
pub(super) const MANIFEST_JSON: Section =
    packaging("5.3", "MiniApp Manifest Processing", "sec-miniapp-processing-manifest");
pub(super) const RUNTIME: Section =
    packaging("5.4", "Platform Runtime Preparation", "sec-miniapp-platform-runtime-preparation");

pub(super) const ICONS: Section = manifest("1.4.2", "icons member", "webappmanifest-members");
pub(super) const APP_ID: Section = manifest("1.6.1", "app_id member", "supplementary-manifest-members");
pub(super) const PAGES: Section = manifest("1.6.4", "pages member", "supplementary-manifest-members");
pub(super) const PLATFORM: Section =
    manifest("1.6.5", "platform_version member", "supplementary-manifest-members");
pub(super) const PERMISSION_NAME: Section = manifest("3.1", "name member", "permission-name");
pub(super) const VERSION_CODE: Section = manifest("4.1", "code member", "sec-version-resources");
pub(super) const VERSION_NAME: Section = manifest("4.2", "name member", "version-name");
pub(super) const EXTENSIBILITY: Section = manifest("D", "Extensibility", "extensibility");

/// Members of the manifest that have a section of their own.
const MEMBERS: &[(&str, Section)] = &[
    ("dir", manifest("1.4.1", "dir member", "webappmanifest-members")),
    ("icons", ICONS),
    ("lang", manifest("1.4.3", "lang member", "webappmanifest-members")),
    ("name", manifest("1.4.4", "name member", "webappmanifest-members")),
    ("short_name", manifest("1.4.5", "short_name member", "webappmanifest-members")),
    ("description", manifest("1.5.1", "description member", "webappmanifest-app-info-members")),
    ("app_id", APP_ID),
    ("color_scheme", manifest("1.6.2", "color_scheme member", "supplementary-manifest-members")),
    ("device_type", manifest("1.6.3", "device_type member", "supplementary-manifest-members")),
    ("pages", PAGES),
    ("platform_version", PLATFORM),
    ("req_permissions", manifest("1.6.6", "req_permissions member", "supplementary-manifest-members")),
    ("version", manifest("1.6.7", "version member", "supplementary-manifest-members")),
    ("widgets", manifest("1.6.8", "widgets member", "supplementary-manifest-members")),
    ("window", manifest("6", "MiniApp window resource members", "sec-window-resource-members")),
];

/// The section about the member at a JSON pointer.
pub(super) fn of_member(pointer: &str) -> Section {
    let name = pointer.trim_start_matches('/').split('/').next().unwrap_or_default();
    MEMBERS.iter().find(|(member, _)| *member == name).map_or(EXTENSIBILITY, |(_, section)| *section)
}
