//! The life of a rollout: known transitions, and random commands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use mpkg_fleet::*;
use proptest::prelude::*;
use support::*;

fn rollout() -> Rollout {
    let salt = "r-5".parse().unwrap();
    Rollout::draft(app(), release(5), Some(release(4)), salt, Plan::default(), time(0))
}

fn reason() -> mpkg_manifest::Text<200> {
    "three in the morning".parse().unwrap()
}

fn hold() -> Command {
    Command::Hold { reason: reason() }
}

fn halt() -> Command {
    Command::Halt { reason: reason() }
}

fn back(seq: u64) -> Command {
    Command::RollBack { to: release(seq), reason: reason() }
}

/// After these commands, an hour and more apart.
fn after(commands: &[Command]) -> Rollout {
    let mut rollout = rollout();
    for (at, command) in commands.iter().enumerate() {
        rollout = rollout.apply(command, time(100_000 * (at as i64 + 1))).unwrap().0;
    }
    rollout
}

const ADVANCE: Command = Command::Advance { skip_bake: false };

#[test]
fn the_default_plan_goes_to_everybody() {
    let mut rollout = rollout();
    assert_eq!(rollout.shape().unwrap().release, None);
    rollout = rollout.apply(&Command::Start, time(0)).unwrap().0;
    let shape = rollout.shape().unwrap();
    assert_eq!((shape.percent.get(), shape.control.get()), (500, 500));
    assert_eq!(rollout.baked_at(), Some(time(3_600)));
    let early = rollout.apply(&ADVANCE, time(3_599)).unwrap_err();
    assert_eq!(early, TransitionError::Baking { until: time(3_600) });
    assert_eq!(rollout.apply(&Command::Complete, time(9_999)).unwrap_err().code(), "MPKG-F53");
    rollout = rollout.apply(&ADVANCE, time(3_600)).unwrap().0;
    rollout = rollout.apply(&Command::Advance { skip_bake: true }, time(3_601)).unwrap().0;
    let shape = rollout.shape().unwrap();
    assert_eq!((shape.percent.get(), shape.control.get()), (10_000, 0));
    assert_eq!(rollout.apply(&ADVANCE, time(999_999)).unwrap_err().code(), "MPKG-F53");
    rollout = rollout.apply(&Command::Complete, time(999_999)).unwrap().0;
    let shape = rollout.shape().unwrap();
    assert_eq!((shape.release, shape.baseline), (None, Some(release(5))));
    assert_eq!(rollout.revision, 4);
}

#[test]
fn what_stops_means_in_each_phase() {
    let phases = [
        (vec![], "draft"),
        (vec![Command::Start], "running"),
        (vec![Command::Start, hold()], "held"),
        (vec![Command::Start, halt()], "halted"),
        (vec![Command::Start, back(2)], "rolled_back"),
        (vec![Command::Start, ADVANCE, ADVANCE, Command::Complete], "completed"),
        (vec![Command::Start, Command::Supersede { by: 6 }], "superseded"),
    ];
    let expected = [
        // (hold, halt, roll back)
        ["draft", "halted", "halted"],
        ["held", "halted", "rolled_back"],
        ["held", "halted", "rolled_back"],
        ["halted", "halted", "rolled_back"],
        ["rolled_back", "rolled_back", "rolled_back"],
        ["completed", "halted", "rolled_back"],
        ["superseded", "superseded", "superseded"],
    ];
    for ((commands, name), expected) in phases.iter().zip(expected) {
        let rollout = after(commands);
        assert_eq!(rollout.phase.name(), *name);
        for (command, expected) in [hold(), halt(), back(3)].iter().zip(expected) {
            let (stopped, events) = rollout.apply(command, time(0)).unwrap();
            assert_eq!(stopped.phase.name(), expected, "{} in {name}", command.name());
            if *name == "superseded" {
                assert_eq!(events, [Event::NotInCharge { by: 6 }]);
            }
            // Again: nothing more happens, and that is said.
            let (again, events) = stopped.apply(command, time(1)).unwrap();
            assert_eq!(again, stopped);
            assert!(matches!(events[..], [Event::Already { .. } | Event::NotInCharge { .. }]));
        }
    }
}

#[test]
fn halted_keeps_and_rolled_back_takes() {
    let halted = after(&[Command::Start, halt()]).shape().unwrap();
    assert_eq!((halted.release, halted.admission), (Some(release(5)), Admission::Closed));
    let rolled = after(&[Command::Start, back(2)]).shape().unwrap();
    assert_eq!((rolled.release, rolled.baseline), (None, Some(release(2))));
    // A completed one that is halted: who has the release keeps it, and nobody else gets it.
    let completed = after(&[Command::Start, ADVANCE, ADVANCE, Command::Complete, halt()]).shape().unwrap();
    assert_eq!((completed.release, completed.baseline), (Some(release(5)), Some(release(4))));
    assert_eq!(completed.admission, Admission::Closed);
    // A draft that is halted, or rolled back, cannot be started any more.
    let never = after(&[halt()]);
    assert_eq!(after(&[back(2)]).phase, never.phase);
    assert_eq!(never.apply(&Command::Start, time(0)).unwrap_err().code(), "MPKG-F51");
    assert_eq!(never.apply(&Command::Resume, time(0)).unwrap_err().code(), "MPKG-F51");
}

