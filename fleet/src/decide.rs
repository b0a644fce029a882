//! What a host does with an app: one function, the same answer everywhere.

use mpkg_manifest::AppId;
use mpkg_manifest::permission::{self, Risk};
use mpkg_package::Time;
use serde::{Deserialize, Serialize};

use crate::accept::Fleet;
use crate::bucket::{Arm, arm, bucket_of};
use crate::document::{Admission, AppState};
use crate::kill::{Effects, KillId, KillSet, Subject};
use crate::staleness::{Staleness, Standing};
use crate::target::{Attribute, Context, Targeted};
use crate::types::ReleaseRef;

/// What is known about one app, to decide by.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The app.
    pub app: &'a AppId,
    /// Its newest state, if the registry speaks of it.
    pub state: Option<&'a AppState>,
    /// Kills in force.
    pub kills: &'a KillSet,
    /// The lowest release that may run.
    pub min_seq: u64,
    /// What to do without news.
    pub staleness: Staleness,
    /// Seconds since the registry was last heard of, as [`Fleet::age_s`] measures it.
    pub age_s: Option<u64>,
    /// The time, as [`Fleet::now`] tells it.
    pub now: Option<Time>,
}

/// Why a release is the one to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The registry says nothing about the app.
    Unmanaged,
    /// Nothing is being rolled out.
    Baseline,
    /// On the allow list.
    Allowed,
    /// In the percentage.
    InBucket,
    /// Has the release already, and keeps it while it is offered.
    Keeps,
    /// Outside of the percentage.
    OutOfBucket,
    /// Not among those that the release is for.
    NotTargeted(Attribute),
    /// The rollout is halted, and the release not here.
    Halted,
    /// Nothing newer is installed: a kill of level 2, or the state has expired.
    Frozen,
    /// What would be next must not run, and this is the best that may.
    Fallback,
    /// Nothing that may run is on offer.
    Nothing,
}

/// Why a release must not be launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A kill of level 4 or 5.
    Killed(KillId),
    /// Its package is disabled.
    Disabled,
    /// Below the floor.
    BelowFloor,
    /// There is no release for this host.
    NotOffered,
}

/// Why nothing newer is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrozenBy {
    /// A kill of level 2.
    Killed(KillId),
    /// The state has expired, so a newer one may be kept from this host.
    Expired,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The release to run. It is to be fetched if it is not here. Without one the app must not be launched.
    pub run: Option<ReleaseRef>,
    /// Why this one.
    pub reason: Reason,
    /// Why none, where there is none.
    pub blocked: Vec<Cause>,
    /// Which arm telemetry of this host counts for.
    pub arm: Arm,
    /// What kills do to the release to run, or to the one that would be if it might.
    pub effects: Effects,
    /// What kills do to the release that is here. Running instances of it are stopped by `running.stop`.
    pub running: Effects,
    /// Why nothing newer is installed; empty while updates are open.
    pub frozen: Vec<FrozenBy>,
    /// How permissions stand by risk class, by the age of what is known: low, sensitive, high.
    pub standing: [Standing; 3],
}

impl Decision {
    /// How a permission's method stands: taken by a kill, withdrawn or to be refreshed for lack of news, or as granted.
    /// A name that this version does not know counts as high risk.
    pub fn permission(&self, name: &str, method: &str) -> Standing {
        if self.effects.revokes(name, method).is_some() || self.running.revokes(name, method).is_some() {
            return Standing::Withdrawn;
        }
        let [low, sensitive, high] = self.standing;
        match permission::describe(name).map_or(Risk::High, |it| it.risk) {
            Risk::Low => low,
            Risk::Sensitive => sensitive,
            Risk::High => high,
        }
    }
}

impl Fleet {
    /// What to do with an app on this host.
    pub fn decide(
        &self,
        app: &AppId,
        context: &Context,
        installed: Option<&ReleaseRef>,
        clock: Option<Time>,
    ) -> Decision {
        decide(&self.view(app, clock), context, installed)
    }

    /// Why a release of an app must not be launched on this host; nothing if it may.
    pub fn causes(&self, app: &AppId, context: &Context, release: &ReleaseRef) -> Vec<Cause> {
        Judge { view: &self.view(app, None), context }.causes(release)
    }

    /// What kills do to a release of an app on this host, also to one that is neither offered nor installed.
    pub fn effects(&self, app: &AppId, context: &Context, release: &ReleaseRef) -> Effects {
        Judge { view: &self.view(app, None), context }.effects(release)
    }

    fn view<'a>(&'a self, app: &'a AppId, clock: Option<Time>) -> View<'a> {
        View {
            app,
            state: self.app(app).map(|held| held.document()),
            kills: self.kills(),
            min_seq: self.min_seq(app),
            staleness: self.staleness(),
            age_s: self.age_s(clock),
            now: self.now(clock),
        }
    }
}

