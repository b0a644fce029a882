//! What became of the starts of an app's releases: which of them came up, which failed too often, and what to go back to.
//!
//! Three abnormal starts in a row, and a release is rejected: the app goes back to the last one that came up. Two more
//! there, and it goes back to the one that was shipped within the Super App. Two more, and the app is not started any
//! more. No release that was rejected runs again by itself.
//!
//! Everything here is pure; what is decided is carried out elsewhere.

use std::collections::BTreeMap;

use mpkg_fleet::ReleaseRef;
use serde::{Deserialize, Serialize};

/// How many abnormal starts in a row it takes to reject a release.
const BUDGET: u8 = 3;
/// The same for a release that was gone back to.
const BUDGET_BACK: u8 = 2;
/// The longest reason kept, in characters.
const REASON: usize = 200;
/// How many rejected releases are remembered after they are gone from the disk.
const REJECTED: usize = 32;

/// The starts of one app's releases, which are named by their packages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Boots {
    releases: BTreeMap<String, Starts>,
    /// The release that was shipped within the Super App.
    embedded: Option<String>,
    /// The release to run was gone back to, and has not come up since.
    back: bool,
    /// Why the app is not started any more.
    quarantine: Option<String>,
    /// Counts how often one release took another's place.
    turns: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Starts {
    /// Which one it is, for when it is no longer on the disk.
    release: Option<ReleaseRef>,
    /// It came up at least once.
    good: bool,
    rejected: bool,
    /// Abnormal starts in a row.
    abnormal: u8,
    /// Guest code may be running that has not come up yet. Written before the code runs: a host that finds it when it
    /// starts was taken down meanwhile.
    under_way: bool,
    /// The turn in which another release took its place.
    left: u64,
    /// How the last abnormal start ended.
    why: String,
}

/// What to do about the release that is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Stay,
    /// It is rejected; this one is to take its place.
    Back(String),
    /// It is rejected, and nothing can take its place.
    Quarantine,
}

impl Boots {
    pub(crate) fn is_good(&self, release: &str) -> bool {
        self.releases.get(release).is_some_and(|starts| starts.good)
    }

    pub(crate) fn is_rejected(&self, release: &str) -> bool {
        self.releases.get(release).is_some_and(|starts| starts.rejected)
    }

    pub(crate) fn is_embedded(&self, release: &str) -> bool {
        self.embedded.as_deref() == Some(release)
    }

    /// Why the app is not started any more.
    pub(crate) fn quarantine(&self) -> Option<&str> {
        self.quarantine.as_deref()
    }

    /// Whether a good start of it has to be recorded: because it is the first, or ends a row of abnormal ones.
    pub(crate) fn is_watched(&self, release: &str) -> bool {
        self.releases.get(release).is_none_or(|starts| !starts.good || starts.abnormal > 0)
    }

    /// Whether there is anything that the app might go back to from it.
    pub(crate) fn has_other(&self, release: &str) -> bool {
        let good = |(other, starts): (&String, &Starts)| other != release && starts.good && !starts.rejected;
        self.embedded.as_ref().is_some_and(|embedded| embedded != release) || self.releases.iter().any(good)
    }

    /// Whether a release has failed as often as it may.
    pub(crate) fn is_due(&self, release: &str) -> bool {
        let budget = if self.back { BUDGET_BACK } else { BUDGET };
        self.releases.get(release).is_some_and(|starts| starts.rejected || starts.abnormal >= budget)
    }

    /// Guest code of it is about to run.
    pub(crate) fn began(&mut self, release: &str) {
        self.of(release).under_way = true;
    }

    /// Nothing of it is starting any more, and nothing went wrong.
    pub(crate) fn ended(&mut self, release: &str) {
        self.of(release).under_way = false;
    }

    /// It came up.
    pub(crate) fn came_up(&mut self, release: &str, current: Option<&str>) {
        let starts = self.of(release);
        (starts.good, starts.abnormal, starts.under_way) = (true, 0, false);
        if current == Some(release) {
            self.back = false;
        }
    }

    /// It ended by a failure of its own before it was up.
    pub(crate) fn failed(&mut self, release: &str, why: &str) {
        let starts = self.of(release);
        (starts.abnormal, starts.under_way) = (starts.abnormal.saturating_add(1), false);
        starts.why = why.chars().take(REASON).collect();
    }

    /// The host's process is new. What was under way has not survived the last one; returned.
    pub(crate) fn restarted(&mut self) -> Vec<String> {
        let under_way = self.releases.iter().filter(|(_, starts)| starts.under_way);
        let interrupted: Vec<_> = under_way.map(|(release, _)| release.clone()).collect();
        for release in &interrupted {
            self.failed(release, "the host ended while it started");
        }
        interrupted
    }

