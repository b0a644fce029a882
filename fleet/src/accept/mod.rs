//! What a host or a registry knows of the fleet, and what it takes in.
//!
//! Two kinds of knowledge are kept apart. *State* (which release, which share) only moves forward: an older document,
//! another one under the same position, or one that does not follow from its predecessor changes nothing. *Kills* form
//! a set: those of any document that is rightly signed count, older and contradicting ones included, and only a signed
//! lift takes one out. So no order, loss or duplication of documents un-kills, and a stop arrives however late.
//!
//! Take documents in on a copy, persist the copy, then act on it:
//!
//! ```
//! # fn persist(_: &[u8]) {}
//! # fn example(mut fleet: mpkg_fleet::Fleet, bytes: &[u8]) -> mpkg_fleet::Fleet {
//! let mut next = fleet.clone();
//! let outcome = next.accept_app(bytes, None);
//! if outcome.must_persist() {
//!     persist(&next.to_bytes());
//!     fleet = next;
//! }
//! # fleet
//! # }
//! ```

mod error;
mod outcome;
mod saved;

pub use error::AcceptError;
pub use outcome::{Alarm, AlarmKind, Notice, Outcome};
pub use saved::RestoreError;

use std::collections::BTreeMap;

use mpkg_manifest::AppId;
use mpkg_manifest::permission::Risk;
use mpkg_package::{PublisherId, Root, RootChain, Time, Trust};

use crate::document::{AppState, FleetHead, Sequenced, SignedDocument, StopNotice};
use crate::kill::{Kill, KillSet, Lift};
use crate::limits;
use crate::staleness::Staleness;
use crate::types::Position;

/// What is known of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleet {
    registry: PublisherId,
    root_floor: u32,
    roots: Option<RootChain>,
    head: Option<SignedDocument<FleetHead>>,
    /// The latest that the clock told since that head, now and then.
    seen: Option<Time>,
    apps: BTreeMap<AppId, SignedDocument<AppState>>,
    min_seq: BTreeMap<AppId, u64>,
    kills: KillSet,
    alarms: Vec<Alarm>,
}

impl Fleet {
    /// Knows nothing but whose registry to believe: the id of its first root, which a host has built in.
    pub fn new(trust: Trust) -> Self {
        Self {
            registry: trust.publisher_id(),
            root_floor: trust.root_floor(),
            roots: None,
            head: None,
            seen: None,
            apps: BTreeMap::new(),
            min_seq: BTreeMap::new(),
            kills: KillSet::default(),
            alarms: Vec::new(),
        }
    }

    /// The registry's id.
    pub fn registry(&self) -> PublisherId {
        self.registry
    }

    /// The registry's roots, once they are known.
    pub fn roots(&self) -> Option<&RootChain> {
        self.roots.as_ref()
    }

    /// The newest fleet head.
    pub fn head(&self) -> Option<&SignedDocument<FleetHead>> {
        self.head.as_ref()
    }

    /// Where the newest fleet head stands.
    pub fn position(&self) -> Option<Position> {
        self.head.as_ref().map(|head| head.document().position())
    }

    /// The newest state of an app.
    pub fn app(&self, app: &AppId) -> Option<&SignedDocument<AppState>> {
        self.apps.get(app)
    }

    /// The newest state of each app.
    pub fn apps(&self) -> impl Iterator<Item = (&AppId, &SignedDocument<AppState>)> {
        self.apps.iter()
    }

    /// All kills and lifts.
    pub fn kills(&self) -> &KillSet {
        &self.kills
    }

    /// The lowest release of an app that may run: the highest floor of any state that was accepted.
    pub fn min_seq(&self, app: &AppId) -> u64 {
        self.min_seq.get(app).copied().unwrap_or(0)
    }

    /// Contradictions that were seen, with both sides, the newest last.
    pub fn alarms(&self) -> &[Alarm] {
        &self.alarms
    }

    /// What to do without news.
    pub fn staleness(&self) -> Staleness {
        self.head.as_ref().map(|head| head.document().policy.staleness).unwrap_or_default()
    }

    /// The time, as far as it can be known: a clock that was turned back does not make old knowledge new.
    pub fn now(&self, clock: Option<Time>) -> Option<Time> {
        self.by_the_head(clock).map(|now| self.seen.map_or(now, |seen| now.max(seen)))
    }

