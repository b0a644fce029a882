//! What a host takes in: each attack by itself, then random histories in any order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::collections::BTreeSet;

use mpkg_fleet::*;
use mpkg_package::Hash;
use mpkg_package::root::STATE_ROLE;
use proptest::prelude::*;
use support::*;

fn code(outcome: &Outcome) -> &'static str {
    outcome.refused.as_ref().map_or("accepted", AcceptError::code)
}

#[test]
fn a_rightly_signed_state_is_taken_and_survives_a_restart() {
    let mut fleet = host();
    let mut first = state(1, None);
    first.min_seq = 1;
    first.kills = vec![kill(Level::Block, 1)];
    let first = signed(first, STATE);
    let outcome = fleet.accept_app(&first.to_bytes(), Some(time(10)));
    assert!(outcome.changed && outcome.refused.is_none() && outcome.notices.is_empty(), "{outcome:?}");
    assert_eq!(outcome.killed.len(), 1);
    assert!(!fleet.accept_app(&first.to_bytes(), Some(time(10))).must_persist());
    let restored = Fleet::from_bytes(&fleet.to_bytes()).unwrap();
    assert_eq!(restored, fleet);
    assert_eq!(restored.to_bytes(), fleet.to_bytes());
    assert!(Fleet::from_bytes(&fleet.to_bytes()[1..]).is_err());
}

#[test]
fn only_the_state_role_signs_state() {
    let mut fleet = host();
    for key in [ROOT, STOP, 8] {
        assert_eq!(code(&fleet.accept_app(&signed(state(1, None), key).to_bytes(), None)), "MPKG-S05");
        assert_eq!(code(&fleet.accept_head(&signed(head(1, None), key).to_bytes(), None)), "MPKG-S05");
    }
    let unsigned = SignedDocument::new(state(1, None)).unwrap();
    assert_eq!(code(&fleet.accept_app(&unsigned.to_bytes(), None)), "MPKG-S07");
    assert_eq!(fleet, host());
}

#[test]
fn a_document_is_not_taken_for_one_of_another_kind() {
    let mut fleet = host();
    assert_eq!(code(&fleet.accept_app(&signed(head(1, None), STATE).to_bytes(), None)), "MPKG-S02");
    assert_eq!(code(&fleet.accept_stop(&signed(state(1, None), STATE).to_bytes())), "MPKG-S02");
}

#[test]
fn what_is_malformed_or_too_large_leaves_what_is_known() {
    let mut fleet = host();
    let good = signed(state(1, None), STATE);
    assert!(fleet.accept_app(&good.to_bytes(), None).changed);
    let before = fleet.clone();
    let bytes = good.to_bytes();
    for bad in [&bytes[..bytes.len() - 1], b"", b"{}", &vec![b' '; 1 << 20]] {
        let outcome = fleet.accept_app(bad, None);
        assert!(outcome.refused.is_some() && !outcome.must_persist());
        assert_eq!(fleet, before);
    }
}

#[test]
fn a_stop_key_can_stop_and_nothing_else() {
    let mut fleet = host();
    let notice = StopNotice { issued: time(0), kills: vec![kill(Level::Stop, 1)] };
    let outcome = fleet.accept_stop(&signed(notice.clone(), STOP).to_bytes());
    assert_eq!(outcome.killed, [notice.kills[0].id()]);
    // The registry's own key may, too, and a root key may not.
    assert_eq!(code(&host().accept_stop(&signed(notice.clone(), STATE).to_bytes())), "accepted");
    assert_eq!(code(&host().accept_stop(&signed(notice, ROOT).to_bytes())), "MPKG-S05");
}

