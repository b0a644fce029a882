//! Every rule has an input that breaks it and nothing else, and there is no rule without one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::collections::BTreeSet;

use mpkg_fleet::*;
use mpkg_package::{Hash, RootChain, Trust};
use support::*;

/// What a rule refuses: the rule's code, a name for the input, and the code and message it was refused with.
type Case = (&'static str, &'static str, String);

const STATE_FILE: &[u8] = br#"{"format": 2, "roots": "", "head": "", "apps": {}}"#;

macro_rules! refused {
    ($result:expr) => {
        match $result {
            Ok(_) => "accepted".to_owned(),
            Err(error) => format!("{} {error}", error.code()),
        }
    };
}

fn outcome(outcome: Outcome) -> String {
    refused!(outcome.refused.map_or(Ok(()), Err))
}

fn app_state(change: impl FnOnce(&mut AppState)) -> String {
    let mut state = state(2, Some(Hash::of(b"before")));
    (state.release, state.percent) = (Some(release(2)), BasisPoints::new(500).unwrap());
    change(&mut state);
    refused!(SignedDocument::new(state))
}

fn documents() -> Vec<Case> {
    let half = BasisPoints::new(5_001).unwrap();
    let foreign = |state: &mut AppState| {
        let mut foreign = kill(Level::Stop, 1);
        foreign.scope.app = None;
        state.kills = vec![foreign];
    };
    let long = |state: &mut AppState| {
        let mut long = kill(Level::Stop, 1);
        long.reason = "x".repeat(200).parse().unwrap();
        state.kills = (0..250).map(|nonce| Kill { nonce, ..long.clone() }).collect();
        state.lifts = state.kills.iter().map(lift).collect();
    };
    let many = |state: &mut AppState| state.kills = (0..257).map(|nonce| kill(Level::Warn, nonce)).collect();
    let publishers = mpkg_package::Root::single(&seed(STATE).public());
    let ranged = |change: fn(&mut KillScope)| {
        let mut kill = kill(Level::Stop, 1);
        change(&mut kill.scope);
        refused!(kill.check())
    };
    vec![
        ("MPKG-F01", "state over 64 KiB", app_state(long)),
        ("MPKG-F02", "257 kills", app_state(many)),
        (
            "MPKG-F02",
            "513 on the allow list",
            app_state(|state| {
                state.targeting.allow = (0..513_u32).map(|n| Hash::of(&n.to_be_bytes())).collect();
            }),
        ),
        ("MPKG-F01", "targeting over 24 KiB", {
            let allow = (0..400_u32).map(|n| Hash::of(&n.to_be_bytes())).collect();
            refused!(Targeting { allow, ..Targeting::default() }.check_draft())
        }),
        (
            "MPKG-F03",
            "state under a publisher's root",
            refused!(signed(state(1, None), STATE).verify(&publishers)),
        ),
        ("MPKG-F04", "epoch 0", app_state(|state| state.epoch = 0)),
        ("MPKG-F04", "sequence 0", app_state(|state| state.seq = 0)),
        ("MPKG-F04", "second without a first", app_state(|state| state.prev_sha256 = None)),
        ("MPKG-F04", "first with one before it", app_state(|state| state.seq = 1)),
        ("MPKG-F04", "head with an app at 0", {
            let mut head = head(1, None);
            head.apps.insert(app(), AppEntry { epoch: 1, seq: 0, sha256: Hash::of(b"") });
            refused!(SignedDocument::new(head))
        }),
        ("MPKG-F05", "expires when issued", app_state(|state| state.expires = state.issued)),
        ("MPKG-F06", "arms that overlap", app_state(|state| (state.percent, state.control) = (half, half))),
        ("MPKG-F06", "a share of nothing", app_state(|state| state.release = None)),
        (
            "MPKG-F07",
            "release below the floor",
            app_state(|state| {
                (state.min_seq, state.baseline) = (3, None);
            }),
        ),
        ("MPKG-F08", "rollout to the same release", app_state(|state| state.baseline = Some(release(2)))),
        ("MPKG-F09", "fleet-wide kill in an app's state", app_state(foreign)),
        ("MPKG-F20", "revoke nothing", {
            let mut kill = kill(Level::Revoke, 1);
            kill.scope.permission = None;
            refused!(kill.check())
        }),
        (
            "MPKG-F20",
            "stop a permission",
            ranged(|scope| scope.permission = Some("storage".parse().unwrap())),
        ),
        ("MPKG-F20", "stop a method", ranged(|scope| scope.method = Some("storage.get".parse().unwrap()))),
        (
            "MPKG-F21",
            "releases 5 to 4",
            ranged(|scope| scope.releases = Some(SeqRange { from: 5, to: Some(4) })),
        ),
        (
            "MPKG-F21",
            "host versions below where they begin",
            ranged(|scope| {
                let at = Some("2.0.0".parse().unwrap());
                scope.host_versions = Some(VersionRange { min: at.clone(), below: at });
            }),
        ),
        (
            "MPKG-F22",
            "33 platforms",
            ranged(|scope| scope.platforms = (0..33).map(|n| format!("p{n}").parse().unwrap()).collect()),
        ),
        (
            "MPKG-F22",
            "a version of 1100 characters",
            ranged(|scope| {
                let min = Some(format!("1.0.0-{}", "x".repeat(1_094)).parse().unwrap());
                scope.versions = Some(VersionRange { min, below: None });
            }),
        ),
        ("MPKG-F22", "a long kill in a state", {
            let mut long = kill(Level::Stop, 1);
            long.scope.platforms = (0..20).map(|n| format!("{n:0>60}").parse().unwrap()).collect();
            app_state(|state| state.kills = vec![long])
        }),
    ]
}