/// What to do with an app on a host where this release is installed.
pub fn decide(view: &View<'_>, context: &Context, installed: Option<&ReleaseRef>) -> Decision {
    let judge = Judge { view, context };
    let (wanted, reason, arm) = judge.wanted(installed);
    let running = installed.map(|release| judge.effects(release)).unwrap_or_default();

    let mut frozen: Vec<FrozenBy> = running.freeze.iter().copied().map(FrozenBy::Killed).collect();
    if let Some(wanted) = wanted {
        let more = judge.effects(wanted).freeze.into_iter().map(FrozenBy::Killed);
        frozen.extend(more.filter(|it| !running.freeze.iter().any(|id| *it == FrozenBy::Killed(*id))));
    }
    if let (Some(now), Some(state)) = (view.now, view.state)
        && now >= state.expires
    {
        frozen.push(FrozenBy::Expired);
    }

    let baseline = view.state.and_then(|state| state.baseline.as_ref());
    let (run, reason) = judge.choose(wanted, reason, baseline, installed, !frozen.is_empty());
    let shown = run.or(wanted).or(installed);
    let blocked = match run {
        Some(_) => Vec::new(),
        // What keeps the next release away, or else what is wrong with the one that is here.
        None => [wanted, installed]
            .into_iter()
            .flatten()
            .map(|release| judge.causes(release))
            .find(|causes| !causes.is_empty())
            .unwrap_or_else(|| vec![Cause::NotOffered]),
    };
    let standing =
        [Risk::Low, Risk::Sensitive, Risk::High].map(|risk| view.staleness.standing(risk, view.age_s));
    let effects = shown.map(|release| judge.effects(release)).unwrap_or_default();
    Decision { run: run.cloned(), reason, blocked, arm, effects, running, frozen, standing }
}

struct Judge<'a> {
    view: &'a View<'a>,
    context: &'a Context,
}

impl<'a> Judge<'a> {
    /// The release that state and targeting give this host, whether or not it may run.
    fn wanted<'r>(&self, installed: Option<&'r ReleaseRef>) -> (Option<&'r ReleaseRef>, Reason, Arm)
    where
        'a: 'r,
    {
        let Some(state) = self.view.state else { return (installed, Reason::Unmanaged, Arm::Neither) };
        let baseline = state.baseline.as_ref();
        let Some(release) = &state.release else { return (baseline, Reason::Baseline, Arm::Neither) };
        let has_it = installed.is_some_and(|installed| installed.package == release.package);
        let salt = state.salt.as_str();
        let (inside, reason, arm) = match state.targeting.of(salt, self.context) {
            Targeted::Out(attribute) => (false, Reason::NotTargeted(attribute), Arm::Neither),
            // Who is chosen by hand is no sample of anything.
            Targeted::Allowed => (true, Reason::Allowed, Arm::Neither),
            Targeted::Eligible => {
                let bucket = bucket_of(salt, &self.context.unit);
                match arm(bucket, state.percent, state.control) {
                    Arm::Treatment => (true, Reason::InBucket, Arm::Treatment),
                    other => (false, Reason::OutOfBucket, other),
                }
            }
        };
        match (inside, has_it, state.admission) {
            (true, true, Admission::Closed) | (false, true, _) => (Some(release), Reason::Keeps, arm),
            (true, true, Admission::Open) | (true, false, Admission::Open) => (Some(release), reason, arm),
            (true, false, Admission::Closed) => (baseline, Reason::Halted, Arm::Neither),
            (false, false, _) => (baseline, reason, arm),
        }
    }

    fn effects(&self, release: &ReleaseRef) -> Effects {
        self.view.kills.effects(&Subject {
            app: self.view.app,
            release_seq: release.release_seq,
            version: &release.version,
            platform: self.context.platform.as_str(),
            host_version: &self.context.host_version,
        })
    }

    fn causes(&self, release: &ReleaseRef) -> Vec<Cause> {
        let mut causes: Vec<Cause> = self.effects(release).block.into_iter().map(Cause::Killed).collect();
        if self.view.state.is_some_and(|state| state.disabled.contains(&release.package.sha256)) {
            causes.push(Cause::Disabled);
        }
        if release.release_seq < self.view.min_seq {
            causes.push(Cause::BelowFloor);
        }
        causes
    }

    /// The first that may run: what is wanted, else the baseline, else what is here. While frozen, nothing newer than
    /// what is here; going back stays possible, since a rollback is a stop.
    fn choose<'r>(
        &self,
        wanted: Option<&'r ReleaseRef>,
        reason: Reason,
        baseline: Option<&'r ReleaseRef>,
        installed: Option<&'r ReleaseRef>,
        frozen: bool,
    ) -> (Option<&'r ReleaseRef>, Reason) {
        let may = |release: &&ReleaseRef| self.causes(release).is_empty();
        let newer = |release: &ReleaseRef| match installed {
            Some(installed) => release.release_seq > installed.release_seq,
            None => baseline.is_some_and(|baseline| release.package != baseline.package),
        };
        let held_back = frozen && wanted.is_some_and(newer);
        let open = |release: &&ReleaseRef| !frozen || !newer(release);
        if let Some(wanted) = wanted.filter(may).filter(open) {
            return (Some(wanted), reason);
        }
        let rest: [Option<&ReleaseRef>; 2] =
            if held_back { [installed, baseline] } else { [baseline, installed] };
        match rest.into_iter().flatten().filter(may).find(|it| open(it)) {
            Some(release) if held_back => (Some(release), Reason::Frozen),
            Some(release) => (Some(release), Reason::Fallback),
            None => (None, Reason::Nothing),
        }
    }
}
