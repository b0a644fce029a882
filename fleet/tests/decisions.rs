//! What a host does with an app, as a table: `cases/*.json`.
//!
//! A case is a state with kills, a host, and what is installed. Members that are not given are those of the defaults
//! below. Releases are given by their sequence; 0 stands for none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use mpkg_fleet::*;
use serde_json::{Value, json};
use support::*;

fn merged(mut base: Value, over: &Value) -> Value {
    for (key, value) in over.as_object().into_iter().flatten() {
        base[key] = value.clone();
    }
    base
}

fn numbered(value: &Value) -> Value {
    match value.as_u64() {
        Some(0) | None => Value::Null,
        Some(seq) => serde_json::to_value(release(seq)).unwrap(),
    }
}

fn run(case: &Value) -> Value {
    let mut base = serde_json::to_value(state(1, None)).unwrap();
    base = merged(base, &json!({"release": 2, "baseline": 1, "percent": 500, "control": 500, "salt": "r-2"}));
    base = merged(base, &case["state"]);
    (base["release"], base["baseline"]) = (numbered(&base["release"]), numbered(&base["baseline"]));
    for name in case["disabled"].as_array().into_iter().flatten() {
        let hash = release(name.as_u64().unwrap()).package.sha256;
        base["disabled"].as_array_mut().unwrap().push(json!(hash.to_string()));
    }
    for unit in case["allow"].as_array().into_iter().flatten() {
        let hash = allow_hash(base["salt"].as_str().unwrap(), unit.as_str().unwrap());
        base["targeting"]["allow"].as_array_mut().unwrap().push(json!(hash.to_string()));
    }
    let state: AppState = serde_json::from_value(base).unwrap();
    SignedDocument::new(state.clone()).unwrap_or_else(|error| panic!("{}: {error}", case["name"]));

    let order = json!({"reason": "a reason", "issued": "2026-01-31T12:00:00Z", "nonce": 1});
    let kills: Vec<Kill> = case["kills"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|kill| serde_json::from_value(merged(order.clone(), kill)).unwrap())
        .collect();
    kills.iter().for_each(|kill| kill.check().unwrap());
    let ids: Vec<KillId> = kills.iter().map(Kill::id).collect();
    let mut set = KillSet::default();
    let _ = set.merge(&kills, &[]);

    let context = json!({"unit": "device-1", "platform": "android", "host_version": "3.1.0"});
    let context: Context = serde_json::from_value(merged(context, &case["host"])).unwrap();
    let installed: Option<ReleaseRef> = serde_json::from_value(numbered(&case["installed"])).unwrap();
    let app = app();
    let view = View {
        app: &app,
        state: (case["unmanaged"] != true).then_some(&state),
        kills: &set,
        min_seq: case["floor"].as_u64().unwrap_or(state.min_seq),
        staleness: Staleness::default(),
        age_s: case["age_s"].as_u64(),
        now: Some(time(case["now"].as_i64().unwrap_or(10))),
    };
    let decision = decide(&view, &context, installed.as_ref());
    // Kills are named by their number in the case.
    let mut told = serde_json::to_value(&decision).unwrap().to_string();
    for (number, id) in ids.iter().enumerate() {
        told = told.replace(&id.to_string(), &format!("kill {number}"));
    }
    let mut told: Value = serde_json::from_str(&told).unwrap();
    told["run"] = json!(decision.run.map_or(0, |release| release.release_seq));
    told
}

/// Leaves out of a decision what is as usual.
fn brief(mut decision: Value) -> Value {
    let told = decision.as_object_mut().unwrap();
    for part in ["effects", "running"] {
        told[part].as_object_mut().unwrap().retain(|_, list| list != &json!([]));
    }
    told.retain(|_, value| value != &json!([]) && value != &json!({}));
    told.retain(|key, value| key != "standing" || value != &json!(["fresh", "fresh", "fresh"]));
    decision
}

#[test]
fn the_table_of_cases_comes_out_as_it_says() {
    let (mut count, mut wrong) = (0, Vec::new());
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
    for file in ["targeting.json", "kills.json"] {
        let text = std::fs::read(format!("{folder}/{file}")).unwrap();
        let cases: Vec<Value> = serde_json::from_slice(&text).unwrap();
        for case in &cases {
            let real = brief(run(case));
            count += 1;
            if real != case["expected"] {
                wrong.push(format!("{}\n  expected {}\n  got      {real}", case["name"], case["expected"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 35, "{count} cases");
}

#[test]
fn a_host_is_told_by_the_document_alone() {
    // A registry that says "you are at 100 %" over any other way than a signed document is not heard: there is no other
    // way. With 5 % in the document this many of a thousand hosts get the release.
    let mut state = state(1, None);
    (state.release, state.percent) = (Some(release(2)), BasisPoints::new(500).unwrap());
    let mut fleet = host();
    assert!(fleet.accept_app(&signed(state, STATE).to_bytes(), None).changed);
    let gets = |n| fleet.decide(&app(), &context(&format!("device-{n}")), None, None).run == Some(release(2));
    let count = (0..1_000).filter(|n| gets(*n)).count();
    assert!((30..=70).contains(&count), "{count}");
}
