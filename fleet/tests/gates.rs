//! Known answers of the health gates, their evidence, and what a plan promises against simulation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use mpkg_fleet::*;
use support::{Random, app, time};

fn inputs(treatment: ArmVotes, control: ArmVotes) -> GateInputs {
    let percent = BasisPoints::new(500).unwrap();
    GateInputs {
        app: app(),
        release_seq: 7,
        at: time(0),
        step: 0,
        plan: Step { percent, bake_s: 3_600, min_votes: 0 },
        elapsed_s: 3_600,
        control_share: percent.control(),
        treatment,
        control,
    }
}

/// An arm in which every device voted the same way on everything.
fn all(good: u64, bad: u64) -> ArmVotes {
    let tally = Tally { good, bad };
    let devices = good + bad;
    ArmVotes { devices, errors: tally, slow: tally, sluggish: tally, unavailable: tally, crash_loops: 0 }
}

fn verdict(treatment: ArmVotes, control: ArmVotes) -> Verdict {
    let evidence = evaluate(inputs(treatment, control));
    // Whatever is decided in these tests can be decided again, from the bytes that are kept.
    let kept = Evidence::parse(&evidence.to_bytes()).unwrap();
    assert_eq!(kept, evidence);
    assert_eq!(kept.to_bytes(), evidence.to_bytes());
    replay(&kept).unwrap()
}

fn only(metric: Metric, good: u64, bad: u64) -> ArmVotes {
    let mut arm = ArmVotes { devices: good + bad, ..ArmVotes::default() };
    match metric {
        Metric::Errors => arm.errors = Tally { good, bad },
        Metric::Slow => (arm.slow, arm.sluggish) = (Tally { good, bad }, Tally { good, bad }),
        Metric::Unavailable => arm.unavailable = Tally { good, bad },
    }
    arm
}

#[test]
fn all_bad_rolls_back_after_eight() {
    let none = ArmVotes::default();
    for (metric, votes) in [(Metric::Errors, 8), (Metric::Slow, 8), (Metric::Unavailable, 5)] {
        let why = vec![Bad::Metric(metric)];
        assert_eq!(verdict(only(metric, 0, votes), none), Verdict::RollBack { why });
        assert!(matches!(verdict(only(metric, 0, votes - 1), none), Verdict::Hold { .. }));
    }
}

#[test]
fn all_good_is_healthy_after_112() {
    assert_eq!(verdict(all(112, 0), all(112, 0)), Verdict::Healthy);
    let waiting = |metric| Waiting::Votes { metric, have: 111, good_missing: 1 };
    let why = vec![waiting(Metric::Errors), waiting(Metric::Slow)];
    assert_eq!(verdict(all(111, 0), all(111, 0)), Verdict::Hold { why });
    // Availability has a pair of its own: 0.1 % against 5 % takes 92.
    let tally = |arm: &mut ArmVotes, good| arm.unavailable = Tally { good, bad: 0 };
    let mut arm = all(112, 0);
    tally(&mut arm, 92);
    assert_eq!(verdict(arm, all(112, 0)), Verdict::Healthy);
    tally(&mut arm, 91);
    assert!(matches!(verdict(arm, all(112, 0)), Verdict::Hold { .. }));
}

