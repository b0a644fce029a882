use super::*;
use proptest::prelude::*;

fn event(n: usize) -> Notification {
    let data = RawValue::from_string(n.to_string()).unwrap();
    Notification::Event { topic: "t".into(), data, id: n.to_string() }
}

fn line(n: usize) -> Notification {
    Notification::Log { level: Level::Info, message: n.to_string() }
}

fn stopped() -> Notification {
    Notification::Stopped { reason: StopReason::Unloaded }
}

/// `e1`, `l2`, `m3`, `s`.
fn short(notification: &Notification) -> String {
    match notification {
        Notification::Event { id, .. } => format!("e{id}"),
        Notification::Log { message, .. } => format!("l{message}"),
        Notification::Missed { count } => format!("m{count}"),
        Notification::Stopped { .. } => "s".into(),
    }
}

/// Of an app with memory for everything.
fn with_room(capacity: usize) -> Arc<Outbox> {
    Outbox::new(capacity, Ledger::alone(u64::MAX))
}

fn read(from: &mut Notifications) -> Vec<String> {
    std::iter::from_fn(|| from.try_recv()).map(|n| short(&n)).collect()
}

#[test]
fn a_full_listener_refuses_events_and_counts_lines() {
    let outbox = with_room(2);
    let (mut slow, mut quick) = (outbox.subscribe(), outbox.subscribe());
    outbox.publish(event(1)).unwrap();
    outbox.send(line(2));
    assert_eq!(read(&mut quick), ["e1", "l2"]);
    assert_eq!(outbox.publish(event(3)), Err(QueueFull));
    assert!(read(&mut quick).is_empty(), "given to all or to none");
    outbox.send(line(4));
    outbox.send(line(5));
    outbox.send(stopped());
    outbox.send(line(6));
    assert_eq!(read(&mut slow), ["e1", "l2", "m2", "s"]);
    assert_eq!(read(&mut quick), ["l4", "l5", "s"]);
}

#[test]
fn a_listener_that_went_away_holds_nobody_up() {
    let outbox = with_room(1);
    let gone = outbox.subscribe();
    outbox.publish(event(1)).unwrap();
    assert_eq!(outbox.publish(event(2)), Err(QueueFull));
    drop(gone);
    outbox.publish(event(3)).unwrap();
}

#[test]
fn a_host_that_never_listens_is_no_error_and_costs_a_queue_at_most() {
    let outbox = with_room(3);
    for n in 0..100 {
        outbox.publish(event(n)).unwrap();
    }
    assert_eq!(read(&mut outbox.subscribe()), ["m97", "e97", "e98", "e99"]);
    let big = "x".repeat(QUEUE_BYTES - 10);
    let outbox = with_room(100);
    for _ in 0..4 {
        outbox.send(Notification::Log { level: Level::Info, message: big.clone() });
    }
    let mut late = outbox.subscribe();
    assert_eq!(late.try_recv().map(|n| short(&n)).unwrap(), "m3");
    assert_eq!(read(&mut late).len(), 1);
}

#[test]
fn bytes_are_bounded_too() {
    let outbox = with_room(1000);
    let mut listener = outbox.subscribe();
    let data = || RawValue::from_string(format!("\"{}\"", "x".repeat(QUEUE_BYTES / 2))).unwrap();
    let big = || Notification::Event { topic: "t".into(), data: data(), id: "1".into() };
    outbox.publish(big()).unwrap();
    assert_eq!(outbox.publish(big()), Err(QueueFull));
    listener.try_recv().unwrap();
    outbox.publish(big()).unwrap();
}

/// One app after the other could fill the host's memory with what nobody reads.
#[test]
fn what_waits_is_charged_to_the_app_until_the_last_has_read_it() {
    let each = (event(1).bytes() + AROUND) as u64;
    let ledger = Ledger::alone(3 * each);
    let outbox = Outbox::new(100, ledger.clone());
    let (mut one, mut other) = (outbox.subscribe(), outbox.subscribe());
    for n in 1..=3 {
        outbox.publish(event(n)).unwrap();
        assert_eq!(ledger.used(), n as u64 * each, "once for all listeners");
    }
    assert_eq!(outbox.publish(event(4)), Err(QueueFull), "no memory is no room");
    outbox.send(line(5));
    assert_eq!(read(&mut one), ["e1", "e2", "e3", "m1"]);
    assert_eq!(ledger.used(), 3 * each, "another has not read them");
    assert_eq!(other.try_recv().map(|n| short(&n)).as_deref(), Some("e1"));
    assert_eq!(ledger.used(), 2 * each);
    outbox.publish(event(6)).unwrap();
    drop(other);
    assert_eq!(ledger.used(), each);
    assert_eq!(read(&mut one), ["e6"]);
    assert_eq!(ledger.used(), 0);
    // Whoever kept one keeps it on its own account.
    outbox.publish(event(7)).unwrap();
    let kept = one.try_recv().unwrap();
    assert_eq!((short(&kept).as_str(), ledger.used()), ("e7", 0));
    drop(one);
    outbox.publish(event(8)).unwrap();
    assert_eq!(ledger.used(), 0, "nobody listens");
}

