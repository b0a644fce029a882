use std::time::Duration;

use proptest::prelude::*;
use serde_json::value::to_raw_value;
use tokio::time::Instant;

use super::events::{EVENT_BYTES, EVENTS};
use super::timers::Timers;
use super::watch::Watch;
use super::*;

fn event(number: u64, bytes: usize) -> Event {
    Event::new(number, "t", to_raw_value(&"x".repeat(bytes)).unwrap())
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
