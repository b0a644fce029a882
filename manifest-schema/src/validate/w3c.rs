//! The members of the W3C MiniApp Manifest.

use super::check::{At, Check, Known, Unknown};
use super::refusal::Refusal;
use super::{mpkg, permissions, window};
use crate::app_id::AppId;
use crate::codes;
use crate::json::MAX_SAFE_INTEGER;
use crate::manifest::{ColorScheme, Direction, IconSizes, KNOWN_DEVICE_TYPES, Language, check_version_name};
use crate::path::PackagePath;
use crate::problem::quote;
use crate::suggest::suggest;
use crate::text::{Paragraph, Text};

const ROOT: &[Known] = &[
    ("app_id", true),
    ("name", true),
    ("short_name", false),
    ("description", false),
    ("version", true),
    ("platform_version", true),
    ("icons", true),
    ("pages", true),
    ("lang", false),
    ("dir", false),
    ("color_scheme", false),
    ("device_type", false),
    ("req_permissions", false),
    ("widgets", false),
    ("window", false),
    ("mpkg", true),
];

/// The greatest whole number that JSON carries safely.
pub(super) const MAX_INT: u64 = MAX_SAFE_INTEGER.unsigned_abs();

pub(super) fn root(check: &mut Check, at: &At<'_>) {
    if !check.object(at, ROOT, Unknown::Keep) {
        return;
    }
    check.member::<AppId>(at, "app_id");
    check.member::<Text<64>>(at, "name");
    check.member::<Text<24>>(at, "short_name");
    check.member::<Paragraph<4000>>(at, "description");
    check.member::<Language>(at, "lang");
    check.word(at, "dir", Direction::VALUES);
    check.word(at, "color_scheme", ColorScheme::VALUES);
    version(check, at);
    platform_version(check, at);
    for icon in check.list(at, "icons", 1, 64) {
        self::icon(check, &icon);
    }
    let pages = check.list(at, "pages", 1, 1024);
    for page in &pages {
        check.parsed::<PackagePath>(page);
    }
    check.unique(&pages);
    device_types(check, at);
    for widget in check.list(at, "widgets", 0, 64) {
        self::widget(check, &widget);
    }
    if let Some(at) = at.get("window") {
        window::window(check, &at);
    }
    mpkg::mpkg(check, at);
    permissions::permissions(check, at);
}

fn version(check: &mut Check, root: &At<'_>) {
    let Some(at) = root.get("version") else { return };
    if !check.object(&at, &[("code", true), ("name", true)], Unknown::Keep) {
        return;
    }
    check.int(&at, "code", 1, MAX_INT);
    if let Some(name) = at.get("name")
        && let Some(text) = check.string(&name)
        && let Err(error) = check_version_name(text)
    {
        check.refusal(&name, text, &error);
    }
}

fn platform_version(check: &mut Check, root: &At<'_>) {
    let Some(at) = root.get("platform_version") else { return };
    let known = [("min_code", true), ("target_code", false), ("release_type", false)];
    if !check.object(&at, &known, Unknown::Keep) {
        return;
    }
    let min = check.int(&at, "min_code", 0, MAX_INT);
    let target = check.int(&at, "target_code", 0, MAX_INT);
    check.member::<Text<64>>(&at, "release_type");
    if let (Some(min), Some(target), Some(at)) = (min, target, at.get("target_code"))
        && target < min
    {
        let message = format!("{} is {target}, below `min_code`, which is {min}", at.label());
        check.push(at.problem(codes::TARGET_BELOW_MIN, message).expected(format!("{min} or more")));
    }
}

fn icon(check: &mut Check, at: &At<'_>) {
    if check.object(at, &[("src", true), ("sizes", false), ("label", false)], Unknown::Keep) {
        check.member::<PackagePath>(at, "src");
        check.member::<IconSizes>(at, "sizes");
        check.member::<Text<256>>(at, "label");
    }
}

fn widget(check: &mut Check, at: &At<'_>) {
    if check.object(at, &[("name", true), ("path", true), ("min_code", false)], Unknown::Keep) {
        check.member::<Text<64>>(at, "name");
        check.member::<PackagePath>(at, "path");
        check.int(at, "min_code", 0, MAX_INT);
    }
}

fn device_types(check: &mut Check, root: &At<'_>) {
    let items = check.list(root, "device_type", 0, 64);
    for at in &items {
        let Some(text) = check.string(at) else { continue };
        if let Err(error) = text.parse::<Text<32>>() {
            check.push(at.problem(Refusal::code(&error), format!("{}: {error}", at.label())));
        } else if !KNOWN_DEVICE_TYPES.contains(&text) {
            let message = format!("{} is not a device type that platforms commonly know", quote(text));
            let problem = at.problem(codes::DEVICE_TYPE, message).warning();
            let problem = problem.expected(super::check::one_of(KNOWN_DEVICE_TYPES));
            check.push(problem.suggestion(suggest(text, KNOWN_DEVICE_TYPES.iter().copied())));
        }
    }
    check.unique(&items);
}