#[test]
fn a_rollback_goes_back() {
    for seq in [5, 6] {
        assert_eq!(after(&[Command::Start]).apply(&back(seq), time(0)).unwrap_err().code(), "MPKG-F54");
    }
    assert_eq!(after(&[]).apply(&Command::Supersede { by: 5 }, time(0)).unwrap_err().code(), "MPKG-F55");
}

#[test]
fn resuming_bakes_again() {
    let rollout = after(&[Command::Start, hold()]);
    let resumed = rollout.apply(&Command::Resume, time(500_000)).unwrap().0;
    assert_eq!(resumed.baked_at(), Some(time(503_600)));
    // A clock that was turned back does not shorten it.
    let back_in_time = rollout.apply(&Command::Resume, time(0)).unwrap().0;
    assert_eq!(back_in_time.since, rollout.since);
}

#[test]
fn plans_that_make_no_sense_are_refused() {
    let step =
        |percent, votes| Step { percent: BasisPoints::new(percent).unwrap(), bake_s: 0, min_votes: votes };
    for bad in [
        vec![],
        vec![step(0, 0), step(10_000, 0)],
        vec![step(500, 0)],
        vec![step(500, 0), step(500, 0), step(10_000, 0)],
        vec![step(500, 9), step(10_000, 8)],
        (1..=33).map(|n| step(if n == 33 { 10_000 } else { n }, 0)).collect(),
    ] {
        assert_eq!(Plan::new(bad).unwrap_err().code(), "MPKG-F50");
    }
    assert!(serde_json::from_str::<Plan>("[]").is_err());
}

#[test]
fn stops_need_one_person_and_approvals_are_for_one_change() {
    let policy = ApprovalPolicy { start: 2, lift: 3, ..ApprovalPolicy::default() };
    let change = change_hash("org.example.app", 0, &Command::Start);
    let by = |name: &str, change| Approval { by: name.to_owned(), change };
    assert!(policy.check(Verb::of(&halt()), "ann", change, &[]).is_ok());
    let check = |approvals: &[Approval]| policy.check(Verb::Start, "ann", change, approvals).is_ok();
    assert!(!check(&[]));
    assert!(!check(&[by("ann", change), by("ann", change)]));
    assert!(!check(&[by("ben", change_hash("org.example.app", 1, &Command::Start))]));
    assert!(!check(&[by("ben", change_hash("org.example.app", 0, &Command::Resume))]));
    assert!(!check(&[by("ben", change_hash("org.example.other", 0, &Command::Start))]));
    assert!(check(&[by("ben", change)]));
    assert_eq!(policy.check(Verb::Lift, "ann", change, &[by("ben", change)]).unwrap_err().needed, 3);
    // No policy makes a stop dear, and none makes anything free.
    let policy: ApprovalPolicy = serde_json::from_str(r#"{"start": 0}"#).unwrap();
    assert_eq!((policy.needed(Verb::Stop), policy.needed(Verb::Start)), (1, 1));
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        3 => Just(Command::Start),
        3 => any::<bool>().prop_map(|skip_bake| Command::Advance { skip_bake }),
        2 => Just(hold()),
        3 => Just(Command::Resume),
        1 => Just(halt()),
        1 => (1_u64..5).prop_map(back),
        2 => Just(Command::Complete),
        1 => (6_u64..9).prop_map(|by| Command::Supersede { by }),
    ]
}

/// Who has the release and who gets it: offered at all, the share, and whether somebody new.
fn reach(rollout: &Rollout) -> u64 {
    let offer = |shape: Shape| match (shape.release, shape.baseline) {
        (Some(_), _) if shape.admission == Admission::Open => u64::from(shape.percent.get()) + 1,
        (Some(_), _) => 1,
        (None, Some(baseline)) if baseline.release_seq == 5 => 20_000,
        _ => 0,
    };
    rollout.shape().map_or(0, offer)
}

proptest! {
    #[test]
    fn a_stop_is_never_refused_and_nothing_goes_back(
        commands in prop::collection::vec((command(), -50_000_i64..200_000), 0..40),
    ) {
        let (mut rollout, mut clock) = (rollout(), 0);
        for (command, passed) in commands {
            clock += passed;
            for stop in [hold(), halt(), back(2)] {
                let (stopped, events) = rollout.apply(&stop, time(clock)).unwrap();
                prop_assert_eq!(events.len(), 1);
                prop_assert!(reach(&stopped) <= reach(&rollout), "a stop widens");
                // Nobody has anything of it yet, so there is nobody to move.
                prop_assert!(!rollout.never_began() || stopped.shape() == rollout.shape());
                prop_assert!(stop.stops());
            }
            let Ok((next, _)) = rollout.apply(&command, time(clock)) else {
                prop_assert!(!command.stops(), "{} was refused in {}", command.name(), rollout.phase.name());
                continue;
            };
            let moved = next != rollout;
            prop_assert_eq!(next.revision, rollout.revision + u64::from(moved));
            prop_assert!(next.since >= rollout.since);
            // Ends are ends: from there only further stops, or another rollout, lead on.
            match &rollout.phase {
                Phase::Superseded { .. } => prop_assert!(!moved),
                Phase::RolledBack { .. } => {
                    let end = matches!(next.phase, Phase::RolledBack { .. } | Phase::Superseded { .. });
                    prop_assert!(end);
                }
                _ => prop_assert!(next.phase != Phase::Draft || !moved),
            }
            // More people get it only by a verb that goes.
            if reach(&next) > reach(&rollout) {
                prop_assert!(!command.stops());
            }
            let text = serde_json::to_string(&next).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Rollout>(&text).unwrap(), &next);
            rollout = next;
        }
    }
}
