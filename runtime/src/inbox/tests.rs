use std::collections::HashSet;
use std::sync::Weak;
use std::time::Duration;

use mpkg_fleet::KillId;
use proptest::prelude::*;
use serde_json::value::to_raw_value;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::events::{AROUND, EVENT_BYTES, EVENTS};
use super::timers::Timers;
use super::watch::Watch;
use super::*;
use crate::budget::Ledger;
use crate::rpc::Denial;
use crate::stop::StopReason;
use crate::supervisor::KillSwitch;
use crate::ticker::Ticker;

fn text(bytes: usize) -> Box<RawValue> {
    to_raw_value(&"x".repeat(bytes)).unwrap()
}

fn event(number: u64, bytes: usize) -> Event {
    Event::new("run".into(), number, "t", text(bytes))
}

fn of(user: &str) -> Namespace {
    Namespace::new(user, "mp1x", "com.example.app")
}

/// Instances as far as they are told something.
struct House {
    inboxes: Inboxes,
    ticker: Arc<Ticker>,
    instances: u64,
    /// The longest message that those to come take.
    message_bytes: usize,
}

impl House {
    fn new() -> Self {
        let ticker = Arc::new(Ticker::start(std::iter::empty()).unwrap());
        Self { inboxes: Inboxes::default(), ticker, instances: 0, message_bytes: usize::MAX }
    }

    fn join(&mut self, user: &str, permissions: &Arc<Permissions>) -> (Arc<Lane>, Arc<KillSwitch>) {
        self.instances += 1;
        let switch = KillSwitch::new(self.ticker.clone());
        let lane = self.inboxes.join(Listener {
            of: of(user),
            instance: self.instances,
            switch: switch.clone(),
            ledger: Ledger::alone(u64::MAX),
            permissions: permissions.clone(),
            message_bytes: self.message_bytes,
        });
        (lane, switch)
    }

    /// One that may hear of events, and has subscribed to `topic`.
    fn subscribed(&mut self, user: &str, topic: &str) -> (Arc<Lane>, Arc<Permissions>) {
        let permissions = Permissions::undecided(&["events"]);
        permissions.allow("events");
        let (lane, _) = self.join(user, &permissions);
        assert!(lane.subscribe(topic.into()));
        (lane, permissions)
    }

    fn publish(&self, bytes: usize) -> Result<usize, Vec<Receiver>> {
        self.publish_to("", bytes)
    }

    /// To users whose id begins so.
    fn publish_to(&self, users: &str, bytes: usize) -> Result<usize, Vec<Receiver>> {
        match self.inboxes.publish(|of| of.user.starts_with(users), "t", text(bytes)) {
            Ok(published) => Ok(published.receivers),
            Err(PublishError::Full { full, .. }) => Err(full),
            Err(error) => panic!("{error}"),
        }
    }

    /// What is kept in all mailboxes, by counting it.
    fn kept(&self) -> usize {
        let boxes = self.inboxes.lock();
        let kept = boxes.of.values().map(|mailbox| mailbox.kept.bytes()).sum();
        assert_eq!(boxes.kept, kept);
        kept
    }

    fn mailboxes(&self) -> usize {
        self.inboxes.lock().of.len()
    }
}

/// An app that remembers what it has taken would drop what is new.
#[test]
fn no_two_events_have_one_id_whatever_the_run() {
    let mut ids = HashSet::new();
    for _run in 0..3 {
        let house = House::new();
        for _ in 0..3 {
            let published = house.inboxes.publish(|_| true, "t", text(1)).unwrap();
            assert!(ids.insert(published.id.clone()), "{}", published.id);
        }
    }
}

/// Whoever has no permission for events is told none, and is nobody's reason to refuse one.
#[test]
fn only_who_may_hear_of_events_can_be_full_of_them() {
    let mut house = House::new();
    let (lane, permissions) = house.subscribed("ann", "t");
    for _ in 0..EVENTS {
        assert_eq!(house.publish(1), Ok(1));
    }
    assert_eq!(house.publish(1).unwrap_err()[0].user, "ann");
    permissions.refuse("events", Denial::NotInUse);
    assert!(house.publish(1).is_err(), "it comes back when it is shown");
    for way in ["revoked", "blocked", "run out", "forgotten"] {
        match way {
            "revoked" => permissions.refuse("events", Denial::Revoked),
            "blocked" => permissions.refuse("events", Denial::Blocked),
            "run out" => permissions.reopen("events", true),
            _ => permissions.reopen("events", false),
        }
        assert_eq!(house.publish(1), Ok(0), "{way}");
        permissions.allow("events");
        assert_eq!(house.publish(1), Ok(0), "{way}: it has to subscribe anew");
        assert!(lane.subscribe("t".into()));
        assert_eq!(house.publish(1), Ok(1), "{way}: and nothing of before is in its queue");
    }
    house.inboxes.leave(&lane);

    // What was left waits for one that nobody has decided about yet; what does not fit is dropped, and counted.
    let undecided = Permissions::undecided(&["events"]);
    let (next, _) = house.join("ann", &undecided);
    for _ in 1..EVENTS {
        assert_eq!(house.publish(1), Ok(1));
    }
    assert_eq!((house.publish(1), next.counts()), (Ok(0), (0, 1)));
    undecided.allow("events");
    assert!(house.publish(1).is_err());
}

