//! From a first release to a roll back: who may do what, what it takes, and what is told.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use mpkg_fleet::{Arm, Batch, Counters, Report};
use mpkg_registry_client::Client;
use mpkg_tests::workspace::run_mpkg;
use serde_json::json;

use crate::people::{APP, Person, Server, releases, text};

#[test]
fn from_an_empty_folder_to_a_rollback() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = releases(folder.path());
    let mut server = Server::start(folder.path(), &[]);
    let token = server.first_token.clone().expect("the first start gives a token");
    let ann = Person::new();

    // Nobody is logged in, and nothing is known.
    assert_eq!(ann.refused(&["status"], 2), "MPKG-C50");
    assert_eq!(ann.refused(&["status", "--registry", &server.address], 4), "MPKG-C51");

    // Logged in: the token lies where it was said, and nobody else reads it.
    let said = ann.log_in(&server.address, &token);
    assert_eq!(
        (&said["token"]["owner"], &said["token"]["roles"]),
        (&json!("first admin"), &json!(["admin"]))
    );
    let stored = said["stored"].as_str().unwrap().to_owned();
    assert!(fs::read_to_string(&stored).unwrap().contains(&token));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(Path::new(&stored)), 0o600);
        assert_eq!(mode(Path::new(&stored).parent().unwrap()), 0o700);
    }

    // Published: the first time with a claim.
    assert_eq!(ann.refused(&["publish", text(&first)], 1), "MPKG-P33");
    let published = ann.ok(&["publish", text(&first), "--claim"]);
    assert_eq!((published["app_id"].as_str().unwrap(), published["claimed"].as_bool()), (APP, Some(true)));
    assert_eq!(ann.refused(&["publish", text(&first)], 6), "MPKG-P34");

    // Everybody gets the first release at once: nothing goes without its app's id.
    let all = ["rollout", "start", APP, "--steps", "100", "--bake", "0"];
    assert_eq!(ann.refused(&all, 2), "MPKG-C55");
    assert_eq!(ann.refused(&[&all[..], &["--confirm", "com.example.other"]].concat(), 2), "MPKG-C55");
    let started = ann.ok(&[&all[..], &["--confirm", APP]].concat());
    assert_eq!(started["rollout"]["rollout"]["phase"]["phase"], "running");
    let completed = ann.ok(&["rollout", "complete", APP, "--confirm", APP]);
    assert_eq!(completed["rollout"]["rollout"]["phase"]["phase"], "completed");

    // The second goes out in steps.
    assert_eq!(ann.ok(&["publish", text(&second)])["release"]["release_seq"], 2);
    let bare = ["rollout", "start", APP, "--steps", "5,25,100", "--bake", "0"];
    let id = ann.ok(&[&bare[..], &["--confirm", APP]].concat())["rollout"]["id"].to_string();
    let drawn = ann.human(&["rollout", "status", APP]);
    assert!(drawn.contains("●") && drawn.contains("5 %") && drawn.contains("none has so far"), "{drawn}");
    let advanced = ann.ok(&["rollout", "advance", APP, "--confirm", APP]);
    assert_eq!(advanced["rollout"]["rollout"]["phase"]["step"], 1);
    let status = ann.ok(&["status"]);
    assert_eq!(status["rollouts"][0]["id"].to_string(), id);
    assert_eq!(status["rollouts"][0]["gate"]["verdict"]["decision"], "hold");
    ann.ok(&["rollout", "hold", APP, "--reason", "let me look"]);
    ann.ok(&["rollout", "resume", &id, "--confirm", APP]);

    // Killed with a reason and no question, while the rollout goes on; lifted with a confirmation.
    let target = format!("{APP}@2");
    let drill = ann.ok(&["kill", &target, "--drill"]);
    assert_eq!((drill["hits"].as_array().unwrap().len(), drill["level"].as_str()), (1, Some("stop")));
    assert!(ann.ok(&["status"])["kills"].as_array().unwrap().is_empty());
    let killed = ann.ok(&["kill", &target, "--reason", "sends contacts away"]);
    let kill = killed["id"].as_str().unwrap().to_owned();
    assert_eq!(ann.ok(&["status"])["kills"][0]["id"], kill.as_str());
    assert!(ann.human(&["status"]).contains(&kill[..8]));
    let lift = ["lift", &kill[..8], "--reason", "false alarm"];
    assert_eq!(ann.refused(&lift, 2), "MPKG-C55");
    assert!(ann.ok(&[&lift[..], &["--confirm", APP]].concat())["lift"].is_object());
    assert_eq!(ann.refused(&[&lift[..], &["--confirm", APP]].concat(), 6), "MPKG-P23");
    assert!(ann.ok(&["status"])["kills"].as_array().unwrap().is_empty());

    // An id that is misspelt is killed too, and told about: nothing else would say that nobody was stopped.
    let typo = ann.ok(&["kill", "com.exmaple.stockalert", "--reason", "typo"]);
    assert_eq!((killed["claimed"].as_bool(), typo["claimed"].as_bool()), (Some(true), Some(false)));

    // Back to the first; a second stop says that there was nothing left to stop.
    let back = ["rollout", "rollback", APP, "--reason", "errors in checkout"];
    let rolled = ann.ok(&back);
    assert_eq!(rolled["rollout"]["rollout"]["phase"]["to"]["release_seq"], 1);
    assert!(ann.human(&back).starts_with("Nothing changed"));

    // What is downloaded is what was published, under a publisher that is pinned here.
    let trust = folder.path().join("key.pem.root.json");
    let fetched = folder.path().join("fetched.mpkg");
    let wanted = format!("{APP}@1.0.0");
    ann.ok(&["fetch", &wanted, "--trust", text(&trust), "--out", text(&fetched)]);
    assert_eq!(fs::read(&fetched).unwrap(), fs::read(&first).unwrap());
    run_mpkg(&["verify", text(&fetched), "--trust", text(&trust)], 0).unwrap();
    assert_eq!(ann.refused(&["fetch", APP, "--trust", text(&trust), "--out", text(&fetched)], 6), "MPKG-C04");
    let stranger = folder.path().join("stranger.pem");
    run_mpkg(&["keys", "generate", "--out", text(&stranger)], 0).unwrap();
    let stranger = folder.path().join("stranger.pem.pub");
    assert_eq!(ann.refused(&["install", APP, "--trust", text(&stranger)], 3), "MPKG-R09");

    assert_eq!(ann.ok(&["search", "stock"])["apps"][0]["app_id"], APP);
    let info = ann.ok(&["info", APP]);
    assert_eq!(
        (info["releases"].as_array().unwrap().len(), info["rollouts"].as_array().unwrap().len()),
        (2, 2)
    );
    ann.ok(&["yank", &target, "--reason", "errors in checkout"]);
    assert_eq!(ann.ok(&["info", APP])["releases"].as_array().unwrap().len(), 1);
    assert_eq!(ann.ok(&["rollout", "replay", APP])["same"], true);
    ann.ok(&["rollout", "evidence", APP]);

    // All of it is in the audit log, whole.
    let audit = ann.ok(&["audit", "verify"]);
    assert!(audit["broken_at"].is_null());
    let head = audit["head"].as_str().unwrap();
    assert_eq!(ann.ok(&["audit", "verify", "--head", head])["noted"], audit["entries"]);
    assert_eq!(ann.refused(&["audit", "verify", "--head", &"ab".repeat(32)], 3), "MPKG-C58");
    let actions: Vec<String> = ann.ok(&["audit", "list", "--limit", "200"])["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap().to_owned())
        .collect();
    for action in
        ["app.claim", "release.publish", "rollout.start", "kill", "lift", "rollout.roll_back", "release.yank"]
    {
        assert!(actions.iter().any(|it| it == action), "{action}: {actions:?}");
    }

    // It stops when it is asked to, starts again without a token to show, and knows everything.
    assert_eq!(server.stop(), Some(0), "{}", server.log());
    assert_eq!(ann.refused(&["status", "--registry", &server.address], 5), "MPKG-C53");
    let again = Server::start_at(folder.path(), &server.address["http://".len()..], &[]);
    assert_eq!(again.first_token, None);
    assert_eq!(ann.ok(&["audit", "verify"])["entries"], audit["entries"]);

    // The most talkative log has requests in it, and not the token.
    let log = again.log();
    assert!(log.contains("/v1/kills"), "{log}");
    assert!(!log.contains(&token));
}

