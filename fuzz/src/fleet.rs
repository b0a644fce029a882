//! What a registry says to hosts, what hosts say to it, and what it decided: signed documents of the fleet, telemetry,
//! evidence.

use std::sync::LazyLock;

use mpkg_fleet::{
    AppState, ArmVotes, Batch, Document, Evidence, Fleet, FleetHead, GateInputs, Level, Outcome, Plan,
    SignedDocument, StopNotice, Tally, evaluate, limits, replay,
};
use mpkg_manifest::json;
use mpkg_package::dsse::Envelope;

use crate::check_refusal;

#[path = "../../fleet/tests/support/mod.rs"]
mod support;

use support::{STATE, STOP, app, head, host, kill, lift, release, seed, signed, state, time};

/// A host that knows a state with a floor and a kill, and a head that lists it.
static KNOWN: LazyLock<Fleet> = LazyLock::new(|| {
    let mut fleet = host();
    assert!(fleet.accept_app(&first().to_bytes(), None).changed);
    assert!(fleet.accept_head(&signed(head(1, None), STATE).to_bytes(), None).changed);
    fleet
});

fn first() -> SignedDocument<AppState> {
    let mut first = state(1, None);
    (first.min_seq, first.kills) = (1, vec![kill(Level::Block, 1)]);
    signed(first, STATE)
}

/// Any bytes as each kind of document: as an envelope, and as what the right key signed for a host that knows some
/// state already. Whatever a key signs, no kill is forgotten but by a lift, no floor falls, and no state goes back.
pub fn fleet_document(data: &[u8]) {
    document::<AppState>(data);
    document::<FleetHead>(data);
    document::<StopNotice>(data);
    judged(data, |fleet, bytes| fleet.accept_app(bytes, None), AppState::TYPE, STATE);
    judged(data, |fleet, bytes| fleet.accept_head(bytes, None), FleetHead::TYPE, STATE);
    for key in [STATE, STOP] {
        let after = judged(data, Fleet::accept_stop, StopNotice::TYPE, key);
        assert_eq!(
            (after.head(), after.app(&app())),
            (KNOWN.head(), KNOWN.app(&app())),
            "a notice changed state"
        );
    }
    if let Err(error) = Fleet::from_bytes(data) {
        // What is told there is for the host's own log: it is the host's own file.
        assert!(!error.reason.is_empty());
    }
}

fn document<D: Document>(data: &[u8]) {
    match SignedDocument::<D>::parse(data) {
        Ok(document) => assert_eq!(document.to_bytes(), data, "an envelope has another byte form"),
        Err(error) => check_refusal(error.code(), &error.to_string(), None, 0),
    }
}

fn judged(data: &[u8], accept: impl Fn(&mut Fleet, &[u8]) -> Outcome, kind: &str, key: u8) -> Fleet {
    let mut envelope = Envelope::new(kind, data.to_vec());
    envelope.sign(&seed(key));
    let (before, mut after) = (&*KNOWN, KNOWN.clone());
    let outcome = accept(&mut after, &envelope.to_bytes());
    if let Some(error) = &outcome.refused {
        check_refusal(error.code(), &error.to_string(), None, 0);
    }
    if !outcome.must_persist() {
        assert_eq!(after, *before, "it changed without saying so");
    }
    for (id, _) in before.kills().active() {
        assert!(after.kills().get(id).is_some() || outcome.lifted.contains(&id), "a kill was forgotten");
    }
    assert!(after.min_seq(&app()) >= before.min_seq(&app()), "a floor fell");
    let at = |fleet: &Fleet| {
        let app = fleet.app(&app()).map(|it| (it.document().epoch, it.document().seq));
        (app, fleet.head().map(|it| (it.document().epoch, it.document().seq)))
    };
    assert!(at(&after).0 >= at(before).0 && at(&after).1 >= at(before).1, "state went back");
    assert_eq!(Fleet::from_bytes(&after.to_bytes()).as_ref(), Ok(&after), "what is written is read");
    let mut twice = after.clone();
    let again = accept(&mut twice, &envelope.to_bytes());
    assert!(twice == after && !again.changed, "the same document changed something twice");
    after
}