    /// What documents are judged by: the clock, and not before the head. What was seen has no say in it, or a clock that
    /// once was far ahead would have the very head refused that ends it.
    fn by_the_head(&self, clock: Option<Time>) -> Option<Time> {
        clock.map(|now| self.head.as_ref().map_or(now, |head| now.max(head.document().issued)))
    }

    /// The same knowledge, with this time kept as seen, to be persisted: from then on [`Self::now`] is no earlier, whatever
    /// the clock is set to, until there is a newer head. To be asked again and again; it gives something once an hour, and
    /// when permissions stand otherwise than by what is kept.
    #[must_use = "what was seen is to be persisted, or a restart forgets it"]
    pub fn at(&self, clock: Option<Time>) -> Option<Self> {
        let (clock, kept) = (clock?, self.now(Some(self.head.as_ref()?.document().issued))?);
        let later = clock.unix().saturating_sub(kept.unix());
        let standing = |now: Time| {
            let age_s = self.age_s(Some(now));
            [Risk::Low, Risk::Sensitive, Risk::High].map(|risk| self.staleness().standing(risk, age_s))
        };
        let due = later >= limits::SEEN_EVERY_S || (later > 0 && standing(clock) != standing(kept));
        due.then(|| Self { seen: Some(clock), ..self.clone() })
    }

    /// Seconds since the newest fleet head was issued. Nothing without a clock or a head. It is measured by the head
    /// and not by the last contact, since whoever is between host and registry can repeat an old head for ever.
    pub fn age_s(&self, clock: Option<Time>) -> Option<u64> {
        let (now, head) = (self.now(clock)?, self.head.as_ref()?);
        now.unix().checked_sub(head.document().issued.unix())?.try_into().ok()
    }

    /// Apps whose newest state, as the head has it, is not here: what to fetch. If an app stays in this list, someone
    /// keeps its state from this host.
    pub fn missing(&self) -> Vec<&AppId> {
        let Some(head) = &self.head else { return Vec::new() };
        let behind = |app: &AppId, newest: Position| {
            self.apps.get(app).is_none_or(|held| held.document().position() < newest)
        };
        head.document()
            .apps
            .iter()
            .filter(|(app, entry)| behind(app, entry.position()))
            .map(|(app, _)| app)
            .collect()
    }

    /// Takes the registry's roots in: a chain from the pinned id, not older than the one that is known, and the same
    /// one as far as that goes.
    pub fn accept_roots(&mut self, bytes: &[u8]) -> Outcome {
        let chain = match RootChain::parse(bytes) {
            Ok(chain) => chain,
            Err(error) => return Outcome::refused(error.into()),
        };
        if chain.publisher() != self.registry {
            let (found, pinned) = (chain.publisher(), self.registry);
            return Outcome::refused(AcceptError::Registry { found, pinned });
        }
        let (found, floor) = (chain.last().version(), self.root_floor);
        if found < floor {
            return Outcome::refused(AcceptError::OlderRoot { found, floor });
        }
        if let Some(known) = &self.roots {
            let forked = known.roots().zip(chain.roots()).find(|(ours, theirs)| ours.hash() != theirs.hash());
            if let Some((ours, _)) = forked {
                let version = ours.version();
                let alarm = Alarm::new(AlarmKind::Root, None, Position::default(), &known.to_bytes(), bytes);
                self.alarm(alarm);
                return Outcome::alarmed(AcceptError::RootFork { version });
            }
            if known.len() == chain.len() {
                return Outcome::default();
            }
        }
        self.root_floor = found;
        self.roots = Some(chain);
        Outcome { changed: true, ..Outcome::default() }
    }