    /// Decides about the release that is to run. Only what is `usable` can take its place. Where there is no way back an
    /// app is given up only if somebody is there to offer another release.
    pub(crate) fn judge(&mut self, current: &str, attended: bool, usable: impl Fn(&str) -> bool) -> Verdict {
        if !self.is_due(current) {
            return Verdict::Stay;
        }
        let may = |release: &str| release != current && !self.is_rejected(release) && usable(release);
        // Who has gone back once and failed there does not try everything that ever worked.
        let good = (!self.back).then(|| self.last_good(may)).flatten();
        let to = good.or_else(|| self.embedded.clone().filter(|embedded| may(embedded)));
        match to {
            Some(to) => {
                self.of(current).rejected = true;
                self.of(&to).abnormal = 0;
                self.back = true;
                self.quarantine = None;
                Verdict::Back(to)
            }
            None if attended && self.quarantine.is_none() => {
                let starts = self.of(current);
                starts.rejected = true;
                let reason = format!(
                    "it ended {} times before it was up, the last time because {}",
                    starts.abnormal, starts.why
                );
                self.quarantine = Some(reason);
                Verdict::Quarantine
            }
            None => Verdict::Stay,
        }
    }

    /// The one among those that came up which was in place last.
    pub(crate) fn last_good(&self, may: impl Fn(&str) -> bool) -> Option<String> {
        let good = self.releases.iter().filter(|(release, starts)| starts.good && may(release));
        good.max_by_key(|(_, starts)| starts.left).map(|(release, _)| release.clone())
    }

    /// Somebody wants it to run. False if it was rejected; else what was gone back to and given up is over.
    pub(crate) fn wanted(&mut self, release: &str) -> bool {
        let may = !self.is_rejected(release);
        if may {
            (self.back, self.quarantine) = (false, None);
        }
        may
    }

    /// One takes the other's place.
    pub(crate) fn turned(&mut self, from: &str) {
        self.turns += 1;
        self.of(from).left = self.turns;
    }

    /// It is shipped within the Super App, instead of the one that was.
    pub(crate) fn embed(&mut self, release: &str) {
        self.embedded = Some(release.to_owned());
    }

    /// It is here now.
    pub(crate) fn here(&mut self, release: &ReleaseRef) {
        self.of(&release.package.sha256.to_string()).release = Some(release.clone());
    }

    /// It is here no more. That it was rejected is remembered, or it would be fetched and tried again.
    pub(crate) fn gone(&mut self, release: &str) {
        if !self.is_rejected(release) {
            self.releases.remove(release);
        }
        if self.is_embedded(release) {
            self.embedded = None;
        }
    }

    /// What happened to it is forgotten: a person wants it.
    pub(crate) fn forgive(&mut self, release: &str) {
        let starts = self.of(release);
        *starts = Starts { release: starts.release.take(), left: starts.left, ..Starts::default() };
        (self.back, self.quarantine) = (false, None);
    }

    /// The releases that are not run again.
    pub(crate) fn rejected(&self) -> Vec<ReleaseRef> {
        let rejected = self.releases.values().filter(|starts| starts.rejected);
        rejected.filter_map(|starts| starts.release.clone()).collect()
    }

    /// Remembers no more rejected releases than so many; the oldest go first. `on_shelf` are not counted.
    pub(crate) fn bound(&mut self, on_shelf: impl Fn(&str) -> bool) {
        let mut away: Vec<_> = self
            .releases
            .iter()
            .filter(|(release, _)| !on_shelf(release))
            .map(|(release, starts)| (starts.left, release.clone()))
            .collect();
        away.sort_unstable();
        for (_, release) in away.iter().take(away.len().saturating_sub(REJECTED)) {
            self.releases.remove(release);
        }
    }

