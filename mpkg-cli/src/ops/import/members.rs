//! The members of a manifest that mean something else here, or are stricter.

use mpkg_manifest::{AppId, Language, PermissionName};
use serde_json::{Map, Value, json};

use super::layout::{ASSETS, Layout};
use super::manifest::semantic;
use super::{Note, spec};

/// What stands in for a member that is needed and cannot be repaired.
pub(super) const PLACEHOLDERS: &[(&str, &str)] = &[
    ("/app_id", r#""com.example.imported""#),
    ("/name", r#""Imported MiniApp""#),
    ("/version", r#"{"code":1,"name":"0.1.0"}"#),
    ("/version/code", "1"),
    ("/version/name", r#""0.1.0""#),
    ("/platform_version", r#"{"min_code":1}"#),
    ("/platform_version/min_code", "1"),
    ("/icons", r#"[{"src":"assets/icon.svg"}]"#),
    ("/pages", r#"["pages/index"]"#),
];

/// The icon that an app without one begins with.
pub(super) const ICON: &str = "assets/icon.svg";

fn text<'a>(manifest: &'a Map<String, Value>, member: &str) -> Option<&'a str> {
    manifest.get(member).and_then(Value::as_str)
}

/// App id, language and name.
pub(super) fn identity(manifest: &mut Map<String, Value>, notes: &mut Vec<Note>) {
    let id = text(manifest, "app_id").unwrap_or_default().to_owned();
    let lower = id.trim().to_ascii_lowercase().replace('_', "-");
    if id.parse::<AppId>().is_err() {
        let (id, note) = if lower.parse::<AppId>().is_ok() {
            let what = format!("app_id is {lower} now: ids have lower case only");
            (lower, Note::repaired(what, spec::APP_ID))
        } else {
            let label: String =
                lower.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
            let label = label.trim_matches(|c: char| !c.is_ascii_lowercase()).to_owned();
            let id = format!("com.example.{}", if label.is_empty() { "imported" } else { label.as_str() });
            let what = format!("app_id is {id} now: choose one under a domain of yours, in reverse DNS");
            (id, Note::by_hand(what, spec::APP_ID))
        };
        manifest.insert("app_id".to_owned(), id.into());
        notes.push(note);
    }
    if let Some(tag) = text(manifest, "lang").map(|tag| tag.replace('_', "-"))
        && text(manifest, "lang") != Some(&tag)
        && tag.parse::<Language>().is_ok()
    {
        let what = format!("lang is {tag} now: the parts of a language tag are joined by `-`");
        notes.push(Note::repaired(what, spec::of_member("/lang")));
        manifest.insert("lang".to_owned(), tag.into());
    }
    if !manifest.contains_key("name") {
        manifest.insert("name".to_owned(), "Imported MiniApp".into());
        notes.push(Note::by_hand("name was missing: choose one", spec::of_member("/name")));
    }
}

/// Version: the code grows with every release, the name is a semantic version.
pub(super) fn version(manifest: &mut Map<String, Value>, notes: &mut Vec<Note>) {
    let version = manifest.entry("version").or_insert_with(|| json!({}));
    let Value::Object(version) = version else { return };
    match version.get("code") {
        Some(Value::Number(code)) if code.as_u64().is_some_and(|code| code > 0) => {}
        Some(Value::String(code)) if code.parse::<u64>().is_ok_and(|code| code > 0) => {
            let code: u64 = code.parse().unwrap_or(1);
            version.insert("code".to_owned(), code.into());
            notes.push(Note::repaired(format!("version.code is the number {code} now"), spec::VERSION_CODE));
        }
        _ => {
            version.insert("code".to_owned(), 1.into());
            let what = "version.code is 1 now: it must be greater in every release";
            notes.push(Note::by_hand(what, spec::VERSION_CODE));
        }
    }
    let name = version.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    match semantic(&name) {
        Some(semantic) if semantic == name => {}
        Some(semantic) => {
            let what = format!("version.name is {semantic} now: it is a semantic version here");
            version.insert("name".to_owned(), semantic.into());
            notes.push(Note::repaired(what, spec::VERSION_NAME));
        }
        None => {
            version.insert("name".to_owned(), "0.1.0".into());
            notes.push(Note::by_hand(
                "version.name is 0.1.0 now: choose a semantic version",
                spec::VERSION_NAME,
            ));
        }
    }
}

/// The old platform's numbers are not this host's.
pub(super) fn platform(manifest: &mut Map<String, Value>, notes: &mut Vec<Note>) {
    let platform = manifest.entry("platform_version").or_insert_with(|| json!({ "min_code": 1 }));
    if platform.get("min_code").is_none()
        && let Value::Object(platform) = platform
    {
        platform.insert("min_code".to_owned(), 1.into());
    }
    let what =
        "platform_version counts versions of the old platform: ask your Super App which numbers it has";
    notes.push(Note::by_hand(what, spec::PLATFORM));
}

/// Icons move to where they are packed. True if there is none left to start with.
pub(super) fn icons(manifest: &mut Map<String, Value>, layout: &Layout, notes: &mut Vec<Note>) -> bool {
    let icons = manifest.entry("icons").or_insert_with(|| json!([]));
    // One icon instead of a list of one is a common slip.
    if icons.is_object() {
        *icons = Value::Array(vec![icons.take()]);
        notes.push(Note::repaired("icons is a list of one icon now", spec::ICONS));
    }
    let Value::Array(list) = icons else { return true };
    let all = list.len();
    list.retain(|icon| icon.get("src").is_some_and(Value::is_string));
    if list.len() < all {
        let what = format!("{} without a `src`", crate::text::count(all - list.len(), "icon"));
        notes.push(Note::lost(what, spec::ICONS));
    }
    for (index, icon) in list.iter_mut().enumerate() {
        let Some(src) = icon.get_mut("src") else { continue };
        let old = relative(src.as_str().unwrap_or_default());
        if let Some(file) = layout.find(&old) {
            notes.push(Note::repaired(
                format!("icons.{index}.src is {} now, where it is packed", file.new),
                spec::ICONS,
            ));
            *src = file.new.as_str().into();
        } else {
            let new = format!("{ASSETS}/{old}");
            notes.push(Note::by_hand(
                format!("the icon {old} is not in the package: put it at {new}"),
                spec::ICONS,
            ));
            *src = new.into();
        }
    }
    if list.is_empty() {
        list.push(json!({ "src": ICON }));
        notes.push(Note::by_hand(format!("there was no icon: draw one in place of {ICON}"), spec::ICONS));
        return true;
    }
    false
}

/// Every page has an HTML resource of the same name; where the route and the file differ, the file is right.
pub(super) fn pages(manifest: &mut Map<String, Value>, layout: &Layout, notes: &mut Vec<Note>) {
    let documents: Vec<&str> =
        layout.files().iter().filter_map(|file| file.old.strip_suffix(".html")).collect();
    let pages = manifest.entry("pages").or_insert_with(|| json!([]));
    let Value::Array(list) = pages else { return };
    for page in list.iter_mut() {
        let Some(written) = page.as_str() else { continue };
        let route = relative(written);
        let bare = route.strip_suffix(".html").unwrap_or(&route);
        if documents.contains(&bare) {
            if route != written {
                notes.push(Note::repaired(format!("the page {written} is {route} now"), spec::PAGES));
                *page = route.into();
            }
            continue;
        }
        let same_name: Vec<&&str> =
            documents.iter().filter(|document| last(document) == last(bare)).collect();
        if let [only] = same_name.as_slice() {
            let what = format!(
                "the page {written} has no HTML resource, {only}.html is the one of that name: the page is {only} now"
            );
            notes.push(Note::repaired(what, spec::PAGES_FOLDER));
            *page = Value::from(**only);
        } else {
            let what = format!("the page {written} has no HTML resource");
            notes.push(Note::by_hand(what, spec::RESOURCES));
            *page = bare.to_owned().into();
        }
    }
    if list.is_empty() {
        let first = documents.iter().find(|document| document.starts_with("pages/")).copied();
        let first = first.unwrap_or("pages/index");
        notes.push(Note::by_hand(format!("pages was missing: it is {first} now"), spec::PAGES));
        list.push(first.into());
    }
}

/// W3C leaves the names of permissions to the platforms, so each has its own.
pub(super) fn permissions(manifest: &mut Map<String, Value>, notes: &mut Vec<Note>) {
    let Some(Value::Array(list)) = manifest.get_mut("req_permissions") else { return };
    let mut kept: Vec<String> = Vec::new();
    list.retain_mut(|request| {
        let Some(written) = request.get("name").and_then(Value::as_str).map(str::to_owned) else {
            return true;
        };
        let name = match written.parse::<PermissionName>() {
            Ok(name) => name.to_string(),
            Err(error) => match error.suggestion() {
                Some(near) => {
                    let what =
                        format!("the permission {written} is {near} now: check that it is what is meant");
                    notes.push(Note::repaired(what, spec::PERMISSION_NAME));
                    near.to_owned()
                }
                None => {
                    let what = format!("the permission {written}: nothing here corresponds to it");
                    notes.push(Note::lost(what, spec::PERMISSION_NAME));
                    return false;
                }
            },
        };
        if kept.contains(&name) {
            notes.push(Note::lost(format!("the permission {name} for a second time"), spec::PERMISSION_NAME));
            return false;
        }
        // It is refused without the hosts that it reaches, and W3C has no place for them.
        if name == "network" {
            let what =
                "the permission network: add it with the hosts that the app talks to, in mpkg.network.allow";
            notes.push(Note::by_hand(what, spec::PERMISSION_NAME));
            return false;
        }
        if let Value::Object(request) = request {
            request.insert("name".to_owned(), name.as_str().into());
        }
        let what =
            format!("call the bridge of the permission {name}: `mpkg build` refuses one that nothing uses");
        notes.push(Note::by_hand(what, spec::PERMISSION_NAME));
        kept.push(name);
        true
    });
    if list.is_empty() {
        manifest.remove("req_permissions");
    }
}

/// A path without what leads to the root directory.
fn relative(path: &str) -> String {
    path.trim().trim_start_matches("./").trim_start_matches('/').to_owned()
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
