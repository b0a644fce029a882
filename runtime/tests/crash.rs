//! A host that is killed in the middle of installing and of recording decisions: what it acknowledged is there, and
//! nothing half-done is seen. Storage and files have the same test beside their code.

#![cfg(unix)]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{APP, Package, builder};
use miniapp_runtime::{GrantDecision, Host, InstallError, StaticPermissions};
use serde_json::{Value, json};

const FOLDER: &str = "MPKG_TEST_CRASH_FOLDER";
const START: &str = "MPKG_TEST_CRASH_START";
const PERMISSIONS: [&str; 3] = ["storage", "user.profile", "files"];

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

/// What is recorded once the first `steps` decisions are.
fn decided(steps: u64) -> BTreeMap<String, GrantDecision> {
    let mut model = BTreeMap::new();
    for (permission, decision) in (0..steps).map(decision) {
        match decision {
            Some(decision) => drop(model.insert(permission.to_owned(), decision)),
            None => drop(model.remove(permission)),
        }
    }
    model
}

/// The child: installs and decides in turns, and says what is done, until it is killed. By itself it does nothing.
#[tokio::test]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let start: u64 = std::env::var(START).unwrap().parse().unwrap();
    let host = open(Path::new(&folder));
    for n in start.. {
        // The last child may have got further than it said.
        if host.installed().unwrap().iter().all(|app| app.release_seq <= n + 1) {
            host.install(release(n)).await.unwrap();
        }
        println!("\ninstalled {n}");
        std::io::stdout().flush().unwrap();
        decide(&host, n);
        println!("\ndecided {n}");
        std::io::stdout().flush().unwrap();
    }
}

#[tokio::test]
async fn what_a_killed_host_acknowledged_is_there_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut done = 0u64;
    for round in 0..10u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder.path())
            .env(START, done.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Killed after an install and after a decision in turns; the kernel decides how far the next one has got.
        let enough = 1 + round * 5 % 7;
        let (mut installed, mut decisions, mut seen) = (done, done, 0);
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            match line.split_once(' ') {
                Some(("installed", n)) => installed = n.parse::<u64>().unwrap() + 1,
                Some(("decided", n)) => decisions = n.parse::<u64>().unwrap() + 1,
                _ => continue,
            }
            seen += 1;
            if seen == enough {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= enough, "round {round}: the child ended by itself");

        let host = open(folder.path());
        let app = host.installed().unwrap().pop().unwrap();
        assert!(app.release_seq == installed || app.release_seq == installed + 1, "round {round}: {app:?}");
        let kept: Vec<_> = std::fs::read_dir(folder.path().join("packages")).unwrap().collect();
        assert_eq!(kept.len(), 1, "round {round}: a package that nobody installed is left: {kept:?}");
        let older = host.install(release(app.release_seq - 2.min(app.release_seq - 1) - 1)).await;
        assert!(
            app.release_seq == 1 || matches!(older, Err(InstallError::Rollback { .. })),
            "round {round}: {older:?}"
        );
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
        // The step that was not acknowledged may have happened; both are done again, which is harmless.
        let audit = host.audit(0, 10_000).unwrap();
        assert_eq!(audit.missed, 0);
        assert!(audit.records.iter().zip(1..).all(|(record, seq)| record.seq == seq), "round {round}");
        let by_host = audit.records.iter().filter(|record| record.user == "ann").count() as u64;
        let told = (0..decisions).filter(|&n| decision(n).1.is_some()).count() as u64;
        assert!(by_host >= told, "round {round}: {by_host} records of {told} decisions");
        done = decisions;
    }
    assert!(done > 0);
}
