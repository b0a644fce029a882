//! Kill switches: a set that only grows, and lifts that take a member out for ever.
//!
//! A kill's id is the hash of what it says. So nobody can say two things under one id, or lift a kill that does not
//! exist yet, and the union of two sets does not depend on what came first, twice, or late.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use mpkg_manifest::{AppId, Text};
use mpkg_package::{Hash, Time};
use semver::Version;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits;
use crate::types::{SeqRange, Token, VersionRange};

/// What a kill does. [`Level::Stop`] does what [`Level::Block`] does as well; otherwise each does its own thing only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// 1: tells users.
    Warn,
    /// 2: nobody gets a newer release. Going back is still possible.
    Freeze,
    /// 3: takes a permission, or one method of it.
    Revoke,
    /// 4: no new launches.
    Block,
    /// 5: stops what is running, and no new launches.
    Stop,
}

impl Level {
    /// All levels, the mildest first.
    pub const ALL: [Self; 5] = [Self::Warn, Self::Freeze, Self::Revoke, Self::Block, Self::Stop];

    /// From 1 to 5.
    pub fn number(self) -> u8 {
        self as u8 + 1
    }
}

/// What a kill is about. Everything that is given has to match; what is not given matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KillScope {
    /// The app; without one, every app of the fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppId>,
    /// Its releases by sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub releases: Option<SeqRange>,
    /// Its releases by version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<VersionRange>,
    /// Of level 3: the permission. Not limited to those that this version knows, lest a kill of a newer one
    /// make the whole document unreadable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission: Option<Token>,
    /// Of level 3: the one method of the permission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Token>,
    /// Versions of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_versions: Option<VersionRange>,
    /// Platforms, at most [`limits::KILL_PLATFORMS`]; none for all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub platforms: BTreeSet<Token>,
}

/// One order to switch something off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// What it does.
    pub level: Level,
    /// What it is about.
    pub scope: KillScope,
    /// Why, for people.
    pub reason: Text<200>,
    /// When it was ordered.
    pub issued: Time,
    /// Tells two orders of the same content apart: after a lift only a new order, with a new id, switches off again.
    pub nonce: u64,
}

/// What a kill is known by: the hash of what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KillId(pub Hash);

impl fmt::Display for KillId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The order to end a kill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lift {
    /// Which one.
    pub kill: KillId,
    /// When it was ordered.
    pub issued: Time,
    /// Why, for people.
    pub reason: Text<200>,
}

/// Why a kill makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KillError {
    /// Level 3 without permission.
    #[error("a kill of level 3 (revoke) names the permission that it takes")]
    NoPermission,
    /// A permission at another level.
    #[error("a kill of level {} ({level:?}) takes no permission, so it cannot name one", level.number())]
    Permission {
        /// Its level.
        level: Level,
    },
    /// A range with nothing in it.
    #[error("the kill's range of {what} is empty, so that it would stop nothing")]
    EmptyRange {
        /// Of what.
        what: &'static str,
    },
    /// A list without end.
    #[error("the kill names {found} platforms, the limit is {}", limits::KILL_PLATFORMS)]
    Platforms {
        /// Their number.
        found: usize,
    },
    /// A scope that leaves no room for others.
    #[error("the kill's scope has {size} bytes of JSON, the limit is {}", limits::KILL_SCOPE)]
    Scope {
        /// Its size.
        size: usize,
    },
}

impl KillError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoPermission | Self::Permission { .. } => "MPKG-F20",
            Self::EmptyRange { .. } => "MPKG-F21",
            Self::Platforms { .. } | Self::Scope { .. } => "MPKG-F22",
        }
    }
}

impl Kill {
    /// Its id.
    pub fn id(&self) -> KillId {
        // Strings, integers and sets of strings always serialize, in one form.
        KillId(Hash::of(&serde_json::to_vec(self).unwrap_or_default()))
    }

    /// Refuses a kill that would not do what its author thinks.
    pub fn check(&self) -> Result<(), KillError> {
        let scope = &self.scope;
        match (self.level, &scope.permission, &scope.method) {
            (Level::Revoke, None, _) => return Err(KillError::NoPermission),
            (Level::Revoke, Some(_), _) | (_, None, None) => {}
            (level, ..) => return Err(KillError::Permission { level }),
        }
        if scope.releases.is_some_and(|range| range.to.is_some_and(|to| to < range.from)) {
            return Err(KillError::EmptyRange { what: "release sequences" });
        }
        for (range, what) in [(&scope.versions, "versions"), (&scope.host_versions, "host versions")] {
            if range.as_ref().is_some_and(VersionRange::is_empty) {
                return Err(KillError::EmptyRange { what });
            }
        }
        if scope.platforms.len() > limits::KILL_PLATFORMS {
            return Err(KillError::Platforms { found: scope.platforms.len() });
        }
        // Versions have no bound of their own. Strings, integers and sets of strings always serialize.
        let size = serde_json::to_vec(scope).unwrap_or_default().len();
        if size > limits::KILL_SCOPE {
            return Err(KillError::Scope { size });
        }
        Ok(())
    }

    /// Whether it is about this release on this host.
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        let scope = &self.scope;
        scope.app.as_ref().is_none_or(|app| app == subject.app)
            && scope.releases.is_none_or(|range| range.contains(subject.release_seq))
            && scope.versions.as_ref().is_none_or(|range| range.contains(subject.version))
            && scope.host_versions.as_ref().is_none_or(|range| range.contains(subject.host_version))
            && (scope.platforms.is_empty() || scope.platforms.contains(subject.platform))
    }
}

