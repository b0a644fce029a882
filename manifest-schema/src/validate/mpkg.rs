//! The vendor member `mpkg`, as far as it stands for itself; what it says about permissions is checked with
//! those.

use super::check::{At, Check, Known, Unknown};
use crate::codes;
use crate::manifest::{
    ABI, MAX_CALLS_PER_SECOND, MAX_LIMIT_MS, MAX_MEMORY_BYTES, MAX_MESSAGE_BYTES, MAX_QUOTA_BYTES, MAX_RATES,
    MAX_STORAGE_SCHEMA, WASM_PAGE_BYTES,
};
use crate::path::PackagePath;
use crate::permission::{VOCABULARY, host_permission_for_method, method};
use crate::problem::quote;
use crate::suggest::suggest;

const MPKG: &[Known] = &[
    ("component", true),
    ("abi", true),
    ("network", false),
    ("storage", false),
    ("files", false),
    ("limits", false),
    ("optional_permissions", false),
    ("reasons", false),
];

pub(super) fn mpkg(check: &mut Check, root: &At<'_>) {
    let Some(at) = root.get("mpkg") else { return };
    if !check.object(&at, MPKG, Unknown::Refuse) {
        return;
    }
    component(check, &at);
    abi(check, &at);
    if let Some(network) = at.get("network") {
        check.object(&network, &[("allow", false)], Unknown::Refuse);
    }
    const QUOTA: (&str, bool) = ("quota_bytes", false);
    if let Some(at) = at.get("storage")
        && check.object(&at, &[QUOTA, ("schema", false)], Unknown::Refuse)
    {
        check.int(&at, QUOTA.0, 1, MAX_QUOTA_BYTES);
        check.int(&at, "schema", 1, MAX_STORAGE_SCHEMA.into());
    }
    if let Some(at) = at.get("files")
        && check.object(&at, &[QUOTA], Unknown::Refuse)
    {
        check.int(&at, QUOTA.0, 1, MAX_QUOTA_BYTES);
    }
    if let Some(at) = at.get("limits")
        && check.object(&at, LIMITS, Unknown::Refuse)
    {
        memory(check, &at);
        for (key, min, max) in RANGES {
            check.int(&at, key, *min, *max);
        }
        if let Some(at) = at.get("calls_per_second") {
            rates(check, &at);
        }
    }
}

const LIMITS: &[(&str, bool)] = &[
    ("memory_bytes", false),
    ("cpu_ms_per_call", false),
    ("cpu_ms_per_second", false),
    ("wall_ms_per_call", false),
    ("message_bytes", false),
    ("calls_in_flight", false),
    ("call_depth", false),
    ("log_lines_per_second", false),
    ("calls_per_second", false),
];

/// What each limit that is a number, but the memory, may be; the same as in its schema.
const RANGES: &[(&str, u64, u64)] = &[
    ("cpu_ms_per_call", 1, MAX_LIMIT_MS as u64),
    ("cpu_ms_per_second", 1, 1000),
    ("wall_ms_per_call", 1, MAX_LIMIT_MS as u64),
    ("message_bytes", 1024, MAX_MESSAGE_BYTES as u64),
    ("calls_in_flight", 1, 1024),
    ("call_depth", 1, 256),
    ("log_lines_per_second", 1, 10_000),
];

fn component(check: &mut Check, mpkg: &At<'_>) {
    if let Some(at) = mpkg.get("component")
        && let Some(path) = check.parsed::<PackagePath>(&at)
        && path.folded() == "manifest.json"
    {
        let message = format!("{} names the manifest itself", at.label());
        check.push(
            at.problem(codes::COMPONENT, message).expected("a WebAssembly component, such as `app.wasm`"),
        );
    }
}

fn abi(check: &mut Check, mpkg: &At<'_>) {
    if let Some(number) = check.int(mpkg, "abi", 0, u32::MAX.into())
        && number != u64::from(ABI)
        && let Some(at) = mpkg.get("abi")
    {
        let message =
            format!("{} is {number}, an interface that this version of mpkg does not know", at.label());
        let problem = at.problem(codes::ABI, message).expected(format!("`{ABI}`"));
        check.push(problem.suggestion(Some(ABI.to_string())));
    }
}

fn memory(check: &mut Check, limits: &At<'_>) {
    if let Some(bytes) = check.int(limits, "memory_bytes", WASM_PAGE_BYTES, MAX_MEMORY_BYTES)
        && bytes % WASM_PAGE_BYTES != 0
        && let Some(at) = limits.get("memory_bytes")
    {
        let message = format!("{} is {bytes}, not a whole number of pages", at.label());
        let problem = at.problem(codes::RANGE, message).expected(format!("a multiple of {WASM_PAGE_BYTES}"));
        check.push(problem.suggestion(Some(bytes.next_multiple_of(WASM_PAGE_BYTES).to_string())));
    }
}

fn rates(check: &mut Check, rates: &At<'_>) {
    for (key, _) in check.members(rates, MAX_RATES) {
        if method(key.text).is_some() || host_permission_for_method(key.text).is_some() {
            check.int(rates, key.text, 1, MAX_CALLS_PER_SECOND.into());
            continue;
        }
        // A rate that is silently not applied because of a typing error is worse than none.
        let message = format!("{} is no method of a bridge", quote(key.text));
        let methods = VOCABULARY.iter().flat_map(|spec| spec.methods.iter().copied());
        let problem = key.problem(codes::UNKNOWN_MEMBER, message).expected("a method, such as `storage.set`");
        check.push(problem.suggestion(suggest(key.text, methods)));
    }
}
