//! How many runs of its host a device may report. Each is a row that is kept for a month and that gates read, and a host
//! says by itself which run it is: one token could fill the disk.
//!
//! Counted in memory, by the hour of the clock: a row that is not taken costs the database nothing. After a restart
//! counting begins anew, which lets nobody in who can restart nothing.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use mpkg_fleet::Report;

/// Runs, each with one release, of which a device may report one app in an hour. A host that starts every minute is in
/// a crash loop, and has said so long before.
const RUNS: u8 = 64;
/// Runs that are remembered, about 40 bytes each. Beyond, counting begins anew: that is a fleet of millions, and no
/// device of it by itself gets so far.
const MOST: usize = 1 << 22;
const HOUR_S: i64 = 3_600;

/// The runs of this hour.
#[derive(Debug, Default)]
pub(crate) struct Boots {
    hour: i64,
    /// Hashes with keys that nobody knows, rather than names: names are long.
    hasher: RandomState,
    seen: HashSet<u64>,
    counts: HashMap<u64, u8>,
}

impl Boots {
    /// Whether a device may report this run.
    pub(crate) fn admit(&mut self, now: i64, device: &str, report: &Report) -> bool {
        let hour = now.div_euclid(HOUR_S);
        if hour != self.hour || self.seen.len() >= MOST {
            self.hour = hour;
            self.seen.clear();
            self.counts.clear();
        }
        let app = report.app.as_str();
        let run = self.hasher.hash_one((device, app, report.release_seq, report.boot.as_str()));
        if self.seen.contains(&run) {
            return true;
        }
        let count = self.counts.entry(self.hasher.hash_one((device, app))).or_default();
        if *count >= RUNS {
            return false;
        }
        *count += 1;
        self.seen.insert(run);
        true
    }
}

#[cfg(test)]
mod tests {
    use mpkg_fleet::{Arm, Counters};

    use super::*;

    fn report(app: &str, release_seq: u64, boot: u32) -> Report {
        let boot = format!("b{boot}").parse().unwrap();
        Report {
            app: app.parse().unwrap(),
            release_seq,
            arm: Arm::Neither,
            boot,
            counters: Counters::default(),
        }
    }

    #[test]
    fn a_device_has_so_many_runs_of_an_app_in_an_hour() {
        let mut boots = Boots::default();
        let new = |boots: &mut Boots, now, device, app, release_seq, from: u32| {
            (from..from + 100)
                .filter(|boot| boots.admit(now, device, &report(app, release_seq, *boot)))
                .count()
        };
        let (one, other) = ("org.example.one", "org.example.other");
        assert_eq!(new(&mut boots, 0, "phone", one, 1, 0), 64);
        // The same again, and no others: of another release neither.
        assert_eq!(new(&mut boots, 3_599, "phone", one, 1, 0), 64);
        assert_eq!(new(&mut boots, 3_599, "phone", one, 1, 100), 0);
        assert_eq!(new(&mut boots, 3_599, "phone", one, 2, 0), 0);
        assert_eq!(new(&mut boots, 3_599, "phone", other, 1, 0), 64);
        assert_eq!(new(&mut boots, 3_599, "tablet", one, 1, 0), 64);
        assert_eq!(new(&mut boots, 3_600, "phone", one, 1, 100), 64);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut boots = Boots::default();
        boots.seen.extend(0..MOST as u64);
        assert!(boots.admit(0, "phone", &report("org.example.one", 1, 1)));
        assert_eq!((boots.seen.len(), boots.counts.len()), (1, 1));
    }
}
