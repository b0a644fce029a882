//! What changed from one package to another.

use std::collections::BTreeMap;
use std::path::Path;

use mpkg_manifest::{Manifest, PermissionSet, ScopeValue};
use mpkg_package::contents::{self, Contents};
use mpkg_package::wasm::ImportKind;
use serde::Serialize;
use serde_json::Value;

use crate::error::Outcome;
use crate::exit::Exit;
use crate::ops::package::{self, Opened};

/// Everything that differs.
#[derive(Debug, Serialize)]
pub(crate) struct Diff {
    pub(crate) before: Side,
    pub(crate) after: Side,
    pub(crate) identical: bool,
    /// Whether the second may do anything that the first may not.
    pub(crate) permissions_grew: bool,
    pub(crate) permissions: Vec<Permission>,
    pub(crate) imports: Names,
    /// Numbers and words of the manifest that hosts act on.
    pub(crate) limits: Vec<Limit>,
    pub(crate) files: Files,
}

/// One of the two packages.
#[derive(Debug, Serialize)]
pub(crate) struct Side {
    pub(crate) file: String,
    pub(crate) app_id: String,
    pub(crate) version: String,
    pub(crate) release_seq: u64,
    pub(crate) digest: String,
    pub(crate) size: u64,
}

/// What happened to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Change {
    Added,
    Removed,
    Changed,
}

/// A permission that is not what it was.
#[derive(Debug, Serialize)]
pub(crate) struct Permission {
    pub(crate) name: String,
    pub(crate) change: Change,
    /// Whether it allows more than before.
    pub(crate) grew: bool,
    /// In a user's words.
    pub(crate) can: String,
    pub(crate) before: Option<Asked>,
    pub(crate) after: Option<Asked>,
}

/// How a permission is asked for.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Asked {
    pub(crate) required: bool,
    pub(crate) scope: Value,
}

/// Names that came and went.
#[derive(Debug, Serialize)]
pub(crate) struct Names {
    pub(crate) added: Vec<String>,
    pub(crate) removed: Vec<String>,
}

/// A value that is not what it was.
#[derive(Debug, Serialize)]
pub(crate) struct Limit {
    pub(crate) name: &'static str,
    pub(crate) before: Value,
    pub(crate) after: Value,
}

/// Files that are not what they were.
#[derive(Debug, Serialize)]
pub(crate) struct Files {
    pub(crate) changes: Vec<File>,
    pub(crate) unchanged: usize,
}

/// A file that is not what it was; sizes in bytes.
#[derive(Debug, Serialize)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) change: Change,
    pub(crate) before: Option<u64>,
    pub(crate) after: Option<u64>,
}

/// Compares two packages. Signatures are not looked at.
pub(crate) fn diff(before: &Path, after: &Path) -> Outcome<Diff> {
    let (a, b) = (Opened::read(before)?, Opened::read(after)?);
    let (one, other) = (check(before, &a)?, check(after, &b)?);
    let (old, new) = (&one.manifest.manifest, &other.manifest.manifest);
    Ok(Diff {
        identical: a.unsigned() == b.unsigned(),
        permissions_grew: !new.permissions().is_subset_of(&old.permissions()),
        permissions: permissions(old, new),
        imports: names(&imports(&one), &imports(&other)),
        limits: limits(old, new),
        files: files(&one, &other),
        before: side(before, &a, old),
        after: side(after, &b, new),
    })
}

fn check<'a>(path: &Path, opened: &'a Opened) -> Outcome<Contents<'a>> {
    contents::check(opened.unsigned())
        .map_err(|error| package::refused_contents(path, opened.unsigned(), error, Exit::Failed))
}

fn side(path: &Path, opened: &Opened, manifest: &Manifest) -> Side {
    let digest = opened.digest();
    Side {
        file: path.display().to_string(),
        app_id: manifest.app_id.to_string(),
        version: manifest.version.name.to_string(),
        release_seq: manifest.version.code,
        digest: format!("sha256:{}", digest.sha256),
        size: digest.size,
    }
}

fn permissions(old: &Manifest, new: &Manifest) -> Vec<Permission> {
    let (before, after): (PermissionSet, PermissionSet) = (old.permissions(), new.permissions());
    let mut names: Vec<_> = before.names().chain(after.names()).collect();
    names.sort();
    names.dedup();
    let asked = |manifest: &Manifest, scope: &ScopeValue, name: &str| Asked {
        required: !manifest.is_optional(name),
        scope: serde_json::to_value(scope).unwrap_or_default(),
    };
    let one = |name: &mpkg_manifest::PermissionName| {
        let (was, is) = (before.get(name), after.get(name));
        let change = change(was.is_some(), is.is_some());
        let permission = Permission {
            name: name.to_string(),
            change,
            grew: is.is_some_and(|is| !was.is_some_and(|was| is.is_within(was))),
            can: name.describe().sentence.into_owned(),
            before: was.map(|scope| asked(old, scope, name)),
            after: is.map(|scope| asked(new, scope, name)),
        };
        (permission.before != permission.after).then_some(permission)
    };
    names.into_iter().filter_map(one).collect()
}

fn change(before: bool, after: bool) -> Change {
    match (before, after) {
        (false, _) => Change::Added,
        (true, false) => Change::Removed,
        (true, true) => Change::Changed,
    }
}

fn imports(contents: &Contents<'_>) -> Vec<String> {
    let imports = contents.info.imports.iter().filter(|import| import.kind != ImportKind::Types);
    imports.map(|import| import.name.clone()).collect()
}

fn names(before: &[String], after: &[String]) -> Names {
    let only = |here: &[String], there: &[String]| -> Vec<String> {
        here.iter().filter(|name| !there.contains(name)).cloned().collect()
    };
    Names { added: only(after, before), removed: only(before, after) }
}

fn limits(old: &Manifest, new: &Manifest) -> Vec<Limit> {
    let values = |manifest: &Manifest| -> [(&'static str, Value); 7] {
        let mpkg = &manifest.mpkg;
        [
            ("mpkg.abi", mpkg.abi.into()),
            ("mpkg.limits.memory_bytes", mpkg.limits.memory_bytes.into()),
            ("mpkg.storage.quota_bytes", mpkg.storage.quota_bytes.into()),
            ("mpkg.storage.schema", mpkg.storage.schema.into()),
            ("mpkg.files.quota_bytes", mpkg.files.quota_bytes.into()),
            ("platform_version.min_code", manifest.platform_version.min_code.into()),
            ("platform_version.target_code", manifest.platform_version.target_code.into()),
        ]
    };
    values(old)
        .into_iter()
        .zip(values(new))
        .filter(|((_, before), (_, after))| before != after)
        .map(|((name, before), (_, after))| Limit { name, before, after })
        .collect()
}

fn files(one: &Contents<'_>, other: &Contents<'_>) -> Files {
    type Both<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);
    let mut both: BTreeMap<&str, Both<'_>> = BTreeMap::new();
    for entry in one.container.entries() {
        both.entry(entry.name).or_default().0 = Some(entry.data);
    }
    for entry in other.container.entries() {
        both.entry(entry.name).or_default().1 = Some(entry.data);
    }
    let all = both.len();
    let size = |data: Option<&[u8]>| data.map(|data| data.len() as u64);
    let changes: Vec<File> = both
        .into_iter()
        .filter(|(_, (before, after))| before != after)
        .map(|(name, (before, after))| File {
            name: name.to_owned(),
            change: change(before.is_some(), after.is_some()),
            before: size(before),
            after: size(after),
        })
        .collect();
    Files { unchanged: all - changes.len(), changes }
}