#[test]
fn what_was_left_is_forgotten_with_the_permission_it_was_asked_under() {
    let mut house = House::new();
    let (lane, permissions) = house.subscribed("ann", "t");
    house.inboxes.leave(&lane);
    assert_eq!(house.publish(1), Ok(1), "nobody runs, and somebody will");
    permissions.reopen("events", true);
    assert_eq!((house.publish(1), house.mailboxes(), house.kept()), (Ok(0), 0, 0));

    // One that ends without it leaves nothing, and nor does one whose user is asked anew.
    let (lane, permissions) = house.subscribed("ann", "t");
    permissions.refuse("events", Denial::Blocked);
    house.inboxes.leave(&lane);
    assert_eq!(house.mailboxes(), 0);
    let (lane, _) = house.subscribed("ann", "t");
    house.inboxes.asked_again(&of("ann"));
    assert_eq!(house.publish(1), Ok(1), "what runs keeps what it has");
    house.inboxes.leave(&lane);
    assert_eq!(house.mailboxes(), 0);
    let (lane, _) = house.subscribed("ann", "t");
    house.inboxes.leave(&lane);
    house.inboxes.asked_again(&of("ann"));
    assert_eq!(house.mailboxes(), 0);
    // Who was killed leaves nothing, whoever killed it.
    let (why, kill) = ("test".to_owned(), KillId(mpkg_package::Hash::of(b"test")));
    for reason in [StopReason::Killed { why: why.clone() }, StopReason::SwitchedOff { kill, why }] {
        let permissions = Permissions::undecided(&["events"]);
        permissions.allow("events");
        let (lane, switch) = house.join("ann", &permissions);
        assert!(lane.subscribe("t".into()));
        assert_eq!(house.publish(1), Ok(1));
        switch.kill(reason.clone());
        house.inboxes.leave(&lane);
        assert_eq!((house.mailboxes(), house.publish(1)), (0, Ok(0)), "{reason}");
    }
}

/// It would be taken, tried in vain, and dropped.
#[tokio::test]
async fn what_is_longer_than_an_app_takes_is_refused_by_name() {
    const SHORT: usize = 1024;
    // The topic and the quotes.
    const LONGEST: usize = SHORT - AROUND - 1 - 2;
    let mut house = House::new();
    let (_other, _) = house.subscribed("bob", "t");
    house.message_bytes = SHORT;
    let (lane, permissions) = house.subscribed("ann", "t");
    let full = |house: &House| house.publish(LONGEST + 1).unwrap_err()[0].user.clone();
    assert_eq!((house.publish(LONGEST), full(&house).as_str()), (Ok(2), "ann"));
    assert!(house.inboxes.publish_to(&lane, "t", text(LONGEST + 1)).is_err());
    // Nor is it kept for an instance to come.
    house.inboxes.leave(&lane);
    assert_eq!((house.publish(LONGEST), full(&house).as_str()), (Ok(2), "ann"));
    // One of a release that takes less still is counted with what was kept.
    house.message_bytes = SHORT - 1;
    let (next, _) = house.join("ann", &permissions);
    next.start(Weak::new(), Handle::current());
    assert_eq!(next.counts(), (0, 2));
}

/// Those who were charged are gone: the host keeps so much for all of them, and the noisy give first.
#[test]
fn what_is_left_is_bounded_for_all_together() {
    const EACH: usize = EVENT_BYTES / 8 - 100;
    let mut house = House::new();
    let users: Vec<_> = (0..3 * KEPT / EVENT_BYTES).map(|n| format!("noisy {n}")).collect();
    let (quiet, _) = house.subscribed("quiet", "t");
    assert_eq!(house.publish(10), Ok(1));
    house.inboxes.leave(&quiet);
    let mut lanes = Vec::new();
    for user in &users {
        lanes.push(house.subscribed(user, "t").0);
    }
    for _ in 0..8 {
        assert_eq!(house.publish_to("noisy", EACH), Ok(users.len()));
    }
    for lane in &lanes {
        house.inboxes.leave(lane);
        assert!(house.kept() <= KEPT);
    }
    assert!(house.kept() > KEPT - EVENT_BYTES, "no more is dropped than has to be");
    // Also where it grows while nobody runs. Everybody still hears: it is events that were dropped.
    assert_eq!(house.publish_to("noisy", EACH), Ok(users.len()));
    assert!(house.kept() <= KEPT);
    let dropped = |house: &mut House, user: &str| {
        let permissions = Permissions::undecided(&["events"]);
        house.join(user, &permissions).0.counts().1
    };
    assert!(dropped(&mut house, &users[0]) > 0, "its next instance is counted with them");
    assert_eq!(dropped(&mut house, "quiet"), 0, "whoever left little lost nothing");
}

