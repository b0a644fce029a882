//! Reasons for permissions.

use super::checks;
use super::subject::Subject;
use crate::ops::finding::Finding;
use crate::ops::manifest::NAME;

pub(super) fn check(subject: &Subject, findings: &mut Vec<Finding>) {
    for (index, request) in subject.manifest().req_permissions.iter().enumerate() {
        if request.reason.is_none() {
            let name = &request.name;
            let message =
                format!("the permission {name} has no reason: it lets the app {}", name.describe().sentence);
            let at = subject.manifest_place(&format!("/req_permissions/{index}"));
            findings.push(Finding::new(&checks::NO_REASON, message).place(NAME, at));
        }
    }
}
