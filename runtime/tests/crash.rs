//! A host that is killed in the middle of installing and of recording decisions: what it acknowledged is there, and
//! nothing half-done is seen. Storage and files have the same test beside their code.

#![cfg(unix)]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{APP, Package, builder};
use miniapp_runtime::{AuditOutcome, GrantDecision, Host, InstallError, StaticPermissions};
use serde_json::{Value, json};

const FOLDER: &str = "MPKG_TEST_CRASH_FOLDER";
const START: &str = "MPKG_TEST_CRASH_START";
const PERMISSIONS: [&str; 3] = ["storage", "user.profile", "files"];
/// How often a host is killed.
const ROUNDS: u32 = 42;
/// How many releases a child makes in advance; more than it comes to install.
const AHEAD: u64 = 10;
const SIGKILL: i32 = 9;

/// Release `n + 1`; every one differs from the one before in its component, too.
fn release(n: u64) -> Vec<u8> {
    let package = Package::with(&PERMISSIONS);
    let mut component = package.component.clone();
    // A custom section: the id, its length, the length of its name, the name.
    component.extend([0, 9, 8]);
    component.extend(format!("{:08}", n % 100_000_000).bytes());
    Package { code: n + 1, component, ..package }.signed()
}

fn open(folder: &Path) -> Host {
    builder(folder).permissions(StaticPermissions::allow_all()).build().unwrap()
}

/// What is decided in the nth step: the permission, and the decision if it is not to forget the last one.
fn decision(n: u64) -> (&'static str, Option<GrantDecision>) {
    let permission = PERMISSIONS[(n / 2 % 3) as usize];
    let decided = match n % 4 {
        0 | 2 => Some(GrantDecision::Always),
        1 => Some(GrantDecision::Revoked),
        _ => None,
    };
    (permission, decided)
}

fn decide(host: &Host, n: u64) {
    match decision(n) {
        (permission, Some(GrantDecision::Always)) => assert!(host.grant("ann", APP, permission).unwrap()),
        (permission, Some(_)) => host.revoke("ann", APP, permission).unwrap(),
        (permission, None) => drop(host.forget("ann", APP, permission).unwrap()),
    }
}

/// What is recorded once these decisions are.
fn recorded<'p>(
    decisions: impl Iterator<Item = (&'p str, Option<GrantDecision>)>,
) -> BTreeMap<String, GrantDecision> {
    let mut model = BTreeMap::new();
    for (permission, decision) in decisions {
        match decision {
            Some(decision) => drop(model.insert(permission.to_owned(), decision)),
            None => drop(model.remove(permission)),
        }
    }
    model
}

/// What is recorded once the first `steps` decisions are.
fn decided(steps: u64) -> BTreeMap<String, GrantDecision> {
    recorded((0..steps).map(decision))
}

/// Tells the parent what is done, and how many microseconds it took.
fn tell(what: &str, n: u64, began: Instant) {
    let took = began.elapsed().as_micros();
    println!("\n{what} {n} {took}");
    std::io::stdout().flush().unwrap();
}

/// The child: installs and decides in turns, and says what is done, until it is killed. By itself it does nothing.
#[tokio::test]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let start: u64 = std::env::var(START).unwrap().parse().unwrap();
    let host = open(Path::new(&folder));
    // Before anything is said, so that what is dangerous begins right after the word that the parent waits for.
    let mut made: VecDeque<_> = (start..start + AHEAD).map(release).collect();
    // The last child may have got one step further than it said: that is done again, which is harmless.
    for n in start.. {
        let package = made.pop_front().unwrap_or_else(|| release(n));
        let began = Instant::now();
        host.install(package).await.unwrap();
        tell("installed", n, began);
        let began = Instant::now();
        decide(&host, n);
        tell("decided", n, began);
    }
}

/// The files in the folder of packages.
fn packages(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("packages")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn what_a_killed_host_acknowledged_is_there_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (mut done, mut halfway) = (0u64, 0u32);
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder.path())
            .env(START, done.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // After an install and after a decision in turns, and not before one of each has shown how long it takes.
        let enough = 3 + round * 5 % 7;
        let (mut installed, mut decisions, mut seen) = (done, done, 0);
        let (mut installing, mut deciding) = (Duration::ZERO, Duration::ZERO);
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let words: Vec<_> = line.split(' ').collect();
            let [what @ ("installed" | "decided"), n, took] = words[..] else { continue };
            let n: u64 = n.parse().unwrap();
            let took = Duration::from_micros(took.parse().unwrap());
            let next = if what == "installed" {
                (installed, installing) = (n + 1, took);
                deciding
            } else {
                (decisions, deciding) = (n + 1, took);
                installing
            };
            seen += 1;
            if seen == enough {
                // In another place of the step that has begun, or of the one after it, in every round.
                std::thread::sleep(next * 2 * round / ROUNDS);
                child.kill().unwrap();
            }
        }
        let ended = child.wait().unwrap();
        assert_eq!(ended.signal(), Some(SIGKILL), "round {round}: the child ended by itself: {ended}");
        assert!(seen >= enough, "round {round}: somebody else killed the child");

        // Else it was writing a package, or removing the one before.
        let mut whole = packages(folder.path()).len() == 1;
        let host = open(folder.path());
        let app = host.installed().unwrap().pop().unwrap();
        assert!(app.release_seq == installed || app.release_seq == installed + 1, "round {round}: {app:?}");
        assert_eq!(
            packages(folder.path()),
            [format!("{}.mpkg", app.digest)],
            "round {round}: a package that nobody installed is left"
        );
        let older = host.install(release(app.release_seq - 2)).await;
        assert!(matches!(older, Err(InstallError::Rollback { .. })), "round {round}: {older:?}");
        let instance = host.launch(APP, "bob").await.unwrap();
        assert_eq!(instance.call::<Value>("echo", &json!({ "n": 1 })).await.unwrap(), json!({ "n": 1 }));

        let stored: BTreeMap<_, _> = host
            .grants("ann", APP)
            .unwrap()
            .into_iter()
            .map(|grant| (grant.permission, grant.decision))
            .collect();
        assert!(
            stored == decided(decisions) || stored == decided(decisions + 1),
            "round {round}, after {decisions}: {stored:?}"
        );
        let audit = host.audit(0, 10_000).unwrap();
        assert_eq!(audit.missed, 0);
        assert!(audit.records.iter().zip(1..).all(|(record, seq)| record.seq == seq), "round {round}");
        let told: Vec<_> = audit.records.iter().filter(|record| record.user == "ann").collect();
        // A step that is done again may be told again.
        assert!(told.len() as u64 >= decisions, "round {round}: {} of {decisions} are told", told.len());
        let told = told.into_iter().map(|record| {
            let decision = match record.outcome {
                AuditOutcome::AllowedAlways => Some(GrantDecision::Always),
                AuditOutcome::Denied { .. } => Some(GrantDecision::Revoked),
                _ => None,
            };
            (record.permission.as_str(), decision)
        });
        assert_eq!(
            recorded(told),
            stored,
            "round {round}: a decision is there without its record, or one without it"
        );
        whole &= app.release_seq == installed && stored == decided(decisions);
        halfway += u32::from(!whole);
        done = decisions;
    }
    assert!(done > 0);
    // How many is luck: a step that has left no trace was begun in others, too.
    eprintln!(
        "{halfway} of {ROUNDS} kills came between the beginning of a step and the word that it was done"
    );
}
