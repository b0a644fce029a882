//! Reports of hosts: harmless however they arrive, and never more than one vote.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use mpkg_fleet::*;
use mpkg_manifest::json;
use proptest::prelude::*;
use support::*;

fn report(boot: &str, counters: Counters) -> Report {
    Report { app: app(), release_seq: 7, arm: Arm::Treatment, boot: boot.parse().unwrap(), counters }
}

/// Counters as they grow while a host runs.
fn run() -> impl Strategy<Value = Vec<Counters>> {
    let events = prop::collection::vec((0_u64..3, 0_u64..3, 0_u64..20, 0_u64..20, 0_u64..2), 1..6);
    events.prop_map(|events| {
        let mut now = Counters::default();
        let grow = |(launches, missing, calls, errors, crashes): (u64, u64, u64, u64, u64)| {
            now.launches += launches;
            now.beacons += launches.saturating_sub(missing);
            now.calls += calls;
            now.errors += errors.min(calls);
            now.crashes += crashes;
            now
        };
        events.into_iter().map(grow).collect()
    })
}

proptest! {
    /// Whatever the network does to batches, the roll-up is the sum of what each run counted last, as soon as each last
    /// batch has arrived once.
    #[test]
    fn duplicates_and_reordering_are_harmless(
        runs in prop::collection::vec(run(), 1..5),
        extra in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..20),
        shuffle in any::<u64>(),
    ) {
        let mut sent: Vec<(usize, Counters)> = runs.iter().enumerate().map(|(n, run)| (n, *run.last().unwrap())).collect();
        sent.extend(extra.iter().map(|(run, at)| {
            let n = run.index(runs.len());
            (n, runs[n][at.index(runs[n].len())])
        }));
        let mut random = Random(shuffle);
        sent.sort_by_cached_key(|_| random.next());
        let mut ledger = Ledger::default();
        for (n, counters) in sent {
            // Two devices with several runs each.
            let batch = Batch { reports: vec![report(&format!("boot-{n}"), counters)] };
            let batch = Batch::parse(&batch.to_bytes()).unwrap();
            ledger.merge(&format!("device-{}", n % 2), &batch);
        }
        let sum = runs.iter().fold(Counters::default(), |sum, run| sum.plus(*run.last().unwrap()));
        prop_assert_eq!(ledger.total(&app(), 7), sum);
        prop_assert!(ledger.votes(&app(), 7, Arm::Treatment).errors.votes() <= 2);
        prop_assert!(runs.iter().all(|run| run.windows(2).all(|pair| grows(&pair[0], &pair[1]))));
    }

    #[test]
    fn merging_is_a_maximum(a in run(), b in run(), c in run()) {
        let [a, b, c] = [a, b, c].map(|run| *run.last().unwrap());
        prop_assert_eq!(a.merge(a), a);
        prop_assert_eq!(a.merge(b), b.merge(a));
        prop_assert_eq!(a.merge(b).merge(c), a.merge(b.merge(c)));
        prop_assert!(grows(&a, &a.merge(b)));
    }
}

