//! What hosts hear that follow the stream.

use mpkg_fleet::{Follow, StreamEvent};
use serde_json::json;

use super::{context, host, ready, taken};
use crate::common::{APP, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_follows_the_stream_knows_everything() {
    let registry = start().await;
    ready(&registry).await;
    let mut host = host(&registry);
    let mut events = registry.stream(None).await;
    let (_, first) = events.next().await.unwrap();
    let StreamEvent::Heartbeat { at } = first else { panic!("{first:?}") };
    assert_eq!(at, registry.registry.head());

    let kill = json!({ "level": "stop", "scope": { "app": APP }, "reason": "bad" });
    registry.post(&registry.admin, "/v1/kills", &kill).await.ok();
    let (id, stop) = events.next().await.unwrap();
    let StreamEvent::Stop { notice } = stop else { panic!("{stop:?}") };
    assert_eq!(id, None);
    taken(host.accept_stop(notice.as_bytes()));
    assert!(host.decide(&APP.parse().unwrap(), &context("u"), None, None).run.is_none());
    let (id, head) = events.next().await.unwrap();
    assert_eq!(head.follow(Some(at)), Follow::Apply);
    let StreamEvent::Head { at: next, head, apps, .. } = head else { panic!("{head:?}") };
    assert_eq!(id, Some(next.to_string()));
    assert!(next.follows(at));
    taken(host.accept_app(apps[0].state.as_bytes(), None));
    taken(host.accept_head(head.as_bytes(), None));

    // Who comes back gets what it missed; who knows something else is told where the head is.
    let mut back = registry.stream(Some(&at.to_string())).await;
    assert!(matches!(back.next().await.unwrap().1, StreamEvent::Stop { .. }));
    assert_eq!(back.next().await.unwrap().0, Some(next.to_string()));
    for unknown in ["7.7", "x", ""] {
        let mut lost = registry.stream(Some(unknown)).await;
        assert_eq!(lost.next().await.unwrap().1, StreamEvent::Heartbeat { at: next }, "{unknown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_sends_what_was_published_and_ends_streams() {
    let mut registry = start().await;
    let mut events = registry.stream(None).await;
    events.next().await.unwrap();
    let kill = json!({ "level": "stop", "scope": {}, "reason": "the last thing" });
    registry.post(&registry.admin, "/v1/kills", &kill).await.ok();
    registry.stop().await;
    assert!(matches!(events.next().await.unwrap().1, StreamEvent::Stop { .. }));
    assert!(matches!(events.next().await.unwrap().1, StreamEvent::Head { .. }));
    assert!(events.next().await.is_none());
}

/// However many threads they are spread over.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn all_listeners_hear_all_events_in_their_order() {
    let mut registry = start().await;
    let mut listeners = Vec::new();
    for number in 0..10 {
        let host = registry.host(&format!("host {number}")).await;
        let mut events = registry.stream_of(&host, None).await;
        events.next().await.unwrap();
        listeners.push(events);
    }
    let before = registry.registry.head();
    for number in 0..20 {
        registry.registry.sign_again().await.unwrap();
        if number % 5 == 0 {
            listeners.swap_remove(0);
        }
    }
    registry.stop().await;
    for mut events in listeners {
        for seq in 1..=20 {
            let (_, event) = events.next().await.unwrap();
            let StreamEvent::Head { at, .. } = event else { panic!("{event:?}") };
            assert_eq!(at.seq, before.seq + seq);
        }
        assert!(events.next().await.is_none());
    }
}