#[test]
fn equivocation_is_refused_kept_and_alarmed() {
    let mut fleet = host();
    let one = signed(state(1, None), STATE);
    let mut other = state(1, None);
    other.kills = vec![kill(Level::Stop, 1)];
    other.lifts = vec![lift(&kill(Level::Stop, 2))];
    let other = signed(other, STATE);
    assert!(fleet.accept_app(&one.to_bytes(), None).changed);
    let outcome = fleet.accept_app(&other.to_bytes(), None);
    assert_eq!((code(&outcome), outcome.alarm, outcome.changed), ("MPKG-F37", true, false));
    assert_eq!(fleet.app(&app()).unwrap(), &one);
    // What stops counts, what lifts does not.
    assert_eq!((fleet.kills().active().count(), fleet.kills().lifts().count()), (1, 0));
    let decode = |text: &str| data_encoding::BASE64.decode(text.as_bytes()).unwrap();
    let alarm = &fleet.alarms()[0];
    assert_eq!((decode(&alarm.first), decode(&alarm.second)), (one.to_bytes(), other.to_bytes()));
    // The evidence survives, and the same again adds none.
    let _ = fleet.accept_app(&other.to_bytes(), None);
    assert_eq!(Fleet::from_bytes(&fleet.to_bytes()).unwrap().alarms().len(), 1);
}

#[test]
fn a_head_that_names_another_state_is_equivocation_too() {
    let mut fleet = host();
    let one = signed(state(1, None), STATE);
    assert!(fleet.accept_app(&one.to_bytes(), None).changed);
    let mut lying = head(1, None);
    lying.apps.insert(app(), AppEntry { epoch: 1, seq: 1, sha256: Hash::of(b"other") });
    let lying = signed(lying, STATE);
    let outcome = fleet.accept_head(&lying.to_bytes(), None);
    assert_eq!((code(&outcome), outcome.alarm), ("MPKG-F37", true));
    assert!(fleet.head().is_none());
    // The other way round: the head came first.
    let mut fleet = host();
    assert!(fleet.accept_head(&lying.to_bytes(), None).changed);
    assert_eq!(fleet.missing(), [&app()]);
    let outcome = fleet.accept_app(&one.to_bytes(), None);
    assert_eq!((code(&outcome), outcome.alarm, fleet.alarms().len()), ("MPKG-F37", true, 1));
}

#[test]
fn another_past_is_refused_and_alarmed() {
    let mut fleet = host();
    assert!(fleet.accept_app(&signed(state(1, None), STATE).to_bytes(), None).changed);
    let forged = signed(state(2, Some(Hash::of(b"another first"))), STATE);
    let outcome = fleet.accept_app(&forged.to_bytes(), None);
    assert_eq!((code(&outcome), outcome.alarm), ("MPKG-F38", true));
    // With one in between that nobody saw, the signature alone has to do, and that is reported.
    let later = signed(state(3, Some(Hash::of(b"unseen"))), STATE);
    let outcome = fleet.accept_app(&later.to_bytes(), None);
    let at = |seq| Position { epoch: 1, seq };
    assert_eq!(outcome.notices, [Notice::Gap { after: at(1), found: at(3) }]);
}

#[test]
fn older_state_is_refused_and_its_kills_count() {
    let mut fleet = host();
    let mut old = state(1, None);
    old.kills = vec![kill(Level::Block, 1)];
    let old = signed(old, STATE);
    assert!(fleet.accept_app(&signed(state(2, Some(old.hash())), STATE).to_bytes(), None).changed);
    let outcome = fleet.accept_app(&old.to_bytes(), None);
    assert_eq!((code(&outcome), outcome.changed, outcome.alarm), ("MPKG-F36", false, false));
    assert!(outcome.must_persist());
    assert_eq!(fleet.kills().active().count(), 1);
}