#[test]
fn what_takes_two_people_takes_two_people_and_a_stop_takes_one() {
    let folder = tempfile::tempdir().unwrap();
    let [first, _] = releases(folder.path());
    let file = folder.path().join("admin.token");
    let flags = ["--approvals", "start=2,lift=2", "--review", "--token-out", text(&file)];
    let server = Server::start(folder.path(), &flags);
    assert_eq!(server.first_token, None, "it is in the file");
    let secret = fs::read_to_string(&file).unwrap();
    let admin = Person::new();
    admin.ok(&["login", &server.address, "--token-file", text(&file)]);

    let person = |owner: &str, roles: &str| {
        let made = admin.ok(&["token", "create", "--owner", owner, "--role", roles, "--expires", "1d"]);
        let person = Person::new();
        person.log_in(&server.address, made["secret"].as_str().unwrap());
        (person, made["token"]["id"].as_str().unwrap().to_owned())
    };
    let (ann, _) = person("ann", "publisher,releaser,operator");
    let (bob, bobs) = person("bob", "reviewer");

    // Nobody rolls out what nobody looked at.
    ann.ok(&["publish", text(&first), "--claim"]);
    let start = ["rollout", "start", "--confirm", APP];
    let release = format!("{APP}@1");
    assert_eq!(ann.refused(&[&start[..], &[&release]].concat(), 6), "MPKG-P36");
    let look = ["approve", "release", &release, "--reason", "looked through"];
    assert_eq!(ann.refused(&[&look[..], &["--confirm", APP]].concat(), 4), "MPKG-P03");
    assert_eq!(bob.refused(&look, 2), "MPKG-C55");
    assert_eq!(bob.ok(&[&look[..], &["--confirm", APP]].concat())["review"], "approved");

    // A start waits for a second person, who agrees to just this.
    let refused = ann.json(&[&start[..], &[&release]].concat(), 3);
    assert_eq!(refused["error"]["code"], "MPKG-F56");
    let id = refused["error"]["rollout"].to_string();
    let status = ann.ok(&["status"]);
    assert_eq!((status["drafts"][0]["id"].to_string(), &status["rollouts"]), (id.clone(), &json!([])));
    assert!(ann.human(&["status"]).contains("Drafts"));
    assert!(refused["error"]["hint"].as_str().unwrap().contains(&format!("mpkg approve rollout {id} start")));
    assert_eq!(ann.refused(&["rollout", "plan", &id], 1), "MPKG-C56", "there is no traffic to plan with");
    let planned = ann.human(&["rollout", "plan", &id, "--devices-per-day", "5000"]);
    assert!(planned.contains("Step 1: 5 %"), "{planned}");
    bob.ok(&["approve", "rollout", &id, "start", "--confirm", APP]);
    assert_eq!(ann.ok(&[&start[..], &[&id]].concat())["rollout"]["id"].to_string(), id);

    // A kill waits for nobody; its lift does.
    let kill = ann.ok(&["kill", APP, "--permission", "notifications", "--reason", "spam"]);
    let kill_id = &kill["id"].as_str().unwrap()[..12];
    assert_eq!(kill["kill"]["level"], "revoke");
    let lift = ["lift", kill_id, "--reason", "fixed", "--confirm", APP];
    assert_eq!(ann.refused(&lift, 3), "MPKG-F56");
    bob.ok(&["approve", "lift", kill_id, "--confirm", APP]);
    ann.ok(&lift);
    ann.ok(&["rollout", "halt", APP, "--reason", "enough"]);

    // Each token says whose it is, and to nobody more than that.
    let own = bob.ok(&["token", "whoami"])["token"].clone();
    assert_eq!(
        (&own["id"], &own["owner"], &own["roles"]),
        (&json!(bobs), &json!("bob"), &json!(["reviewer"]))
    );
    assert!(own["expires"].is_string() && own["apps"] == json!([]), "{own}");
    assert!(bob.human(&["token", "whoami"]).starts_with("bob at "));

    // A token that is revoked is nobody's.
    assert_eq!(ann.refused(&["token", "list"], 4), "MPKG-P03");
    admin.ok(&["token", "revoke", &bobs]);
    assert_eq!(bob.refused(&["status"], 4), "MPKG-P02");
    let listed = admin.ok(&["token", "list"]);
    assert_eq!(listed["tokens"].as_array().unwrap().len(), 3);
    assert!(!server.log().contains(secret.trim()));
}