    /// Takes a fleet head in.
    pub fn accept_head(&mut self, bytes: &[u8], clock: Option<Time>) -> Outcome {
        let (signed, root_version, expired) = match self.read::<FleetHead>(bytes, clock) {
            Ok(read) => read,
            Err(error) => return Outcome::refused(error),
        };
        let document = signed.document();
        if let Some(error) = expired {
            return self.stops_only(error, &document.kills);
        }
        let verdict = place(&signed, self.head.as_ref(), root_version).and_then(|place| {
            // The same position of an app with two hashes is two histories, wherever the second one is written.
            let differs = document.apps.iter().find(|(app, entry)| self.contradicts(app, entry));
            match differs {
                Some((app, entry)) => {
                    Err(AcceptError::Equivocation { app: Some(app.clone()), position: entry.position() })
                }
                None => Ok(place),
            }
        });
        let held = self.head.as_ref().map(SignedDocument::to_bytes);
        let outcome = self.apply(verdict, None, &signed, held, clock);
        if outcome.changed {
            // What the clock told before may have been wrong: a new head begins anew, or nothing would ever mend it.
            (self.head, self.seen) = (Some(signed), None);
        }
        outcome
    }

    /// Takes an app's state in.
    pub fn accept_app(&mut self, bytes: &[u8], clock: Option<Time>) -> Outcome {
        let (signed, root_version, expired) = match self.read::<AppState>(bytes, clock) {
            Ok(read) => read,
            Err(error) => return Outcome::refused(error),
        };
        let document = signed.document();
        if let Some(error) = expired {
            return self.stops_only(error, &document.kills);
        }
        let app = document.app_id.clone();
        let held = self.apps.get(&app);
        let verdict = place(&signed, held, root_version).and_then(|place| self.fits(&signed, held, place));
        let held =
            held.map(SignedDocument::to_bytes).or_else(|| self.head.as_ref().map(SignedDocument::to_bytes));
        let mut outcome = self.apply(verdict, Some(&app), &signed, held, clock);
        if outcome.changed {
            let floor = self.min_seq.entry(app.clone()).or_default();
            if signed.document().min_seq < *floor {
                outcome.notices.push(Notice::FloorKept { stated: signed.document().min_seq, floor: *floor });
            }
            *floor = (*floor).max(signed.document().min_seq);
            self.apps.insert(app, signed);
        }
        outcome
    }

    /// Takes a stop notice in. It has no position and needs none: any that is rightly signed counts, also under a root
    /// that has expired.
    pub fn accept_stop(&mut self, bytes: &[u8]) -> Outcome {
        let signed = match self.read::<StopNotice>(bytes, None) {
            Ok((signed, ..)) => signed,
            Err(error) => return Outcome::refused(error),
        };
        let mut outcome = Outcome::default();
        self.merge(&mut outcome, &signed.document().kills, &[]);
        outcome
    }

    /// Reads a document and checks who signed it; and whether the root may still admit anything but stops.
    #[allow(clippy::type_complexity, reason = "used twice, right above")]
    fn read<D: crate::document::Document>(
        &self,
        bytes: &[u8],
        clock: Option<Time>,
    ) -> Result<(SignedDocument<D>, u32, Option<AcceptError>), AcceptError> {
        let root = self.root().ok_or(AcceptError::NoRoot)?;
        let signed = SignedDocument::<D>::parse(bytes)?;
        signed.verify(root)?;
        let expired = match (self.by_the_head(clock), root.expires()) {
            (Some(now), Some(expires)) if now >= expires => {
                Some(AcceptError::RootExpired { version: root.version(), expires })
            }
            _ => None,
        };
        Ok((signed, root.version(), expired))
    }

    fn root(&self) -> Option<&Root> {
        self.roots.as_ref().map(RootChain::last)
    }

    fn contradicts(&self, app: &AppId, entry: &crate::document::AppEntry) -> bool {
        self.apps
            .get(app)
            .is_some_and(|held| held.document().position() == entry.position() && held.hash() != entry.sha256)
    }

    /// What only an app's state can be wrong about.
    fn fits(
        &self,
        signed: &SignedDocument<AppState>,
        held: Option<&SignedDocument<AppState>>,
        place: Place,
    ) -> Result<Place, AcceptError> {
        let document = signed.document();
        if let Some(held) = held
            && held.document().publisher != document.publisher
        {
            let (known, stated) = (held.document().publisher, document.publisher);
            return Err(AcceptError::Publisher { app: document.app_id.clone(), known, stated });
        }
        let entry = self.head.as_ref().and_then(|head| head.document().apps.get(&document.app_id));
        match entry {
            Some(entry) if entry.position() == document.position() && entry.sha256 != signed.hash() => {
                let (app, position) = (Some(document.app_id.clone()), document.position());
                Err(AcceptError::Equivocation { app, position })
            }
            // Also where nothing is held to compare with: else any state that was ever signed would do for a new host.
            Some(entry) if place != Place::Same && document.position() < entry.position() => {
                let (found, known) = (document.position(), entry.position());
                Err(AcceptError::Older { found, known })
            }
            _ => Ok(place),
        }
    }