#[test]
fn a_host_that_holds_no_state_takes_none_that_the_head_has_left_behind() {
    let mut fleet = host();
    let mut old = state(1, None);
    old.kills = vec![kill(Level::Block, 1)];
    let old = signed(old, STATE);
    let between = signed(state(2, Some(old.hash())), STATE);
    let newest = signed(state(3, Some(between.hash())), STATE);
    let mut naming = head(1, None);
    naming.apps.insert(app(), AppEntry { epoch: 1, seq: 3, sha256: newest.hash() });
    assert!(fleet.accept_head(&signed(naming.clone(), STATE).to_bytes(), None).changed);
    let outcome = fleet.accept_app(&old.to_bytes(), None);
    assert_eq!((code(&outcome), outcome.changed, outcome.alarm), ("MPKG-F36", false, false));
    assert_eq!((outcome.killed.len(), fleet.app(&app())), (1, None));
    assert_eq!(fleet.missing(), [&app()]);
    assert!(fleet.accept_app(&newest.to_bytes(), None).changed);
    // Nor one that is newer than what is held, and older than what the head names.
    let mut fleet = host();
    assert!(fleet.accept_app(&old.to_bytes(), None).changed);
    assert!(fleet.accept_head(&signed(naming, STATE).to_bytes(), None).changed);
    assert_eq!(code(&fleet.accept_app(&between.to_bytes(), None)), "MPKG-F36");
    assert_eq!(code(&fleet.accept_app(&old.to_bytes(), None)), "accepted");
    assert!(fleet.accept_app(&newest.to_bytes(), None).changed);
}

#[test]
fn floors_never_fall() {
    let mut fleet = host();
    let mut one = state(1, None);
    (one.min_seq, one.baseline) = (5, Some(release(5)));
    let one = signed(one, STATE);
    let two = signed(state(2, Some(one.hash())), STATE);
    assert!(fleet.accept_app(&one.to_bytes(), None).changed);
    let outcome = fleet.accept_app(&two.to_bytes(), None);
    assert_eq!(outcome.notices, [Notice::FloorKept { stated: 0, floor: 5 }]);
    assert_eq!(fleet.min_seq(&app()), 5);
    let decision = fleet.decide(&app(), &context("d"), None, None);
    assert_eq!((decision.run, decision.blocked), (None, vec![Cause::BelowFloor]));
}

#[test]
fn expired_state_is_taken_reported_and_starts_nothing_new() {
    let mut fleet = host();
    let mut one = state(1, None);
    (one.release, one.percent) = (Some(release(2)), BasisPoints::ALL);
    one.kills = vec![kill(Level::Warn, 1)];
    let outcome = fleet.accept_app(&signed(one, STATE).to_bytes(), Some(time(90_000)));
    assert!(outcome.changed);
    assert_eq!(outcome.notices, [Notice::Expired { expires: time(86_400) }]);
    let decide =
        |installed: Option<&ReleaseRef>, now| fleet.decide(&app(), &context("d"), installed, Some(time(now)));
    assert_eq!(decide(Some(&release(1)), 10).run, Some(release(2)));
    let late = decide(Some(&release(1)), 90_000);
    assert_eq!(
        (late.run, late.reason, &late.frozen[..]),
        (Some(release(1)), Reason::Frozen, &[FrozenBy::Expired][..])
    );
    assert_eq!(late.effects.warn.len(), 1);
    assert_eq!(decide(Some(&release(2)), 90_000).run, Some(release(2)));
    assert_eq!(decide(None, 90_000).run, Some(release(1)));
}

#[test]
fn a_clock_that_was_turned_back_does_not_freshen_anything() {
    let mut fleet = host();
    assert!(fleet.accept_head(&signed(head(1, None), STATE).to_bytes(), Some(time(5))).changed);
    assert_eq!(fleet.age_s(Some(time(101))), Some(100));
    assert_eq!(fleet.now(Some(time(-1_000_000))), Some(time(1)));
    let standing = |now| fleet.decide(&app(), &context("d"), None, Some(time(now))).standing;
    assert_eq!(standing(0), [Standing::Fresh; 3]);
    assert_eq!(standing(90_000), [Standing::Fresh, Standing::Fresh, Standing::Withdrawn]);
    assert_eq!(standing(700_000), [Standing::Fresh, Standing::Refresh, Standing::Withdrawn]);
    let decision = fleet.decide(&app(), &context("d"), None, Some(time(700_000)));
    assert_eq!(decision.permission("payments.request", "payments.request"), Standing::Withdrawn);
    assert_eq!(decision.permission("storage", "storage.get"), Standing::Fresh);
    assert_eq!(decision.permission("not.yet.known", "x"), Standing::Withdrawn);
}