/// A release on a host.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The app.
    pub app: &'a AppId,
    /// The release.
    pub release_seq: u64,
    /// Its version.
    pub version: &'a Version,
    /// The host's platform.
    pub platform: &'a str,
    /// The host's version.
    pub host_version: &'a Version,
}

/// What the kills that match do, each with the ids of those that do it, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effects {
    /// Level 1.
    pub warn: Vec<KillId>,
    /// Level 2.
    pub freeze: Vec<KillId>,
    /// Level 3.
    pub revoke: Vec<Revoked>,
    /// Levels 4 and 5.
    pub block: Vec<KillId>,
    /// Level 5.
    pub stop: Vec<KillId>,
}

/// A permission that is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// By which kill.
    pub kill: KillId,
    /// The permission.
    pub permission: Token,
    /// The method; without one, all of them.
    pub method: Option<Token>,
}

impl Effects {
    /// The kill that takes this method of this permission.
    pub fn revokes(&self, permission: &str, method: &str) -> Option<KillId> {
        let mut found = self.revoke.iter();
        found
            .find(|it| {
                it.permission.as_str() == permission
                    && it.method.as_ref().is_none_or(|m| m.as_str() == method)
            })
            .map(|it| it.kill)
    }
}

/// What a union added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Kills that were not known.
    pub killed: Vec<KillId>,
    /// Kills that are no longer in force.
    pub lifted: Vec<KillId>,
    /// Something did not fit.
    pub full: bool,
}

/// All kills that a host or registry knows.
///
/// ```
/// use mpkg_fleet::{Kill, KillSet};
/// let kill: Kill = serde_json::from_str(
///     r#"{"level": "stop", "scope": {"app": "org.example.x"}, "reason": "steals",
///         "issued": "2026-01-31T12:00:00Z", "nonce": 1}"#,
/// ).unwrap();
/// let mut set = KillSet::default();
/// set.merge(&[kill.clone()], &[]);
/// set.merge(&[], &[]); // a document without it does not take it back
/// assert_eq!(set.active().count(), 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Lists", into = "Lists")]
pub struct KillSet {
    active: BTreeMap<KillId, Kill>,
    /// Kept for ever: without them an old document would switch off again what was lifted.
    lifts: BTreeMap<KillId, Lift>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lists {
    kills: Vec<Kill>,
    lifts: Vec<Lift>,
}

impl From<Lists> for KillSet {
    fn from(lists: Lists) -> Self {
        let mut set = Self::default();
        set.merge(&lists.kills, &lists.lifts);
        set
    }
}

impl From<KillSet> for Lists {
    fn from(set: KillSet) -> Self {
        Self { kills: set.active.into_values().collect(), lifts: set.lifts.into_values().collect() }
    }
}

impl KillSet {
    /// Adds what is new. The result is the same in any order and however often.
    pub fn merge(&mut self, kills: &[Kill], lifts: &[Lift]) -> Merged {
        let mut merged = Merged::default();
        for kill in kills {
            let id = kill.id();
            if self.lifts.contains_key(&id) || self.active.contains_key(&id) {
                continue;
            }
            if self.active.len() >= limits::KNOWN_KILLS {
                merged.full = true;
                continue;
            }
            self.active.insert(id, kill.clone());
            merged.killed.push(id);
        }
        for lift in lifts {
            let room = self.lifts.len() < limits::KNOWN_LIFTS;
            match self.lifts.get_mut(&lift.kill) {
                // Two lifts of one kill: keep the same one in every order.
                Some(known) => {
                    if (lift.issued, &lift.reason) < (known.issued, &known.reason) {
                        *known = lift.clone();
                    }
                }
                None if !room => merged.full = true,
                None => {
                    self.lifts.insert(lift.kill, lift.clone());
                    if self.active.remove(&lift.kill).is_some() {
                        merged.lifted.push(lift.kill);
                    }
                }
            }
        }
        // What came and went in one document never was in force.
        merged.killed.retain(|id| self.active.contains_key(id));
        merged
    }

    /// Kills in force, by id.
    pub fn active(&self) -> impl Iterator<Item = (KillId, &Kill)> {
        self.active.iter().map(|(id, kill)| (*id, kill))
    }

    /// The kill with this id, if it is in force.
    pub fn get(&self, id: KillId) -> Option<&Kill> {
        self.active.get(&id)
    }

    /// All lifts, by the id of their kill.
    pub fn lifts(&self) -> impl Iterator<Item = &Lift> {
        self.lifts.values()
    }

    /// What the kills in force do to a release on a host.
    pub fn effects(&self, subject: &Subject<'_>) -> Effects {
        let mut effects = Effects::default();
        for (id, kill) in self.active().filter(|(_, kill)| kill.matches(subject)) {
            match kill.level {
                Level::Warn => effects.warn.push(id),
                Level::Freeze => effects.freeze.push(id),
                Level::Revoke => {
                    if let Some(permission) = kill.scope.permission.clone() {
                        effects.revoke.push(Revoked {
                            kill: id,
                            permission,
                            method: kill.scope.method.clone(),
                        });
                    }
                }
                Level::Block => effects.block.push(id),
                Level::Stop => {
                    effects.block.push(id);
                    effects.stop.push(id);
                }
            }
        }
        effects
    }
}