/// Ten devices on which the app does not come up.
fn report_failures(server: &Server, admin: &Person, release_seq: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for number in 0..10 {
        let owner = format!("device-{number}");
        let made = admin.ok(&["token", "create", "--owner", &owner, "--role", "host"]);
        let device = Client::new(&server.address, made["secret"].as_str()).unwrap();
        let counters = Counters { launches: 3, beacons: 0, ..Counters::default() };
        let (app, boot) = (APP.parse().unwrap(), "boot-1".parse().unwrap());
        let reports = vec![Report { app, release_seq, arm: Arm::Treatment, boot, counters }];
        let received = runtime.block_on(device.report(&Batch { reports })).unwrap();
        assert_eq!(received.accepted, 1);
    }
}

#[test]
fn a_bad_release_goes_back_by_itself_and_the_decision_replays() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = releases(folder.path());
    let settings = folder.path().join("registry.json");
    fs::write(&settings, r#"{"gates_every_s": 1}"#).unwrap();
    let server = Server::start(folder.path(), &["--config", text(&settings)]);
    let ann = Person::new();
    ann.log_in(&server.address, &server.first_token.clone().unwrap());
    ann.ok(&["publish", text(&first), "--claim"]);
    ann.ok(&["rollout", "start", APP, "--steps", "100", "--bake", "0", "--confirm", APP]);
    ann.ok(&["rollout", "complete", APP, "--confirm", APP]);
    ann.ok(&["publish", text(&second)]);
    ann.ok(&["rollout", "start", APP, "--confirm", APP]);
    report_failures(&server, &ann, 2);

    let until = Instant::now() + Duration::from_secs(120);
    let status = loop {
        let status = ann.ok(&["rollout", "status", APP]);
        if status["rollout"]["phase"]["phase"] == "rolled_back" {
            break status;
        }
        assert!(Instant::now() < until, "{status:#}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(status["rollout"]["phase"]["to"]["release_seq"], 1);
    let counted: u64 = status["minutes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|minute| minute["counters"]["launches"].as_u64().unwrap())
        .sum();
    assert_eq!(counted, 30);
    let drawn = ann.human(&["rollout", "status", APP]);
    assert!(drawn.contains("everybody is back on 1.0.0") && drawn.contains('█'), "{drawn}");
    let decided = ann.human(&["rollout", "evidence", APP]);
    // Errors may follow: that takes eight devices, where five that do not come up are enough.
    assert!(decided.contains("roll back: ") && decided.contains("unavailable"), "{decided}");
    assert!(ann.ok(&["rollout", "replay", APP])["decisions"].as_u64().unwrap() > 0);
    // The traffic of a day is known now.
    let planned = ann.ok(&["rollout", "plan", APP]);
    assert_eq!(planned["devices_per_day"], 10);
}