#[test]
fn time_that_was_seen_stays_seen_until_a_newer_head() {
    let mut fleet = host();
    assert_eq!(fleet.at(Some(time(50_000))), None, "nothing is known that could be old");
    let first = signed(head(1, None), STATE);
    assert!(fleet.accept_head(&first.to_bytes(), Some(time(5))).changed);
    assert_eq!((fleet.at(None), fleet.at(Some(time(3_600)))), (None, None));
    fleet = Fleet::from_bytes(&fleet.at(Some(time(3_601))).unwrap().to_bytes()).unwrap();
    assert_eq!((fleet.age_s(Some(time(-9))), fleet.age_s(None)), (Some(3_600), None));
    assert_eq!((fleet.at(Some(time(7_200))), fleet.at(Some(time(0)))), (None, None));
    // A permission that was withdrawn is not renewed by what the clock is set to, however little time has passed.
    fleet = fleet.at(Some(time(86_400))).unwrap();
    fleet = fleet.at(Some(time(86_401))).unwrap();
    let standing = |fleet: &Fleet, now| fleet.decide(&app(), &context("d"), None, Some(time(now))).standing;
    let withdrawn = [Standing::Fresh, Standing::Fresh, Standing::Withdrawn];
    assert_eq!(standing(&fleet, 1), withdrawn);
    fleet = Fleet::from_bytes(&fleet.to_bytes()).unwrap();
    assert_eq!(standing(&fleet, 1), withdrawn);
    // A clock that was years ahead for a moment: the next head is taken, and all is well.
    fleet = fleet.at(Some(time(1_000_000_000))).unwrap();
    let mut second = head(2, Some(first.hash()));
    second.issued = time(86_300);
    let outcome = fleet.accept_head(&signed(second, STATE).to_bytes(), Some(time(86_310)));
    assert!(outcome.changed && outcome.notices.is_empty(), "{outcome:?}");
    assert_eq!(fleet.age_s(Some(time(86_310))), Some(10));
}

#[test]
fn roots_rotate_and_never_go_back() {
    let (mut fleet, first) = (host(), chain());
    let second = next(&first, |draft| {
        draft.remove(STATE_ROLE, seed(STATE).public().id());
        draft.add(STATE_ROLE, &seed(20).public());
        draft.expires = Some(time(1_000));
    });
    assert!(fleet.accept_roots(&second.to_bytes()).changed);
    assert_eq!(code(&fleet.accept_roots(&first.to_bytes())), "MPKG-F32");
    // The key that was thrown out signs nothing any more.
    assert_eq!(code(&fleet.accept_app(&signed(state(1, None), STATE).to_bytes(), None)), "MPKG-S05");
    assert_eq!(code(&fleet.accept_app(&signed(state(1, None), 20).to_bytes(), None)), "accepted");
    let fork = next(&first, |draft| draft.expires = Some(time(2_000)));
    let outcome = fleet.accept_roots(&fork.to_bytes());
    assert_eq!((code(&outcome), outcome.alarm, fleet.alarms().len()), ("MPKG-F33", true, 1));
    // Past its time it admits stops only: those of a notice and those of a state.
    let mut late = state(2, Some(signed(state(1, None), 20).hash()));
    late.kills = vec![kill(Level::Block, 1)];
    let outcome = fleet.accept_app(&signed(late, 20).to_bytes(), Some(time(1_000)));
    assert_eq!((code(&outcome), outcome.changed, outcome.killed.len()), ("MPKG-F34", false, 1));
    let notice = StopNotice { issued: time(0), kills: vec![kill(Level::Stop, 2)] };
    assert_eq!(fleet.accept_stop(&signed(notice, STOP).to_bytes()).killed.len(), 1);
    assert_eq!(Fleet::from_bytes(&fleet.to_bytes()).unwrap(), fleet);
}

