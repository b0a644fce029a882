//! What is drawn, as snapshots.

use mpkg_fleet::{ArmVotes, Counters, Evidence, GateInputs, Phase, Plan, Position, Rollout, Tally, evaluate};
use mpkg_package::Time;
use mpkg_registry_client::wire::{Minute, RolloutView};

use super::*;
use crate::ops::remote::watch::Glimpse;

const START: &str = "2026-11-21T03:00:00Z";
const NOW: &str = "2026-11-21T03:30:00Z";

fn time(text: &str) -> Time {
    Time::parse(text).unwrap()
}

fn release(seq: u64) -> mpkg_fleet::ReleaseRef {
    let hash = "ab".repeat(32);
    let text = format!(
        r#"{{"package": {{"sha256": "{hash}", "size": 1000}}, "release_seq": {seq}, "version": "1.{seq}.0"}}"#
    );
    serde_json::from_str(&text).unwrap()
}

fn view(phase: Phase) -> RolloutView {
    let app = "com.example.stockalert".parse().unwrap();
    let salt = "salt".parse().unwrap();
    let mut rollout = Rollout::draft(app, release(2), Some(release(1)), salt, Plan::default(), time(START));
    rollout.phase = phase;
    RolloutView {
        id: 12,
        rollout,
        targeting: Default::default(),
        automatic: true,
        started: Some(time(START)),
        author: "ann".into(),
    }
}

fn gate(good: u64, bad: u64, elapsed_s: u64) -> Evidence {
    let plan = *Plan::default().step(0).unwrap();
    let votes = Tally { good, bad };
    let clean = Tally { good: good + bad, bad: 0 };
    let arm = |errors| ArmVotes {
        devices: good + bad,
        errors,
        slow: clean,
        sluggish: clean,
        unavailable: clean,
        crash_loops: 0,
    };
    evaluate(GateInputs {
        app: "com.example.stockalert".parse().unwrap(),
        release_seq: 2,
        at: time(NOW),
        step: 0,
        plan,
        elapsed_s,
        control_share: plan.percent.control(),
        treatment: arm(votes),
        control: arm(clean),
    })
}

fn minutes() -> Vec<Minute> {
    let first = time(NOW).unix() - 20 * 60;
    let minute = |index: i64| Minute {
        release_seq: 2,
        at: Time::from_unix(first + index * 60).unwrap(),
        counters: Counters {
            launches: 1,
            calls: 40 + 10 * u64::try_from(index).unwrap(),
            errors: if index % 5 == 0 { 2 } else { 0 },
            ..Counters::default()
        },
    };
    // A gap: the app was used by nobody for a while.
    (0..20).filter(|index| !(8..11).contains(index)).map(minute).collect()
}

fn glimpse(phase: Phase, gate: Option<Evidence>, minutes: Vec<Minute>) -> Glimpse {
    Glimpse { at: time(NOW), view: view(phase), gate, minutes }
}

fn drawn(it: &Glimpse) -> String {
    let mut page = Page::default();
    rollout(&mut page, it);
    format!("{}\n{}\n", page.plain(), line(it))
}

#[test]
fn a_rollout_on_its_first_step() {
    let it = glimpse(Phase::Running { step: 0 }, Some(gate(60, 1, 1_800)), minutes());
    insta::assert_snapshot!("running", drawn(&it));
}

#[test]
fn a_rollout_that_nobody_uses() {
    let it = glimpse(Phase::Running { step: 0 }, Some(gate(0, 0, 1_800)), Vec::new());
    insta::assert_snapshot!("no-traffic", drawn(&it));
}

#[test]
fn a_rollout_that_is_bad() {
    let it = glimpse(Phase::Running { step: 0 }, Some(gate(20, 12, 1_800)), minutes());
    insta::assert_snapshot!("bad", drawn(&it));
}

#[test]
fn a_rollout_that_is_healthy_and_left_to_a_person() {
    let mut it = glimpse(Phase::Running { step: 0 }, Some(gate(400, 0, 7_200)), minutes());
    it.view.automatic = false;
    insta::assert_snapshot!("healthy", drawn(&it));
}

#[test]
fn every_phase_says_what_comes_next() {
    let phases = [
        Phase::Draft,
        Phase::Held { step: 1 },
        Phase::Halted { step: None },
        Phase::Halted { step: Some(1) },
        Phase::RolledBack { to: release(1) },
        Phase::Superseded { by: 3 },
        Phase::Completed,
    ];
    let all: String = phases.into_iter().map(|phase| drawn(&glimpse(phase, None, Vec::new()))).collect();
    insta::assert_snapshot!("phases", all);
}

#[test]
fn the_fleet_with_a_kill_and_without_anything() {
    let kill = r#"{"id": "3f2a9c01aabbccdd3f2a9c01aabbccdd3f2a9c01aabbccdd3f2a9c01aabbccdd", "kill": {"level": "stop",
        "scope": {"app": "com.example.stockalert", "releases": {"from": 2, "to": 2}}, "reason": "sends \u0022spam\u0022",
        "issued": "2026-11-21T03:10:00Z", "nonce": 1}, "ordered_by": "bob", "lift": null, "lifted_by": null}"#;
    let mut fleet_now = Fleet {
        at: time(NOW),
        address: "https://registry.example".into(),
        registry: format!("mp1{}", "a".repeat(52)),
        head: Position { epoch: 1, seq: 42 },
        listeners: 1,
        kills: vec![serde_json::from_str(kill).unwrap()],
        rollouts: vec![glimpse(Phase::Running { step: 0 }, Some(gate(60, 1, 1_800)), minutes())],
        more: vec![view(Phase::Held { step: 0 })],
        drafts: vec![view(Phase::Draft)],
        connected_s: Some(200),
    };
    let draw = |it: &Fleet| {
        let mut page = Page::default();
        fleet(&mut page, it);
        format!("{}\n{}\n", page.plain(), fleet_lines(it).join("\n"))
    };
    insta::assert_snapshot!("fleet", draw(&fleet_now));
    (fleet_now.kills, fleet_now.rollouts, fleet_now.more, fleet_now.listeners) =
        (Vec::new(), Vec::new(), Vec::new(), 0);
    (fleet_now.drafts, fleet_now.connected_s) = (Vec::new(), None);
    insta::assert_snapshot!("fleet-empty", draw(&fleet_now));
}