/// Any bytes as a batch of telemetry: what is taken reads the same under the strict profile, and merging it twice is
/// merging it once.
pub fn telemetry(data: &[u8]) {
    let batch = match Batch::parse(data) {
        Ok(batch) => batch,
        Err(error) => return check_refusal(error.code(), &error.to_string(), None, 0),
    };
    let strict: Batch = json::read(data, json::Limits::bytes(limits::BATCH))
        .expect("the strict reader takes what the fast one took");
    assert_eq!(batch, strict, "two readers of one batch");
    assert!(batch.reports.len() <= limits::ROWS);
    assert_eq!(Batch::parse(&batch.to_bytes()).as_ref(), Ok(&batch), "what is written is read");
    let mut once = mpkg_fleet::Ledger::default();
    once.merge("device", &batch);
    let mut twice = once.clone();
    twice.merge("device", &batch);
    assert_eq!(once, twice, "a duplicate counts");
}

/// Any bytes as evidence: it replays to what it says, or is refused; and what its inputs really give replays.
pub fn evidence(data: &[u8]) {
    let evidence = match Evidence::parse(data) {
        Ok(evidence) => evidence,
        Err(error) => return check_refusal(error.code(), &error.to_string(), None, 0),
    };
    assert_eq!(Evidence::parse(&evidence.to_bytes()).as_ref(), Ok(&evidence), "what is written is read");
    match replay(&evidence) {
        Ok(verdict) => assert_eq!(verdict, evidence.verdict),
        Err(error) => check_refusal(error.code(), &error.to_string(), None, 0),
    }
    let real = evaluate(evidence.inputs);
    assert_eq!(replay(&real).as_ref(), Ok(&real.verdict), "a decision does not replay");
}

/// Valid cases of each.
pub(crate) fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let mut second = state(2, Some(first().hash()));
    (second.min_seq, second.lifts) = (2, vec![lift(&kill(Level::Block, 1))]);
    (second.baseline, second.kills) = (Some(release(2)), vec![kill(Level::Revoke, 2)]);
    let mut after = head(2, Some(signed(head(1, None), STATE).hash()));
    after.kills = vec![kill(Level::Stop, 3)];
    let stop = StopNotice { issued: time(1), kills: vec![kill(Level::Stop, 4)] };
    let batch = br#"{"reports": [{"app": "org.example.app", "release_seq": 3, "arm": "treatment", "boot": "b1",
        "counters": {"launches": 2, "beacons": 1, "calls": 40, "errors": 1, "slow_500": 9, "slow_2000": 2}}]}"#;
    let arm = |bad| {
        let votes = Tally { good: 60, bad };
        ArmVotes {
            devices: 70,
            errors: votes,
            slow: votes,
            sluggish: votes,
            unavailable: votes,
            crash_loops: 1,
        }
    };
    let plan = Plan::default().steps()[0];
    let inputs = GateInputs {
        app: app(),
        release_seq: 3,
        at: time(600),
        step: 0,
        plan,
        elapsed_s: 600,
        control_share: plan.percent.control(),
        treatment: arm(4),
        control: arm(1),
    };
    vec![
        ("fleet_document", "first", first().to_bytes()),
        ("fleet_document", "second", payload(&second)),
        ("fleet_document", "head", payload(&after)),
        ("fleet_document", "stop", payload(&stop)),
        ("fleet_document", "stop-signed", signed(stop.clone(), STOP).to_bytes()),
        ("telemetry", "row", batch.to_vec()),
        ("telemetry", "none", br#"{"reports":[]}"#.to_vec()),
        ("evidence", "hold", evaluate(inputs.clone()).to_bytes()),
        ("evidence", "back", evaluate(GateInputs { treatment: arm(40), ..inputs }).to_bytes()),
    ]
}

fn payload(document: &impl Document) -> Vec<u8> {
    serde_json::to_vec(document).expect("documents always serialize")
}