/// The end is told whatever there is memory for.
#[test]
fn an_app_without_memory_is_heard_to_end() {
    let outbox = Outbox::new(100, Ledger::alone(0));
    let mut listener = outbox.subscribe();
    assert_eq!(outbox.publish(event(1)), Err(QueueFull));
    outbox.send(line(2));
    outbox.send(stopped());
    assert_eq!(read(&mut listener), ["m1", "s"]);
    let outbox = Outbox::new(100, Ledger::alone(0));
    outbox.send(line(1));
    assert_eq!(outbox.publish(event(2)), Err(QueueFull));
    outbox.send(stopped());
    assert_eq!(read(&mut outbox.subscribe()), ["m1", "s"]);
}

/// What nobody has asked for is little, and gives way to what is newer, in the app's memory too.
#[test]
fn the_queue_that_nobody_asked_for_stays_small() {
    let text = "x".repeat(4096);
    let say = |outbox: &Outbox| {
        outbox.send(Notification::Log { level: Level::Info, message: text.clone() });
    };
    let ledger = Ledger::alone(u64::MAX);
    let first = Outbox::new(1000, ledger.clone());
    (0..1000).for_each(|_| say(&first));
    let most = (FIRST_BYTES / text.len()) as u64;
    assert_eq!(ledger.used(), most * (text.len() + AROUND) as u64);
    let mut listener = first.subscribe();
    assert!(
        matches!(listener.try_recv().as_deref(), Some(Notification::Missed { count }) if *count == 1000 - most)
    );
    (0..1000).for_each(|_| say(&first));
    assert!(ledger.used() > FIRST_BYTES as u64 * 4, "a listener has room for more");

    let ledger = Ledger::alone(10_000);
    let starved = Outbox::new(1000, ledger.clone());
    (0..10).for_each(|_| say(&starved));
    for n in 0..10 {
        starved.publish(event(n)).unwrap();
    }
    assert!(ledger.used() <= 10_000);
    let heard = read(&mut starved.subscribe());
    assert_eq!(heard.last().map(String::as_str), Some("e9"));
}

#[tokio::test]
async fn the_stream_ends_with_the_sender() {
    let outbox = with_room(4);
    let mut before = outbox.subscribe();
    let waiting = tokio::spawn(async move { before.recv().await.map(|n| short(&n)) });
    outbox.send(stopped());
    assert_eq!(waiting.await.unwrap().as_deref(), Some("s"));
    let mut after = outbox.subscribe();
    assert!(after.recv().await.is_none(), "asked for after the end");
    let outbox = with_room(4);
    let mut orphan = outbox.subscribe();
    drop(outbox);
    assert!(orphan.recv().await.is_none());
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Publish,
    Log,
    Read(usize),
}

proptest! {
    /// What was acknowledged arrives, once, in order; what was not never does; lines and gaps add up.
    #[test]
    fn nothing_acknowledged_is_lost(
        capacity in 1usize..5,
        steps in proptest::collection::vec(
            prop_oneof![Just(Step::Publish), Just(Step::Log), (0usize..4).prop_map(Step::Read)], 0..60),
    ) {
        let outbox = with_room(capacity);
        let mut listener = outbox.subscribe();
        let (mut acknowledged, mut heard, mut lines, mut accounted) = (vec![], vec![], 0u64, 0u64);
        let mut hear = |notification: &Notification| match notification {
            Notification::Event { id, .. } => heard.push(id.clone()),
            Notification::Log { .. } => accounted += 1,
            Notification::Missed { count } => accounted += count,
            Notification::Stopped { .. } => {}
        };
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Publish => if outbox.publish(event(n)).is_ok() { acknowledged.push(n.to_string()) },
                Step::Log => { outbox.send(line(n)); lines += 1 }
                Step::Read(count) => {
                    for _ in 0..count {
                        if let Some(n) = listener.try_recv() { hear(&n) }
                    }
                }
            }
        }
        while let Some(n) = listener.try_recv() { hear(&n) }
        prop_assert_eq!(heard, acknowledged);
        prop_assert_eq!(accounted, lines);
    }
}