#[test]
fn a_foreign_root_and_no_root_are_refused() {
    let other = mpkg_package::RootChain::first(mpkg_package::Root::single(&seed(40).public())).unwrap();
    assert_eq!(code(&host().accept_roots(&other.to_bytes())), "MPKG-F31");
    let mut knows_nothing = Fleet::new(mpkg_package::Trust::chain(&chain()));
    assert_eq!(code(&knows_nothing.accept_app(&signed(state(1, None), STATE).to_bytes(), None)), "MPKG-F30");
}

#[test]
fn numbers_cannot_be_used_up() {
    let mut fleet = host();
    let mut most = state(1, None);
    most.epoch = 1 << 20;
    let mut more = most.clone();
    more.epoch += 1;
    assert_eq!(code(&fleet.accept_app(&signed(more.clone(), STATE).to_bytes(), None)), "MPKG-F35");
    assert!(fleet.accept_app(&signed(most, STATE).to_bytes(), None).changed);
    assert!(fleet.accept_roots(&next(&chain(), |_| ()).to_bytes()).changed);
    assert!(fleet.accept_app(&signed(more, STATE).to_bytes(), None).changed);
}

#[test]
fn an_app_stays_its_publishers() {
    let mut fleet = host();
    let one = signed(state(1, None), STATE);
    assert!(fleet.accept_app(&one.to_bytes(), None).changed);
    let mut stolen = state(2, Some(one.hash()));
    stolen.publisher = mpkg_package::Root::single(&seed(50).public()).publisher_id();
    assert_eq!(code(&fleet.accept_app(&signed(stolen, STATE).to_bytes(), None)), "MPKG-F39");
}

/// What happens to a state from one document to the next.
#[derive(Clone, Debug)]
struct Change {
    kill: bool,
    lift: Option<prop::sample::Index>,
    forget: bool,
    floor: u64,
    new_epoch: bool,
}

fn change() -> impl Strategy<Value = Change> {
    let lift = prop::option::weighted(0.3, any::<prop::sample::Index>());
    (any::<bool>(), lift, prop::bool::weighted(0.2), 0_u64..6, prop::bool::weighted(0.1))
        .prop_map(|(kill, lift, forget, floor, new_epoch)| Change { kill, lift, forget, floor, new_epoch })
}

