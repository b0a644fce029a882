//! These run natively, against a fake host: `cargo test`.

use mpkg_sdk::testing::{FakeHost, Launched};
use mpkg_sdk::{Denied, Error};
use serde_json::json;

use super::Notes;

const MANIFEST: &str = include_str!("../manifest.json");

#[test]
fn notes_are_added_listed_and_removed() {
    let _host = FakeHost::with_manifest(MANIFEST);
    let mut app = Launched::<Notes>::new();
    let note = app.call("notes.add", json!({ "text": "  milk " })).unwrap();
    assert_eq!(note, json!({ "id": 1, "text": "milk" }));
    assert_eq!(app.call("notes.list", json!({})).unwrap(), json!([note]));
    app.call("notes.remove", json!({ "id": 1 })).unwrap();
    assert_eq!(app.call("notes.list", json!({})).unwrap(), json!([]));
    assert_eq!(app.call("notes.remove", json!({ "id": 1 })).unwrap_err().code(), 404);
}

#[test]
fn notes_survive_a_restart() {
    let _host = FakeHost::with_manifest(MANIFEST);
    let mut app = Launched::<Notes>::new();
    app.call("notes.add", json!({ "text": "milk" })).unwrap();
    app.unload().unwrap();
    let mut app = Launched::<Notes>::new();
    assert_eq!(app.call("notes.list", json!({})).unwrap(), json!([{ "id": 1, "text": "milk" }]));
}

#[test]
fn an_empty_note_is_refused() {
    let host = FakeHost::with_manifest(MANIFEST);
    let mut app = Launched::<Notes>::new();
    let refused = app.call("notes.add", json!({ "text": " " })).unwrap_err();
    assert!(matches!(refused, Error::InvalidParams { .. }), "{refused}");
    assert_eq!(host.stored("notes"), None);
}

#[test]
fn without_permission_nothing_is_stored() {
    let host = FakeHost::with_manifest(MANIFEST);
    let mut app = Launched::<Notes>::new();
    host.deny("storage", Denied::Revoked);
    let refused = app.call("notes.add", json!({ "text": "milk" })).unwrap_err();
    assert!(matches!(refused, Error::PermissionDenied { .. }), "{refused}");
    assert_eq!(host.stored("notes"), None);
}