fn acceptance() -> Vec<Case> {
    let one = signed(state(1, None), STATE);
    let with_one = || {
        let mut fleet = host();
        assert!(fleet.accept_app(&one.to_bytes(), None).changed);
        fleet
    };
    let take = |mut fleet: Fleet, state: AppState| {
        outcome(fleet.accept_app(&signed(state, STATE).to_bytes(), Some(time(50))))
    };
    let rotated = next(&chain(), |draft| draft.expires = Some(time(40)));
    let with_roots = |roots: &RootChain| {
        let mut fleet = host();
        assert!(fleet.accept_roots(&roots.to_bytes()).changed);
        fleet
    };
    let other = RootChain::first(mpkg_package::Root::single(&seed(40).public())).unwrap();
    let changed = |change: fn(&mut AppState)| {
        let mut state = state(2, Some(one.hash()));
        change(&mut state);
        state
    };
    vec![
        ("MPKG-F30", "no root yet", take(Fleet::new(Trust::chain(&chain())), state(1, None))),
        ("MPKG-F31", "another registry", outcome(host().accept_roots(&other.to_bytes()))),
        ("MPKG-F32", "the root before", outcome(with_roots(&rotated).accept_roots(&chain().to_bytes()))),
        ("MPKG-F33", "another second root", {
            let fork = next(&chain(), |draft| draft.expires = Some(time(41)));
            outcome(with_roots(&rotated).accept_roots(&fork.to_bytes()))
        }),
        ("MPKG-F34", "state under an expired root", take(with_roots(&rotated), state(1, None))),
        (
            "MPKG-F35",
            "an epoch too far",
            take(host(), {
                let mut s = state(1, None);
                s.epoch = 1 << 21;
                s
            }),
        ),
        ("MPKG-F36", "an older state", {
            let mut fleet = with_one();
            let two = signed(changed(|_| ()), STATE);
            assert!(fleet.accept_app(&two.to_bytes(), None).changed);
            outcome(fleet.accept_app(&one.to_bytes(), None))
        }),
        (
            "MPKG-F37",
            "two first states",
            take(with_one(), {
                let mut s = state(1, None);
                s.min_seq = 1;
                s
            }),
        ),
        (
            "MPKG-F38",
            "another past",
            take(with_one(), changed(|state| state.prev_sha256 = Some(Hash::of(b"")))),
        ),
        (
            "MPKG-F39",
            "another publisher",
            take(
                with_one(),
                changed(|state| {
                    state.publisher = mpkg_package::Root::single(&seed(50).public()).publisher_id();
                }),
            ),
        ),
        ("MPKG-F40", "damaged file", refused!(Fleet::from_bytes(b"{}"))),
        ("MPKG-F40", "file of another format", {
            let text = String::from_utf8(host().to_bytes()).unwrap();
            refused!(Fleet::from_bytes(text.replace(r#""format":1"#, r#""format":2"#).as_bytes()))
        }),
    ]
}

fn successors() -> Vec<Case> {
    let mut before = state(1, None);
    (before.release, before.percent, before.min_seq) = (Some(release(2)), BasisPoints::new(500).unwrap(), 1);
    before.kills = vec![kill(Level::Warn, 1)];
    let hash = signed(before.clone(), STATE).hash();
    let next = |change: fn(&mut AppState)| {
        let mut next = AppState { seq: 2, prev_sha256: Some(hash), ..before.clone() };
        change(&mut next);
        refused!(check_successor(&before, hash, &next))
    };
    assert_eq!(next(|_| ()), "accepted");
    assert_eq!(next(|state| (state.epoch, state.seq, state.prev_sha256) = (2, 1, None)), "accepted");
    assert_eq!(
        next(|state| (state.kills, state.lifts) = (vec![], vec![lift(&kill(Level::Warn, 1))])),
        "accepted"
    );
    assert_eq!(next(|state| (state.release, state.percent) = (None, BasisPoints::NONE)), "accepted");
    vec![
        ("MPKG-F41", "a gap", next(|state| state.seq = 3)),
        ("MPKG-F41", "a new epoch from the middle", next(|state| (state.epoch, state.seq) = (2, 2))),
        ("MPKG-F42", "another before", next(|state| state.prev_sha256 = Some(Hash::of(b"")))),
        ("MPKG-F43", "another app", next(|state| state.app_id = "org.example.other".parse().unwrap())),
        ("MPKG-F44", "a lower floor", next(|state| state.min_seq = 0)),
        ("MPKG-F45", "a lower percentage", next(|state| state.percent = BasisPoints::new(499).unwrap())),
        ("MPKG-F46", "a new salt", next(|state| state.salt = "other".parse().unwrap())),
        ("MPKG-F46", "a new release with the old salt", next(|state| state.release = Some(release(3)))),
        ("MPKG-F47", "a kill forgotten", next(|state| state.kills.clear())),
    ]
}

fn rollouts() -> Vec<Case> {
    let draft = Rollout::draft(app(), release(5), None, "r-5".parse().unwrap(), Plan::default(), time(0));
    let running = draft.apply(&Command::Start, time(0)).unwrap().0;
    let reason: mpkg_manifest::Text<200> = "why".parse().unwrap();
    let back = Command::RollBack { to: release(5), reason };
    let evidence = evaluate(GateInputs {
        app: app(),
        release_seq: 5,
        at: time(0),
        step: 0,
        plan: Plan::default().steps()[0],
        elapsed_s: 0,
        control_share: BasisPoints::new(500).unwrap(),
        treatment: ArmVotes::default(),
        control: ArmVotes::default(),
    });
    let batch = |text: &str| refused!(Batch::parse(text.as_bytes()));
    let row = |counters: &str| {
        format!(
            r#"{{"app":"org.example.app","release_seq":1,"arm":"control","boot":"b","counters":{counters}}}"#
        )
    };
    let rows = |rows: &[String]| format!(r#"{{"reports":[{}]}}"#, rows.join(","));
    let approval = ApprovalPolicy { start: 2, ..ApprovalPolicy::default() };
    vec![
        ("MPKG-F50", "a plan without steps", refused!(Plan::new(Vec::new()))),
        ("MPKG-F51", "start twice", refused!(running.apply(&Command::Start, time(0)))),
        (
            "MPKG-F52",
            "advance at once",
            refused!(running.apply(&Command::Advance { skip_bake: false }, time(1))),
        ),
        ("MPKG-F53", "complete the first step", refused!(running.apply(&Command::Complete, time(1)))),
        ("MPKG-F54", "roll back to itself", refused!(running.apply(&back, time(1)))),
        ("MPKG-F55", "superseded by itself", refused!(running.apply(&Command::Supersede { by: 5 }, time(1)))),
        ("MPKG-F56", "one of two people", refused!(approval.check(Verb::Start, "ann", Hash::of(b""), &[]))),
        ("MPKG-F60", "rules of the future", refused!(replay(&Evidence { rules: 2, ..evidence.clone() }))),
        (
            "MPKG-F61",
            "edited evidence",
            refused!(replay(&Evidence { verdict: Verdict::Healthy, ..evidence })),
        ),
        ("MPKG-F70", "257 rows", batch(&rows(&vec![row("{}"); 257]))),
        ("MPKG-F71", "more errors than calls", batch(&rows(&[row("{}"), row(r#"{"calls":1,"errors":2}"#)]))),
        ("MPKG-F71", "more beacons than launches", batch(&rows(&[row(r#"{"beacons":1}"#)]))),
        ("MPKG-F80", "a state file of the future", refused!(StateFile::parse(STATE_FILE))),
    ]
}

#[test]
fn each_rule_refuses_what_it_is_for() {
    let cases: Vec<Case> = [documents(), acceptance(), successors(), rollouts()].concat();
    let wrong: Vec<&Case> =
        cases.iter().filter(|(code, _, got)| got.split(' ').next() != Some(code)).collect();
    assert!(wrong.is_empty(), "(rule, input, refused by): {wrong:#?}");

    let lines: Vec<String> = cases.iter().map(|(_, input, got)| format!("{input}: {got}")).collect();
    insta::assert_snapshot!("refusals", lines.join("\n"));

    let triggered: BTreeSet<&str> = cases.iter().map(|(code, ..)| *code).collect();
    let table: BTreeSet<&str> = RULES.iter().map(|rule| rule.code).collect();
    assert_eq!(triggered, table, "rules and cases are not the same set");
    assert_eq!(table.len(), RULES.len(), "a code stands twice in the table");
}

#[test]
fn the_table_is_fit_to_print() {
    assert!(RULES.is_sorted_by(|a, b| a.code < b.code));
    for rule in RULES {
        assert!(rule.code.starts_with("MPKG-F"));
        assert!(rule.attack.ends_with('.') && rule.fix.ends_with('.'), "{} has half a sentence", rule.code);
        assert!(!rule.title.ends_with('.'), "the title of {} is a sentence", rule.code);
    }
}
