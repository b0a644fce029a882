//! Finding a code in the tables of all crates.

use mpkg_manifest::rules::Rule;
use serde::Serialize;

use crate::ops::{doctor, lint};
use crate::rules;

/// One code.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Entry {
    pub(crate) code: String,
    pub(crate) title: String,
    pub(crate) why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<String>,
}

/// Every code, in order.
pub(crate) fn all() -> Vec<Entry> {
    let tables: &[&[Rule]] = &[
        mpkg_manifest::rules::RULES,
        mpkg_package::rules::RULES,
        mpkg_fleet::RULES,
        mpkg_registry_client::RULES,
        #[cfg(feature = "serve")]
        mpkg_registry::RULES,
        #[cfg(feature = "run")]
        miniapp_runtime::rules::RULES,
        rules::RULES,
    ];
    let mut rules: Vec<Entry> = tables
        .iter()
        .copied()
        .flatten()
        .chain(lint::CHECKS.iter().chain(doctor::CHECKS).map(|check| &check.rule))
        .map(|rule| Entry {
            code: rule.code.to_owned(),
            title: rule.title.to_owned(),
            why: rule.attack.to_owned(),
            fix: Some(rule.fix.to_owned()),
        })
        .collect();
    rules.sort_by(|a, b| a.code.cmp(&b.code));
    rules.extend(rules::RPC_CODES.iter().map(|(code, name, meaning)| Entry {
        code: code.to_string(),
        title: format!("JSON-RPC error {name}"),
        why: (*meaning).to_owned(),
        fix: None,
    }));
    rules
}

/// The entry of `code`, which may be written without its prefix and in any case. On failure the nearest code.
pub(crate) fn find(code: &str) -> Result<Entry, Option<String>> {
    let typed = code.trim().to_ascii_uppercase();
    let full =
        if typed.starts_with("MPKG-") || typed.starts_with('-') { typed } else { format!("MPKG-{typed}") };
    let all = all();
    if let Some(entry) = all.iter().find(|entry| entry.code == full) {
        return Ok(entry.clone());
    }
    let near = all.iter().map(|entry| (strsim::damerau_levenshtein(&entry.code, &full), &entry.code));
    Err(near.filter(|(distance, _)| *distance <= 2).min().map(|(_, code)| code.clone()))
}