#[test]
fn slow_has_two_events() {
    // Every call takes a second: too slow to be healthy, not slow enough to go back.
    let mut arm = all(1_000, 0);
    arm.sluggish = Tally { good: 0, bad: 1_000 };
    match verdict(arm, all(1_000, 0)) {
        Verdict::Hold { why } => assert!(matches!(why[..], [Waiting::Votes { metric: Metric::Slow, .. }])),
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_traffic_holds_and_says_what_is_missing() {
    let mut inputs = inputs(ArmVotes::default(), ArmVotes::default());
    (inputs.plan.min_votes, inputs.elapsed_s) = (150, 600);
    let evidence = evaluate(inputs);
    let votes = |metric, good_missing| Waiting::Votes { metric, have: 0, good_missing };
    let why = vec![
        votes(Metric::Errors, 112),
        votes(Metric::Slow, 112),
        votes(Metric::Unavailable, 92),
        Waiting::Sample { have: 0, needed: 150 },
        Waiting::Baking { left_s: 3_000 },
    ];
    assert_eq!(evidence.verdict, Verdict::Hold { why });
    assert_eq!(replay(&evidence).unwrap(), evidence.verdict);
}

/// Votes until a rollback, if there is one.
fn run(random: &mut Random, ppm: u64, most: u64) -> Option<u64> {
    let (mut tally, pair) = (Tally::default(), ROWS[0].rollback);
    (1..=most).find(|_| {
        tally = tally.with(random.in_million(ppm));
        pair.is_decided(tally)
    })
}

#[test]
fn one_percent_is_never_rolled_back_in_20_000_runs() {
    let mut random = Random(1);
    let fired = (0..20_000).filter(|_| run(&mut random, 10_000, 2_000).is_some()).count();
    assert_eq!(fired, 0);
}

#[test]
fn ten_percent_is_caught_with_a_median_near_106() {
    let mut random = Random(2);
    let mut votes: Vec<u64> = (0..5_000).map(|_| run(&mut random, 100_000, 100_000).unwrap()).collect();
    votes.sort_unstable();
    let median = votes[votes.len() / 2];
    assert!((96..=112).contains(&median), "{median}");
}

#[test]
fn trouble_that_the_control_arm_has_too_is_no_reason_to_go_back() {
    // A backend is down: both arms fail in one call out of three.
    let why = match verdict(all(60, 30), all(62, 28)) {
        Verdict::Hold { why } => why,
        other => panic!("{other:?}"),
    };
    assert!(why.contains(&Waiting::ControlIsBadToo(Bad::Metric(Metric::Errors))), "{why:?}");
    // The release alone fails, or both do and the release much more.
    assert!(matches!(verdict(all(60, 30), all(90, 0)), Verdict::RollBack { .. }));
    assert!(matches!(verdict(all(30, 60), all(70, 20)), Verdict::RollBack { .. }));
    // A few voices in the control arm excuse nothing.
    let mut few = all(9, 10);
    few.devices = 90;
    assert!(matches!(verdict(all(60, 30), few), Verdict::RollBack { .. }));
}

#[test]
fn arms_of_the_wrong_size_hold_and_excuse_nothing() {
    let mut control = all(500, 0);
    control.devices = 800;
    match verdict(all(500, 0), control) {
        Verdict::Hold { why } => assert_eq!(why, [Waiting::SampleRatio]),
        other => panic!("{other:?}"),
    }
    let mut control = all(62, 28);
    control.devices = 900;
    assert!(matches!(verdict(all(60, 30), control), Verdict::RollBack { .. }));
}

#[test]
fn crash_loops_trip_at_once() {
    let mut arm = all(495, 0);
    (arm.devices, arm.crash_loops) = (500, 5);
    let why = vec![Bad::CrashLoops];
    assert_eq!(verdict(arm, all(500, 0)), Verdict::RollBack { why });
    arm.crash_loops = 4;
    assert_eq!(verdict(arm, all(500, 0)), Verdict::Healthy);
    // In a large fleet a few devices are always broken.
    let mut arm = all(100_000, 0);
    arm.crash_loops = 50;
    assert_eq!(verdict(arm, all(100_000, 0)), Verdict::Healthy);
    // A system update breaks both arms.
    let (mut arm, mut control) = (all(500, 0), all(500, 0));
    (arm.crash_loops, control.crash_loops) = (10, 10);
    assert!(matches!(verdict(arm, control), Verdict::Hold { .. }));
}

#[test]
fn edited_evidence_does_not_replay() {
    let evidence = evaluate(inputs(all(0, 8), all(8, 0)));
    let mut edited = evidence.clone();
    edited.verdict = Verdict::Healthy;
    assert_eq!(replay(&edited).unwrap_err().code(), "MPKG-F61");
    let mut edited = evidence.clone();
    edited.lines[0].rollback -= 1;
    assert_eq!(replay(&edited).unwrap_err().code(), "MPKG-F61");
    let mut edited = evidence.clone();
    edited.rules += 1;
    assert_eq!(replay(&edited).unwrap_err().code(), "MPKG-F60");
}

/// Evidence as it was written once. It must read, and give the same decision, for as long as the rules have the version
/// that it names.
#[test]
fn evidence_that_is_kept_replays_on_every_version() {
    let kept = include_str!("cases/evidence.json").trim_end();
    let evidence = Evidence::parse(kept.as_bytes()).unwrap();
    assert_eq!(replay(&evidence).unwrap(), evidence.verdict);
    assert_eq!(String::from_utf8(evidence.to_bytes()).unwrap(), kept);
}

#[test]
fn forecasts_agree_with_simulation() {
    for (ppm, seed) in [(60_000, 3), (100_000, 4), (200_000, 5)] {
        let mut random = Random(seed);
        let runs = 3_000;
        let sum: u64 = (0..runs).map(|_| run(&mut random, ppm, 1_000_000).unwrap()).sum();
        let mean = sum as f64 / f64::from(runs);
        let promised = average_votes(&ROWS[0].rollback, ppm as u32).unwrap() as f64;
        // The last vote overshoots the line, by at most one bad vote: 13 % of the line.
        assert!((promised * 0.97..promised * 1.15).contains(&mean), "{ppm}: {mean} for {promised}");
    }
    for (ppm, seed) in [(0_u64, 6), (5_000, 7), (10_000, 8)] {
        let mut random = Random(seed);
        let pair = ROWS[0].healthy;
        let runs = 3_000;
        let sum: u64 = (0..runs)
            .map(|_| {
                let mut tally = Tally::default();
                while !pair.is_decided(tally) {
                    tally = tally.with(random.in_million(ppm));
                }
                tally.votes()
            })
            .sum();
        let mean = sum as f64 / f64::from(runs);
        let promised = average_votes(&pair, ppm as u32).unwrap() as f64;
        assert!((promised * 0.95..promised * 1.06).contains(&mean), "{ppm}: {mean} for {promised}");
    }
}

#[test]
fn what_can_be_detected_is_the_inverse_of_how_long_it_takes() {
    for row in ROWS {
        for votes in [8, 20, 100, 500, 5_000, 1_000_000] {
            let Some(ppm) = detectable(&row.rollback, votes) else { panic!("{votes}") };
            assert!(average_votes(&row.rollback, ppm).unwrap() <= votes, "{row:?} {votes}");
            assert!(
                average_votes(&row.rollback, ppm - 2).is_none_or(|more| more >= votes),
                "{row:?} {votes}"
            );
        }
        assert_eq!(detectable(&row.rollback, 4), None);
        assert_eq!(detectable(&row.rollback, 0), None);
    }
}

#[test]
fn a_forecast_says_when_a_step_never_ends() {
    let plan = Plan::default();
    let traffic = Traffic { devices_per_day: 20_000, devices: 100_000 };
    let good = forecast(&plan, traffic, &Rates::default());
    assert_eq!(good.steps.len(), 3);
    assert_eq!(good.steps[0].votes_per_day, 1_000);
    assert_eq!(good.takes_s, good.steps.iter().map(|step| step.takes_s).sum());
    assert!(good.steps.windows(2).all(|pair| pair[0].votes <= pair[1].votes));
    // 5 % of a thousand devices are 50, which are never 150 votes.
    let small = forecast(&plan, Traffic { devices_per_day: 200, devices: 1_000 }, &Rates::default());
    assert_eq!((small.steps.len(), small.takes_s), (1, None));
    // An app of which 5 % of calls fail at all times never counts as healthy.
    let rates = Rates { errors_ppm: 50_000, ..Rates::default() };
    assert_eq!(forecast(&plan, traffic, &rates).takes_s, None);
    assert_eq!(forecast(&plan, traffic, &rates).steps[0].effects[0].votes_to_healthy, None);
}
