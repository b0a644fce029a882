//! The whole story of a fleet, told by `mpkg demo` as a process of its own: everything that it tells it checks first, so
//! what is left here is that it tells all of it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use mpkg_tests::workspace::{mpkg, root};
use serde_json::Value;

const HOSTS: u64 = 24;

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn check_latency(it: &Value, hosts: u64) {
    assert_eq!(it["hosts"], hosts);
    let [half, nearly, all] = ["p50_ms", "p99_ms", "slowest_ms"].map(|name| number(&it[name]));
    assert!(half > 0.0 && half <= nearly && nearly <= all, "{it}");
    assert!(number(&it["accepted_ms"]) > 0.0, "{it}");
}

#[test]
fn a_fleet_from_a_first_release_to_a_kill_and_back() {
    let hosts = HOSTS.to_string();
    let output =
        mpkg(&["demo", "--hosts", &hosts, "--format", "json"]).unwrap().current_dir(root()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((report["hosts"].as_u64(), report["real_hosts"].as_u64()), (Some(HOSTS), Some(3)));
    assert_eq!(report["processes"], 1);

    // In the steps of the plan, each with exactly those whose bucket is in it.
    let steps = report["steps"].as_array().unwrap();
    let shares: Vec<_> = steps.iter().map(|step| step["basis_points"].as_u64().unwrap()).collect();
    assert_eq!(shares, [500, 2_500, 10_000]);
    for step in steps {
        assert_eq!(step["in_bucket"], step["ran"], "{step}");
        let both = step["ran"].as_u64().unwrap() + step["stayed"].as_u64().unwrap();
        assert_eq!(both, HOSTS, "{step}");
        // So few can never make a gate sure, and it says what it lacks.
        assert_eq!(step["went_on_by"], "operator", "{step}");
        assert!(!step["missing"].as_array().unwrap().is_empty(), "{step}");
    }
    assert_eq!(steps[2]["ran"], HOSTS);

    // The bad release went back everywhere, by the hosts themselves and by the gates, with evidence that replays.
    let bad = &report["bad"];
    let (launched, in_bucket) = (bad["launched"].as_u64().unwrap(), bad["in_bucket"].as_u64().unwrap());
    assert!(in_bucket >= 8 && (in_bucket..=in_bucket + 1).contains(&launched), "{bad}");
    assert_eq!(bad["went_back_alone"], launched);
    assert!(bad["real_went_back_alone"].as_u64().unwrap() >= 1, "{bad}");
    assert_eq!(bad["replays"], true);
    assert_eq!(bad["evidence"]["verdict"]["decision"], "roll_back");
    assert!(!bad["why"].as_array().unwrap().is_empty());

    let outage = &report["outage"];
    for latency in [&report["kill"], &report["lift"], &outage["kill"], &outage["lift"]] {
        check_latency(latency, HOSTS);
    }
    assert_eq!((outage["refused"].as_u64(), outage["restarted"].as_u64()), (Some(HOSTS), Some(10)));
    assert_eq!(outage["other_calls"], 30);

    // Nobody downloaded a whole package for an update.
    let transfer = &report["transfer"];
    assert!(transfer["by_delta"].as_u64().unwrap() >= HOSTS, "{transfer}");
    assert_eq!(transfer["by_whole"], 0, "{transfer}");
    assert!(number(&transfer["delta_bytes"]) < number(&transfer["whole_bytes"]) / 10.0, "{transfer}");
}

#[test]
fn without_the_example_it_says_what_is_missing() {
    let elsewhere = tempfile::tempdir().unwrap();
    let output = mpkg(&["demo", "--format", "json"]).unwrap().current_dir(elsewhere.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(error["error"]["code"], "MPKG-C20");
    assert!(error["error"]["hint"].as_str().unwrap().contains("--project"));
}

#[test]
fn a_folder_without_a_project_is_refused_before_anything_is_begun() {
    let nowhere = tempfile::tempdir().unwrap();
    let project = nowhere.path().join("no-project");
    std::fs::create_dir(&project).unwrap();
    let arguments = ["demo", "--project", project.to_str().unwrap(), "--format", "json"];
    let output = mpkg(&arguments).unwrap().output().unwrap();
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), error["error"]["code"].as_str()), (Some(1), Some("MPKG-C20")));
}