    /// What is left of a document that is otherwise refused.
    fn stops_only(&mut self, error: AcceptError, kills: &[Kill]) -> Outcome {
        let mut outcome = Outcome::refused(error);
        self.merge(&mut outcome, kills, &[]);
        outcome
    }

    fn apply(
        &mut self,
        verdict: Result<Place, AcceptError>,
        app: Option<&AppId>,
        signed: &SignedDocument<impl Sequenced>,
        held: Option<Vec<u8>>,
        clock: Option<Time>,
    ) -> Outcome {
        let document = signed.document();
        let error = match verdict {
            Ok(place) => {
                let mut outcome = Outcome { changed: place != Place::Same, ..Outcome::default() };
                if let Some(now) = self.by_the_head(clock)
                    && now >= document.expires()
                {
                    outcome.notices.push(Notice::Expired { expires: document.expires() });
                }
                if let Place::Gap { after } = place {
                    outcome.notices.push(Notice::Gap { after, found: document.position() });
                }
                self.merge(&mut outcome, document.kills(), document.lifts());
                return outcome;
            }
            Err(error) => error,
        };
        // An older document is an honest one that came late: its lifts count like its kills. One that contradicts
        // another shows that its signer cannot be relied on, and then only what switches off counts.
        let late = matches!(error, AcceptError::Older { .. });
        let contradicts = matches!(error, AcceptError::Equivocation { .. } | AcceptError::Broken { .. });
        let mut outcome = if contradicts { Outcome::alarmed(error) } else { Outcome::refused(error) };
        if contradicts {
            let first = held.unwrap_or_default();
            let position = document.position();
            self.alarm(Alarm::new(AlarmKind::State, app.cloned(), position, &first, &signed.to_bytes()));
        }
        self.merge(&mut outcome, document.kills(), if late { document.lifts() } else { &[] });
        outcome
    }

    fn merge(&mut self, outcome: &mut Outcome, kills: &[Kill], lifts: &[Lift]) {
        let merged = self.kills.merge(kills, lifts);
        if merged.full {
            outcome.notices.push(Notice::KillsFull);
        }
        outcome.killed.extend(merged.killed);
        outcome.lifted.extend(merged.lifted);
    }

    fn alarm(&mut self, alarm: Alarm) {
        // A registry that contradicts itself all day must not fill the disk; the first ones tell the most.
        if self.alarms.len() < limits::ALARMS && !self.alarms.contains(&alarm) {
            self.alarms.push(alarm);
        }
    }
}

/// Where a new document stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It is the one that is known.
    Same,
    /// Directly after it, or the first.
    Next,
    /// Later, with others in between.
    Gap { after: Position },
}

fn place<D: Sequenced>(
    signed: &SignedDocument<D>,
    held: Option<&SignedDocument<D>>,
    root_version: u32,
) -> Result<Place, AcceptError> {
    let position = signed.document().position();
    // A thief of the state key could use the numbers up; a new root, which it takes to be rid of the thief, makes
    // room for larger ones.
    let most = u64::from(root_version) << limits::EPOCH_BITS;
    if position.epoch > most {
        return Err(AcceptError::Epoch { epoch: position.epoch, most });
    }
    let Some(held) = held else { return Ok(Place::Next) };
    let known = held.document().position();
    if position < known {
        return Err(AcceptError::Older { found: position, known });
    }
    if position == known {
        if signed.hash() == held.hash() {
            return Ok(Place::Same);
        }
        return Err(AcceptError::Equivocation { app: None, position });
    }
    if position.follows(known) {
        if signed.document().prev() != Some(held.hash()) {
            return Err(AcceptError::Broken { position, known: held.hash() });
        }
        return Ok(Place::Next);
    }
    Ok(Place::Gap { after: known })
}
