//! What there is to see while the story goes on.

use super::report::Latency;
use crate::ops::remote::watch::Glimpse;

/// One thing to see. Whoever shows it decides how.
pub(crate) enum Scene<'a> {
    /// A part of the story begins.
    Chapter(&'a str),
    /// Something happened.
    Note(String),
    /// Something goes on: so many of so many. It ends with the next scene of another kind.
    Progress {
        /// What.
        what: &'a str,
        /// So many.
        done: usize,
        /// Of so many.
        all: usize,
    },
    /// Work goes on that cannot be counted.
    Work(&'a str),
    /// A rollout as it stands.
    Rollout(&'a Glimpse),
    /// How many hosts run what.
    Runs(Vec<(String, usize)>),
    /// How long something took to reach every host.
    Reached {
        /// What.
        what: &'a str,
        /// How long.
        latency: &'a Latency,
    },
}