/// One reader is fast and one is strict: a batch that is taken reads the same in both.
#[test]
fn batches_are_strict_json_however_fast_they_are_read() {
    let row = |rest: &str| {
        format!(
            r#"{{"reports": [{{"app": "org.example.x", "release_seq": 3, "arm": "neither", "boot": "b"{rest}}}]}}"#
        )
    };
    let with = |counters: &str| row(&format!(r#", "counters": {counters}"#));
    for good in [with("{}"), with(r#"{"calls": 9007199254740991}"#), with(r#"{"calls": -0}"#)] {
        let batch = Batch::parse(good.as_bytes()).unwrap_or_else(|error| panic!("{good}: {error}"));
        assert_eq!(batch, json::read(good.as_bytes(), json::Limits::bytes(limits::BATCH)).unwrap());
    }
    let bad = [
        (with(r#"{"calls": 1, "calls": 1}"#), "MPKG-J04"),
        (row(r#", "boot": "c", "counters": {}"#), "MPKG-J04"),
        (with(r#"{"calls": 1.0}"#), "MPKG-J05"),
        (with(r#"{"calls": 9007199254740992}"#), "MPKG-J06"),
        (with(r#"{"calls": -1}"#), "MPKG-J11"),
        (with(r#"{"called": 1}"#), "MPKG-J11"),
        (with("{}").replace(": 3", ": 9007199254740992"), "MPKG-J06"),
        (with("{}") + "{}", "MPKG-J09"),
        (format!("\u{feff}{}", with("{}")), "MPKG-J02"),
        (with("{}") + &" ".repeat(limits::BATCH), "MPKG-J08"),
    ];
    for (text, code) in bad {
        let error = Batch::parse(text.as_bytes()).expect_err(&text);
        let strict =
            json::read::<Batch>(text.as_bytes(), json::Limits::bytes(limits::BATCH)).expect_err(&text);
        assert_eq!((error.code(), &error), (code, &BatchError::Json(strict)), "{text}");
    }
}

#[test]
fn a_launch_without_a_beacon_is_bad() {
    let launched = Counters { launches: 1, ..Counters::default() };
    let vote = votes("device-1", 7, &launched);
    assert_eq!((vote.errors, vote.unavailable, vote.slow), (Some(true), Some(true), None));
    let up = Counters { beacons: 1, ..launched };
    let vote = votes("device-1", 7, &up);
    assert_eq!((vote.errors, vote.unavailable), (Some(false), Some(false)));
    let down = Counters { crashes: 1, ..up };
    assert_eq!(votes("device-1", 7, &down).unavailable, Some(true));
    assert_eq!(votes("device-1", 7, &Counters::default()), Votes::default());
}

/// One call in a hundred fails, on devices that make one call and on devices that make a thousand: one vote in a
/// hundred is bad either way. "Bad if anything failed" would have every busy device vote bad.
#[test]
fn the_share_of_bad_votes_is_the_rate_that_devices_see() {
    for calls in [100, 1_000, 1 << 40] {
        let counters = Counters { calls, errors: calls / 100, slow_500: calls / 2, ..Counters::default() };
        let all: Vec<Votes> = (0..20_000).map(|n| votes(&format!("device-{n}"), 7, &counters)).collect();
        let bad = all.iter().filter(|vote| vote.errors == Some(true)).count();
        assert!((150..=250).contains(&bad), "{calls}: {bad}");
        let slow = all.iter().filter(|vote| vote.sluggish == Some(true)).count();
        assert!((9_700..=10_300).contains(&slow), "{calls}: {slow}");
    }
}

/// A flood from a few devices, however large, is a few votes: too few to roll anything back.
#[test]
fn a_flood_of_forged_reports_is_as_many_votes_as_it_has_devices() {
    let mut ledger = Ledger::default();
    let good = Counters { launches: 1, beacons: 1, calls: 10, ..Counters::default() };
    for n in 0..200 {
        ledger.merge(&format!("device-{n}"), &Batch { reports: vec![report("b", good)] });
    }
    let bad = Counters {
        launches: 1 << 40,
        calls: 1 << 40,
        errors: 1 << 40,
        crash_loops: 1 << 40,
        ..Counters::default()
    };
    for device in ["thief-1", "thief-2", "thief-3", "thief-4"] {
        for boot in 0..500 {
            ledger.merge(device, &Batch { reports: vec![report(&format!("b{boot}"), bad)] });
        }
    }
    let votes = ledger.votes(&app(), 7, Arm::Treatment);
    assert_eq!((votes.devices, votes.errors, votes.crash_loops), (204, Tally { good: 200, bad: 4 }, 4));
    let evidence = evaluate(GateInputs {
        app: app(),
        release_seq: 7,
        at: time(0),
        step: 0,
        plan: Plan::default().steps()[0],
        elapsed_s: 3_600,
        control_share: BasisPoints::NONE,
        treatment: votes,
        control: ArmVotes::default(),
    });
    assert!(!matches!(evidence.verdict, Verdict::RollBack { .. }), "{evidence:?}");
}

#[test]
fn devices_of_an_arm_count_before_they_run_the_release() {
    let mut ledger = Ledger::default();
    let old =
        Report { release_seq: 6, ..report("b", Counters { launches: 1, beacons: 1, ..Counters::default() }) };
    ledger.merge("device-1", &Batch { reports: vec![old] });
    let votes = ledger.votes(&app(), 7, Arm::Treatment);
    assert_eq!((votes.devices, votes.unavailable.votes()), (1, 0));
    assert_eq!(ledger.votes(&app(), 7, Arm::Control), ArmVotes::default());
}

#[test]
fn events_read_as_they_were_written_and_say_what_to_do() {
    let at = |seq| Position { epoch: 1, seq };
    let event = StreamEvent::Head { prev: at(4), at: at(5), head: "{}".to_owned(), apps: Vec::new() };
    let text = serde_json::to_string(&event).unwrap();
    assert_eq!(
        text,
        r#"{"type":"head","prev":{"epoch":1,"seq":4},"at":{"epoch":1,"seq":5},"head":"{}","apps":[]}"#
    );
    assert_eq!(serde_json::from_str::<StreamEvent>(&text).unwrap(), event);
    assert_eq!(event.follow(Some(at(4))), Follow::Apply);
    assert_eq!(event.follow(Some(at(3))), Follow::ApplyAndFetch);
    assert_eq!(event.follow(None), Follow::ApplyAndFetch);
    assert_eq!(event.follow(Some(at(9))), Follow::Apply);
    assert_eq!(StreamEvent::Stop { notice: "{}".to_owned() }.follow(Some(at(9))), Follow::Apply);
    assert_eq!(StreamEvent::Heartbeat { at: at(1) }.follow(None), Follow::Fetch);
    assert_eq!("1.42".parse::<Position>().unwrap(), at(42));
    for bad in ["1", "01.2", "1.2.3", "+1.2", ""] {
        assert!(bad.parse::<Position>().is_err(), "{bad}");
    }
}