    fn of(&mut self, release: &str) -> &mut Starts {
        self.releases.entry(release.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fail(boots: &mut Boots, release: &str, times: u8) {
        for _ in 0..times {
            boots.began(release);
            boots.failed(release, "it crashed");
        }
    }

    /// What `judge` says, with everything on the shelf.
    fn judge(boots: &mut Boots, current: &str) -> Verdict {
        boots.judge(current, true, |_| true)
    }

    #[test]
    fn three_then_two_then_two() {
        let mut boots = Boots::default();
        boots.embed("e");
        boots.came_up("1", Some("1"));
        boots.turned("1");
        fail(&mut boots, "2", 2);
        assert_eq!(judge(&mut boots, "2"), Verdict::Stay);
        fail(&mut boots, "2", 1);
        assert_eq!(judge(&mut boots, "2"), Verdict::Back("1".into()));
        boots.turned("2");
        fail(&mut boots, "1", 1);
        assert_eq!(judge(&mut boots, "1"), Verdict::Stay);
        fail(&mut boots, "1", 1);
        assert_eq!(judge(&mut boots, "1"), Verdict::Back("e".into()));
        fail(&mut boots, "e", 2);
        assert_eq!(judge(&mut boots, "e"), Verdict::Quarantine);
        assert!(boots.quarantine().unwrap().contains("it crashed"));
        assert!(["1", "2", "e"].iter().all(|release| !boots.wanted(release)), "what was rejected stays so");
        assert!(boots.quarantine().is_some());
        assert!(boots.wanted("3"));
        assert_eq!(boots.quarantine(), None);
    }

    #[test]
    fn a_good_start_begins_the_row_anew() {
        let mut boots = Boots::default();
        for _ in 0..5 {
            fail(&mut boots, "1", 2);
            assert!(boots.is_watched("1"));
            boots.came_up("1", Some("1"));
            assert!(!boots.is_watched("1"));
        }
        assert_eq!(judge(&mut boots, "1"), Verdict::Stay);
    }

    #[test]
    fn the_last_good_one_is_the_one_that_was_left_last() {
        let mut boots = Boots::default();
        for release in ["2", "1", "3"] {
            boots.came_up(release, Some(release));
            boots.turned(release);
        }
        fail(&mut boots, "4", 3);
        let gone = |release: &str| release != "3";
        assert_eq!(
            boots.judge("4", true, gone),
            Verdict::Back("1".into()),
            "what is not here is passed over"
        );
    }

    #[test]
    fn nobody_gives_up_an_app_for_which_nobody_could_offer_another_release() {
        let mut boots = Boots::default();
        fail(&mut boots, "1", 9);
        assert_eq!(boots.judge("1", false, |_| true), Verdict::Stay);
        assert!(!boots.is_rejected("1"));
        assert_eq!(boots.judge("1", true, |_| true), Verdict::Quarantine);
        assert_eq!(boots.judge("1", true, |_| true), Verdict::Stay, "and it is given up once");
    }

    #[test]
    fn a_host_that_was_taken_down_is_found_by_the_next_one() {
        let mut boots = Boots::default();
        boots.began("1");
        let mut next: Boots = serde_json::from_str(&serde_json::to_string(&boots).unwrap()).unwrap();
        assert_eq!(next.restarted(), ["1"]);
        assert_eq!(next.restarted(), [""; 0]);
        next.began("1");
        next.ended("1");
        assert_eq!(next.restarted(), [""; 0], "what ended in good order was no failure");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Fail,
        ComeUp,
        EndWell,
        Die,
        Offer(u8),
        Collect(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Fail),
            1 => Just(Step::ComeUp),
            1 => Just(Step::EndWell),
            1 => Just(Step::Die),
            1 => (0u8..6).prop_map(Step::Offer),
            1 => (0u8..6).prop_map(Step::Collect),
        ]
    }

    proptest! {
        /// Whatever happens, in whatever order: nothing that was rejected is run, no release fails more often in a row
        /// than it may, and while nobody offers anything an app fails a bounded number of times in all.
        #[test]
        fn crash_loops_come_to_an_end(steps in proptest::collection::vec(step(), 1..200)) {
            let mut boots = Boots::default();
            boots.embed("0");
            let mut current = "0".to_owned();
            let (mut row, mut since_news) = (0, 0);
            for step in steps {
                let given_up = boots.quarantine().is_some();
                match step {
                    Step::Fail | Step::Die if !given_up => {
                        prop_assert!(!boots.is_rejected(&current), "{current} was rejected and runs");
                        boots.began(&current);
                        if matches!(step, Step::Die) {
                            boots = serde_json::from_str(&serde_json::to_string(&boots).unwrap()).unwrap();
                            prop_assert_eq!(boots.restarted(), [current.clone()]);
                        } else {
                            boots.failed(&current, "x");
                        }
                        (row, since_news) = (row + 1, since_news + 1);
                        prop_assert!(row <= 3 && since_news <= 7, "{row} in a row, {since_news} in all");
                    }
                    Step::ComeUp if !given_up => {
                        boots.began(&current);
                        boots.came_up(&current, Some(&current));
                        (row, since_news) = (0, 0);
                        prop_assert!(boots.is_good(&current) && !boots.is_due(&current));
                    }
                    Step::EndWell if !given_up => {
                        let before = boots.clone();
                        boots.began(&current);
                        boots.ended(&current);
                        prop_assert_eq!(boots.is_due(&current), before.is_due(&current));
                    }
                    Step::Offer(n) => {
                        let release = n.to_string();
                        let rejected = boots.is_rejected(&release);
                        prop_assert_eq!(boots.wanted(&release), !rejected);
                        if !rejected {
                            boots.turned(&current);
                            if release != current { row = 0 }
                            (current, since_news) = (release, row);
                        }
                    }
                    // The embedded one is never collected, nor is what runs.
                    Step::Collect(n) if n != 0 && n.to_string() != current => {
                        let rejected = boots.is_rejected(&n.to_string());
                        boots.gone(&n.to_string());
                        boots.bound(|_| false);
                        prop_assert_eq!(boots.is_rejected(&n.to_string()), rejected);
                    }
                    _ => {}
                }
                match judge(&mut boots, &current) {
                    Verdict::Stay => {}
                    Verdict::Back(to) => {
                        prop_assert!(!boots.is_rejected(&to) && boots.is_rejected(&current));
                        boots.turned(&current);
                        (current, row) = (to, 0);
                    }
                    Verdict::Quarantine => prop_assert!(boots.is_rejected(&current)),
                }
            }
        }
    }
}
