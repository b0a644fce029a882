//! The fuzz targets' checks over their seeds and over damaged copies of these, so that the targets cannot go stale and
//! a finding that is easy to reach shows here first. `make fuzz` looks longer.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use mpkg_fuzz::{TARGETS, seeds};

/// A small generator, so that a failure comes again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }

    /// Some bytes changed, taken out, put in twice, or put to where others are.
    fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let (from, to) = (self.below(out.len()), self.below(out.len()));
            let length = self.below(24).min(out.len().saturating_sub(from.max(to)));
            let part = out.get(from..from + length).unwrap_or_default().to_vec();
            match self.below(5) {
                0 => drop(out.drain(from..from + length)),
                1 => drop(out.splice(to..to, part)),
                2 => drop(out.splice(to..to + length, part)),
                3 => out.truncate(to),
                _ => {
                    if let Some(byte) = out.get_mut(from) {
                        *byte ^= 1 << self.below(8);
                    }
                }
            }
        }
        out
    }
}

#[test]
fn no_seed_and_no_damaged_seed_finds_anything() {
    let seeds = seeds::all();
    for (name, run) in TARGETS {
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let mut count = 0;
        for (_, _, bytes) in seeds.iter().filter(|(target, _, _)| *target == name) {
            count += 1;
            run(bytes);
            run(&[]);
            (0..200).for_each(|_| run(&random.damage(bytes)));
        }
        assert!(count > 0, "{name} has no seeds");
    }
}

/// Seeds are valid cases and their neighbours: each target accepts something, and refuses something.
#[test]
fn the_seed_for_every_target_is_there() {
    let seeds = seeds::all();
    for (target, name, bytes) in &seeds {
        assert!(TARGETS.iter().any(|(known, _)| known == target), "{target} is no target");
        assert!(bytes.len() <= 8192, "{target}/{name} is longer than what the fuzzer tries");
    }
}
