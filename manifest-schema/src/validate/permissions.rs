//! Permissions: the ones asked for, and what `mpkg` says about them.

use std::collections::BTreeSet;

use super::check::{At, Check, Key, Unknown};
use crate::codes;
use crate::host_pattern::HostPattern;
use crate::manifest::Language;
use crate::permission::{PermissionName, PermissionNameError, Risk};
use crate::problem::quote;
use crate::suggest::suggest;
use crate::text::Text;

/// The most languages that reasons can be given in.
const MAX_LANGUAGES: usize = 64;

/// The permissions that a manifest asks for.
struct Asked<'n> {
    /// Names as written, each with what was probably meant, so that one typing error does not cause a second
    /// complaint about what hangs on that permission.
    names: BTreeSet<String>,
    /// The entry that asks for `network`.
    network: Option<At<'n>>,
}

pub(super) fn permissions(check: &mut Check, root: &At<'_>) {
    let asked = requests(check, root);
    let Some(mpkg) = root.get("mpkg").filter(|at| at.node.as_object().is_some()) else { return };
    optional(check, &mpkg, &asked);
    reasons(check, &mpkg, &asked);
    network(check, &mpkg, &asked);
    for key in ["storage", "files"] {
        if let Some(at) = mpkg.get(key)
            && !asked.names.contains(key)
        {
            let message = format!("{} sets a quota, but the permission `{key}` is not asked for", at.label());
            let help = format!("add `{key}` to `req_permissions`, or remove this");
            check.push(at.problem(codes::UNUSED_QUOTA, message).help(help).warning());
        }
    }
}

fn requests<'n>(check: &mut Check, root: &At<'n>) -> Asked<'n> {
    let mut asked = Asked { names: BTreeSet::new(), network: None };
    let mut names = Vec::new();
    for at in check.list(root, "req_permissions", 0, 64) {
        if !check.object(&at, &[("name", true), ("reason", false)], Unknown::Keep) {
            continue;
        }
        let reason = at.get("reason");
        check.member::<Text<200>>(&at, "reason");
        let Some(name) = at.get("name") else { continue };
        let Some(text) = check.string(&name) else { continue };
        asked.names.insert(text.to_owned());
        match text.parse::<PermissionName>() {
            Ok(permission) => {
                if permission.as_str() == "network" {
                    asked.network = Some(name.clone());
                }
                let risk = permission.describe().risk;
                if reason.is_none() && risk >= Risk::Sensitive {
                    no_reason(check, &name, risk);
                }
            }
            Err(error) => {
                if let PermissionNameError::Unknown { suggestion: Some(meant), .. } = &error {
                    asked.names.insert((*meant).to_owned());
                }
                check.refusal(&name, text, &error);
            }
        }
        names.push(name);
    }
    check.unique(&names);
    asked
}

fn no_reason(check: &mut Check, name: &At<'_>, risk: Risk) {
    let text = name.node.as_str().unwrap_or_default();
    let class = if risk == Risk::High { "high-risk" } else { "sensitive" };
    let message = format!("`{text}` is a {class} permission, asked for without a `reason`");
    let help = "add a `reason`: users see it with the question, and refuse more often without one";
    check.push(name.problem(codes::NO_REASON, message).help(help).warning());
}

fn optional(check: &mut Check, mpkg: &At<'_>, asked: &Asked<'_>) {
    let items = check.list(mpkg, "optional_permissions", 0, 64);
    for at in &items {
        let Some(text) = check.string(at) else { continue };
        if asked.names.contains(text) {
            // Asked for and no permission: said there.
            continue;
        }
        match text.parse::<PermissionName>() {
            Ok(_) => {
                let message = format!("{} is optional, but not asked for", quote(text));
                let help = "optional permissions are those of `req_permissions` that the app can do without";
                let problem = at.problem(codes::OPTIONAL_NOT_ASKED, message).help(help);
                // Names that were asked for and are none would be repeated as they are.
                let names = asked.names.iter().map(String::as_str);
                let valid = names.filter(|name| name.parse::<PermissionName>().is_ok());
                check.push(problem.suggestion(suggest(text, valid)));
            }
            Err(error) => check.refusal(at, text, &error),
        }
    }
    check.unique(&items);
}

/// Reasons in further languages. Their keys are the author's own, so a complaint about one names it by its place.
fn reasons(check: &mut Check, mpkg: &At<'_>, asked: &Asked<'_>) {
    let Some(at) = mpkg.get("reasons") else { return };
    let mut languages = BTreeSet::new();
    for (key, translated) in check.members(&at, MAX_LANGUAGES) {
        if let Err(error) = key.text.parse::<Language>() {
            check.refused_key(&key, &error);
        } else if !languages.insert(key.text.to_ascii_lowercase()) {
            // Language tags are compared without regard to case (BCP 47, section 2.1.1).
            let message = format!("{} is given twice", quote(key.text));
            check.push(key.problem(codes::DUPLICATE, message).help("put the reasons under one of them"));
        }
        for (key, reason) in check.members(&translated, 64) {
            check.parsed::<Text<200>>(&reason);
            if !asked.names.contains(key.text) {
                reason_not_asked(check, &key, asked);
            }
        }
    }
}

fn reason_not_asked(check: &mut Check, key: &Key<'_>, asked: &Asked<'_>) {
    if let Err(error) = key.text.parse::<PermissionName>() {
        return check.refused_key(key, &error);
    }
    let message = format!("{} has a reason here, but is not asked for", quote(key.text));
    let names = asked.names.iter().map(String::as_str);
    let valid = names.filter(|name| name.parse::<PermissionName>().is_ok());
    let problem = key.problem(codes::REASON_NOT_ASKED, message).suggestion(suggest(key.text, valid));
    check.push(problem.help("add the permission to `req_permissions`, or remove its reason"));
}

fn network(check: &mut Check, mpkg: &At<'_>, asked: &Asked<'_>) {
    let member = mpkg.get("network");
    let hosts = member.as_ref().map(|at| check.list(at, "allow", 0, 64)).unwrap_or_default();
    for host in &hosts {
        check.parsed::<HostPattern>(host);
    }
    check.unique(&hosts);
    let allow = member.as_ref().and_then(|at| at.get("allow"));
    // Anything but a list was complained about already.
    let listed = allow.as_ref().is_some_and(|at| at.node.as_array().is_none_or(|items| !items.is_empty()));
    if let Some(at) = &asked.network
        && !listed
    {
        let message = "the permission `network` is asked for, but `mpkg.network.allow` lists no hosts";
        let problem = at.problem(codes::NETWORK_HOSTS, message);
        check.push(problem.help("list the hosts that the app talks to in `mpkg.network.allow`"));
    }
    if let Some(at) = &allow
        && !hosts.is_empty()
        && !asked.names.contains("network")
    {
        let message = format!("{} lists hosts, but the permission `network` is not asked for", at.label());
        check.push(at.problem(codes::NETWORK_HOSTS, message).help("add `network` to `req_permissions`"));
    }
}