/// Instances beside each other have each so many topics; what they leave is no more than one may have.
#[test]
fn topics_do_not_add_up_from_instance_to_instance() {
    let mut house = House::new();
    for round in 0..3 {
        let permissions = Permissions::undecided(&["events"]);
        permissions.allow("events");
        let lanes = [house.join("ann", &permissions).0, house.join("ann", &permissions).0];
        for (which, lane) in lanes.iter().enumerate() {
            let subscribed = (0..TOPICS).filter(|n| lane.subscribe(format!("{round}/{which}/{n}"))).count();
            assert!(subscribed == TOPICS || round > 0);
        }
        lanes.iter().for_each(|lane| house.inboxes.leave(lane));
        let boxes = house.inboxes.lock();
        assert_eq!(boxes.of[&of("ann")].kept.topics.len(), TOPICS);
    }
}

#[test]
fn a_queue_is_bounded_in_number_and_in_bytes() {
    let mut queue = Queue::default();
    assert!(queue.push(event(0, 2 * EVENT_BYTES)), "a single one may be as long as a message");
    assert!(!queue.push(event(1, 0)));
    assert!(queue.remove(0));
    assert!((0..EVENTS as u64).all(|n| queue.push(event(n, 1))));
    assert!(!queue.push(event(EVENTS as u64, 1)));
    queue.forget_topic("t");
    assert!(queue.push(event(1, EVENT_BYTES / 2)));
    assert!(!queue.push(event(2, EVENT_BYTES / 2)));
}

/// Two instances of one app and user that end with copies of the same events leave each once.
#[test]
fn copies_of_one_event_are_kept_once() {
    let mut kept = Queue::default();
    let filled = || {
        let mut queue = Queue::default();
        assert!((0..EVENTS as u64).all(|n| queue.push(event(n, 1))));
        queue
    };
    assert_eq!(kept.merge(filled()), 0);
    assert_eq!(kept.merge(filled()), 0);
    let mut newer = Queue::default();
    newer.push(event(1000, 1));
    assert_eq!(kept.merge(newer), 1, "beyond the bound it is counted");
}

#[test]
fn a_repeating_timer_makes_up_for_nothing() {
    let start = Instant::now();
    let ms = Duration::from_millis;
    let mut timers = Timers::default();
    assert!(timers.set("tick", start + ms(100), Some(ms(100))));
    assert_eq!(timers.take_due(start + ms(99)), None);
    // The instance was suspended meanwhile.
    let late = start + ms(1050);
    let (id, number) = timers.take_due(late).unwrap();
    timers.done(&id, number, late);
    assert_eq!(timers.take_due(late), None);
    assert_eq!(timers.next(), Some(start + ms(1100)), "it keeps its beat");
}

#[test]
fn a_timer_set_anew_in_its_own_handler_stays() {
    let start = Instant::now();
    let mut timers = Timers::default();
    timers.set("once", start, None);
    let (id, number) = timers.take_due(start).unwrap();
    timers.set("once", start + Duration::from_secs(1), None);
    timers.done(&id, number, start);
    assert!(timers.clear("once"), "the new one is not the old one");
    let (id, number) = {
        timers.set("once", start, None);
        timers.take_due(start).unwrap()
    };
    timers.done(&id, number, start);
    assert!(!timers.clear("once"));
}

proptest! {
    /// However late and however often it is looked at: once a beat at most, and never before it is due.
    #[test]
    fn timers_fire_once_a_beat_at_most(
        every in 100u64..1000,
        looks in proptest::collection::vec(0u64..3000, 1..40),
    ) {
        let start = Instant::now();
        let mut timers = Timers::default();
        timers.set("t", start + Duration::from_millis(every), Some(Duration::from_millis(every)));
        let (mut now, mut fired) = (0, 0u64);
        for step in looks {
            now += step;
            let at = start + Duration::from_millis(now);
            while let Some((id, number)) = timers.take_due(at) {
                fired += 1;
                timers.done(&id, number, at);
            }
            prop_assert!(fired <= now / every, "{} of {}", fired, now / every);
            prop_assert!(timers.next().unwrap() > at);
        }
    }
}

#[test]
fn changes_coalesce_and_are_bounded() {
    let mut watch = Watch::default();
    assert!(!watch.changed(Some(&["a".into()])), "nobody watches");
    assert!(!watch.changed(None));
    watch.prefixes.insert("a/".into());
    assert!(!watch.changed(Some(&["b".into(), "a".into()])));
    for _ in 0..3 {
        assert!(watch.changed(Some(&["a/1".into(), "b".into()])));
    }
    let changes = watch.take();
    assert_eq!((changes.keys.len(), changes.more), (1, false));
    watch.put_back(changes);
    let many: Vec<String> = (0..1000).map(|n| format!("a/{n}")).collect();
    watch.changed(Some(&many));
    let changes = watch.take();
    assert_eq!((changes.keys.len(), changes.more), (128, true));
    assert!(!watch.pending());
    watch.changed(None);
    assert!(watch.take().more);
    watch.changed(Some(&many));
    watch.unwatch("a/");
    assert!(!watch.pending(), "what nobody watches is not told");
}