/// A history as a registry would sign it, sometimes with a bug: it forgets a kill without lifting it.
fn history(changes: &[Change]) -> Vec<SignedDocument<AppState>> {
    let mut documents: Vec<SignedDocument<AppState>> = Vec::new();
    let (mut epoch, mut seq, mut floor) = (1, 0, 0);
    let (mut kills, mut lifts): (Vec<Kill>, Vec<Lift>) = (Vec::new(), Vec::new());
    for (at, change) in changes.iter().enumerate() {
        (epoch, seq) = if change.new_epoch { (epoch + 1, 1) } else { (epoch, seq + 1) };
        if change.kill {
            kills.push(kill(Level::Block, at as u64));
        }
        if let Some(index) = change.lift.filter(|_| !kills.is_empty()) {
            let over = kills.remove(index.index(kills.len()));
            lifts.push(lift(&over));
        }
        if change.forget {
            kills.pop();
        }
        floor = change.floor.max(floor);
        let prev = (seq > 1).then(|| documents.last().unwrap().hash());
        let mut next = state(seq, prev);
        (next.epoch, next.min_seq, next.baseline) = (epoch, floor, Some(release(floor.max(1))));
        (next.kills, next.lifts) = (kills.clone(), lifts.clone());
        documents.push(signed(next, STATE));
    }
    documents
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever order, loss and duplication do to a history: what was once known to be off stays off until a signed
    /// lift, floors only rise, and state only moves forward. Two hosts that saw the same documents in different orders
    /// agree on all that is off.
    #[test]
    fn no_order_loss_or_duplication_goes_back(
        changes in prop::collection::vec(change(), 1..10),
        deliveries in prop::collection::vec(any::<prop::sample::Index>(), 1..24),
        shuffle in any::<u64>(),
    ) {
        let documents = history(&changes);
        let mut fleet = host();
        let (mut seen_kills, mut seen_lifts) = (BTreeSet::new(), BTreeSet::new());
        let (mut position, mut floor) = (Position::default(), 0);
        let picks: Vec<usize> = deliveries.iter().map(|index| index.index(documents.len())).collect();
        for pick in &picks {
            let document = documents[*pick].document();
            let outcome = fleet.accept_app(&documents[*pick].to_bytes(), None);
            prop_assert!(!outcome.alarm, "honest documents alarm: {outcome:?}");
            seen_kills.extend(document.kills.iter().map(Kill::id));
            seen_lifts.extend(document.lifts.iter().map(|lift| lift.kill));
            let active: BTreeSet<KillId> = fleet.kills().active().map(|(id, _)| id).collect();
            prop_assert_eq!(&active, &(&seen_kills - &seen_lifts));

            let held = fleet.app(&app()).unwrap().document();
            let now = Position { epoch: held.epoch, seq: held.seq };
            prop_assert!(now >= position && fleet.min_seq(&app()) >= floor);
            (position, floor) = (now, fleet.min_seq(&app()));
            fleet = Fleet::from_bytes(&fleet.to_bytes()).unwrap();
        }
        // The newest of those that were seen is the one that holds.
        let newest = picks.iter().map(|pick| documents[*pick].document()).max_by_key(|it| (it.epoch, it.seq));
        prop_assert_eq!(fleet.app(&app()).unwrap().document(), newest.unwrap());

        let mut other = host();
        let mut order: Vec<(u64, usize)> = picks.iter().map(|pick| (0, *pick)).collect();
        let mut random = Random(shuffle);
        order.iter_mut().for_each(|it| it.0 = random.next());
        order.sort_unstable();
        for (_, pick) in order {
            let _ = other.accept_app(&documents[pick].to_bytes(), None);
        }
        prop_assert_eq!(fleet.kills(), other.kills());
        prop_assert_eq!(fleet.app(&app()), other.app(&app()));
    }

    /// Any second document for a position raises the alarm, whichever comes first and whatever differs.
    #[test]
    fn equivocation_always_alarms(
        changes in prop::collection::vec(change(), 1..6),
        at in any::<prop::sample::Index>(),
        second_first in any::<bool>(),
    ) {
        let documents = history(&changes);
        let genuine = &documents[at.index(documents.len())];
        let mut forged = genuine.document().clone();
        forged.issued = time(40_000);
        let forged = signed(forged, STATE);
        let (first, second) = if second_first { (&forged, genuine) } else { (genuine, &forged) };
        let mut fleet = host();
        prop_assert!(fleet.accept_app(&first.to_bytes(), None).changed);
        let outcome = fleet.accept_app(&second.to_bytes(), None);
        prop_assert!(outcome.alarm && !outcome.changed);
        prop_assert_eq!(fleet.app(&app()), Some(first));
    }

    #[test]
    fn documents_have_one_meaning_there_and_back(changes in prop::collection::vec(change(), 1..6)) {
        for document in history(&changes) {
            let read = SignedDocument::<AppState>::parse(&document.to_bytes()).unwrap();
            prop_assert_eq!(&read, &document);
            prop_assert_eq!(read.to_bytes(), document.to_bytes());
        }
    }

    /// A document with any one byte changed is refused, or is the same document.
    #[test]
    fn no_byte_can_be_changed(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let good = signed(state(1, None), STATE).to_bytes();
        let mut bad = good.clone();
        let at = at.index(bad.len());
        bad[at] ^= 1 << bit;
        let mut fleet = host();
        prop_assert!(fleet.accept_app(&bad, None).refused.is_some());
        prop_assert!(fleet.app(&app()).is_none());
    }
}
