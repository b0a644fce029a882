//! The kit finds nothing on a host with its own bridges only, and finds each way in which a bridge can be wrong.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use miniapp_isolation::{Attack, Finding, Isolation, NAME, Report, SECRET};
use miniapp_runtime::rpc::{RpcError, code};
use miniapp_runtime::{Bridge, Caller, HostBuilder};
use serde::Deserialize;
use serde_json::{Value, json};

type Key = (String, String);

fn app_and_user(caller: &Caller) -> Key {
    (caller.app_id().to_owned(), caller.user().to_owned())
}

fn app_only(caller: &Caller) -> Key {
    (caller.app_id().to_owned(), String::new())
}

fn user_only(caller: &Caller) -> Key {
    (String::new(), caller.user().to_owned())
}

/// Two texts that are one where a separator is missing.
fn run_together(caller: &Caller) -> Key {
    let app = caller.app_id().trim_start_matches("com.example.");
    (format!("{app}{}", caller.user()), String::new())
}

#[derive(Deserialize)]
struct Note {
    name: String,
    text: String,
}

/// Keeps notes by what `whose` says; `notes.take` deletes by name, of anybody if `anybody`.
fn notes(whose: fn(&Caller) -> Key, anybody: bool) -> Bridge {
    let notes = Arc::new(Mutex::new(HashMap::<Key, HashMap<String, String>>::new()));
    let (adding, listing, taking) = (notes.clone(), notes.clone(), notes);
    Bridge::new("host.notes")
        .immediate("notes.add", move |caller, note: Note| {
            adding.lock().unwrap().entry(whose(caller)).or_default().insert(note.name, note.text);
            Ok::<_, RpcError>(())
        })
        .method("notes.list", move |caller, _: Value| {
            let mine = listing.lock().unwrap().get(&whose(&caller)).cloned();
            async move { Ok::<_, RpcError>(mine) }
        })
        .immediate("notes.take", move |caller, name: String| {
            let mut notes = taking.lock().unwrap();
            for (key, theirs) in notes.iter_mut() {
                if anybody || *key == whose(caller) {
                    theirs.remove(&name);
                }
            }
            Ok::<_, RpcError>(())
        })
}

fn kit(whose: fn(&Caller) -> Key, anybody: bool) -> Isolation<impl Fn(HostBuilder) -> HostBuilder> {
    Isolation::new(move |host| host.bridge(notes(whose, anybody)))
        .call("notes.add", json!({ "name": NAME, "text": SECRET }))
        .call("notes.list", json!({}))
        .attack("notes.take", json!(NAME))
}

/// Who was found to see whose data, by the methods.
fn leaks(report: &Report) -> BTreeSet<(String, String, String)> {
    let leak = |finding: &Finding| match finding {
        Finding::Leak { of, to, method } => Some((of.to_string(), to.to_string(), method.clone())),
        _ => None,
    };
    report.findings.iter().filter_map(leak).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bridges_that_every_host_has_keep_apps_apart_and_none_starves() {
    let report = kit(app_and_user, false).check().await.unwrap();
    println!("{report}");
    assert!(report.holds(), "{report}");
    let tried: BTreeSet<&str> =
        report.methods.iter().filter(|method| method.tried).map(|method| method.name.as_str()).collect();
    let untried: BTreeSet<&str> =
        report.methods.iter().filter(|method| !method.tried).map(|method| method.name.as_str()).collect();
    assert!(tried.contains("notes.list") && tried.contains("storage.get") && tried.contains("files.read"));
    // There is no server to fetch from, and the monotonic clock is nobody's data.
    let known: BTreeSet<&str> =
        ["clock.monotonic", "network.fetch", "network.open", "network.read"].into_iter().collect();
    assert_eq!(untried, known, "of all these nobody looked whose data they give");
    let attacks: Vec<Attack> = report.pressures.iter().map(|pressure| pressure.attack).collect();
    assert_eq!(attacks, Attack::ALL);
    for pressure in &report.pressures {
        assert!(pressure.beside.calls >= 600 && pressure.rounds > 0, "{pressure:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_mixes_up_users_apps_or_names_is_found_out() {
    for (whose, of, to) in [
        (app_only as fn(&Caller) -> Key, ("com.example.isolation", "bob"), ("com.example.isolation", "ann")),
        (user_only, ("com.example.isolation2", "ann"), ("com.example.isolation", "ann")),
        (run_together, ("com.example.isolation", "2ann"), ("com.example.isolation2", "ann")),
    ] {
        let report = kit(whose, false).data().await.unwrap();
        let name = |(app, user): (&str, &str)| format!("`{app}` for user {user:?}");
        let expected = (name(of), name(to), "notes.list".to_owned());
        assert!(leaks(&report).contains(&expected), "{expected:?} is not in {report}");
        assert!(leaks(&report).iter().all(|(.., method)| method == "notes.list"), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_lets_one_take_what_is_anothers_is_found_out() {
    let report = kit(app_and_user, true).data().await.unwrap();
    assert!(leaks(&report).is_empty(), "{report}");
    let lost = |finding: &Finding| matches!(finding, Finding::Lost { method, .. } if method == "notes.list");
    assert!(report.findings.iter().any(lost), "{report}");
    assert!(report.findings.iter().all(lost), "{report}");
}

/// All apps together may call so often and no more: one that calls often leaves nothing to the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_one_app_can_use_up_is_found_out() {
    let build = |host: HostBuilder| {
        let left = AtomicU32::new(6);
        host.bridge(Bridge::new("host.tickets").immediate("tickets.draw", move |_, _: Value| {
            let drawn = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            drawn.map(drop).map_err(|_| RpcError::new(code::BUSY, "There are no tickets left."))
        }))
    };
    let report = Isolation::new(build).call("tickets.draw", json!({})).fairness().await.unwrap();
    let starved =
        |finding: &Finding| matches!(finding, Finding::Starved { method, .. } if method == "tickets.draw");
    let by_bridges = |finding: &Finding| matches!(finding, Finding::Starved { beside: Attack::Bridges, .. });
    let by_spinning = |finding: &Finding| matches!(finding, Finding::Starved { beside: Attack::Spin, .. });
    assert!(report.findings.iter().any(by_bridges), "{report}");
    assert!(!report.findings.iter().any(by_spinning), "nobody has drawn by then: {report}");
    assert!(report.findings.iter().all(starved), "{report}");
}
