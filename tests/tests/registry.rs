//! A registry and people at terminals, as real processes: serve, log in, publish, roll out, kill, lift, go back, audit.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use mpkg_fleet::{Arm, Batch, Counters, Report};
use mpkg_package::container;
use mpkg_registry_client::Client;
use mpkg_tests::workspace::{built, mpkg, run_mpkg};
use serde_json::{Value, json};
use tempfile::TempDir;

const APP: &str = "com.example.stockalert";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `mpkg registry serve`, stopped when the test ends, however it ends.
struct Server {
    child: Child,
    address: String,
    first_token: Option<String>,
    log: PathBuf,
}

impl Server {
    /// Starts one, and waits until it says where it listens. It logs all that it can.
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::start_at(folder, "127.0.0.1:0", arguments)
    }

    fn start_at(folder: &Path, listen: &str, arguments: &[&str]) -> Self {
        let (log, data) = (folder.join("log"), folder.join("registry"));
        let mut all =
            vec!["registry", "serve", "--data", text(&data), "--listen", listen, "--format", "json"];
        all.extend_from_slice(arguments);
        let mut child = mpkg(&all)
            .unwrap()
            .env("MPKG_LOG", "trace")
            .stdout(Stdio::piped())
            .stderr(fs::File::options().create(true).append(true).open(&log).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("{line:?}: {}", fs::read_to_string(&log).unwrap()));
        let first_token = said["first_token"].as_str().map(ToOwned::to_owned);
        Self { child, address: said["listening"].as_str().unwrap().to_owned(), first_token, log }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Asks it to stop as a service manager does, and gives its exit status.
    fn stop(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Somebody at a terminal, with a home folder of their own.
struct Person {
    home: TempDir,
}

impl Person {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = mpkg(arguments).unwrap();
        command.env("HOME", self.home.path()).env("XDG_CONFIG_HOME", self.home.path().join("config"));
        command.current_dir(self.home.path());
        command
    }

    fn run(&self, arguments: &[&str], exit: i32) -> Output {
        let output = self.command(arguments).output().unwrap();
        let all = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        let said = String::from_utf8_lossy(&all);
        assert_eq!(output.status.code(), Some(exit), "mpkg {}\n{said}", arguments.join(" "));
        output
    }

    /// What a person sees.
    fn human(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.run(arguments, 0).stdout).unwrap()
    }

    /// What a program gets, at this exit status.
    fn json(&self, arguments: &[&str], exit: i32) -> Value {
        let output = self.run(&[arguments, &["--format", "json"]].concat(), exit);
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> Value {
        self.json(arguments, 0)
    }

    /// The code that something is refused with.
    fn refused(&self, arguments: &[&str], exit: i32) -> String {
        let error = self.json(arguments, exit);
        assert!(error["error"]["hint"].is_string(), "{error:#}");
        error["error"]["code"].as_str().unwrap().to_owned()
    }

    /// Logs in with a token from standard input.
    fn log_in(&self, address: &str, token: &str) -> Value {
        let mut child = self
            .command(&["login", address, "--format", "json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.take().unwrap(), "{token}").unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}");
        assert!(!said.contains(token) && output.stderr.is_empty(), "{said}");
        serde_json::from_str(&said).unwrap()
    }
}

/// Two releases of the example, built and signed with the verbs for it; the second differs in its version only.
fn releases(folder: &Path) -> [PathBuf; 2] {
    let key = folder.join("key.pem");
    run_mpkg(&["keys", "generate", "--out", text(&key)], 0).unwrap();
    let first = built("examples/stock-alert").unwrap();
    let bytes = fs::read(&first).unwrap();
    let entries = container::read(&bytes).unwrap();
    let entries: Vec<(String, Vec<u8>)> = entries
        .entries()
        .iter()
        .map(|entry| match entry.name {
            "manifest.json" => {
                let manifest = String::from_utf8(entry.data.to_vec()).unwrap();
                let newer = manifest.replace("\"code\": 1", "\"code\": 2").replace("\"1.0.0\"", "\"1.1.0\"");
                assert_ne!(manifest, newer);
                (entry.name.to_owned(), newer.into_bytes())
            }
            name => (name.to_owned(), entry.data.to_vec()),
        })
        .collect();
    let second = folder.join("second.mpkg");
    fs::write(&second, container::write(&entries).unwrap()).unwrap();
    [first, second].map(|unsigned| {
        let signed = folder.join(format!("{}.signed", unsigned.file_name().unwrap().to_str().unwrap()));
        run_mpkg(&["sign", text(&unsigned), "--key", text(&key), "--out", text(&signed)], 0).unwrap();
        signed
    })
}

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

#[test]
fn a_backup_serves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let [first, _] = releases(folder.path());
    let mut server = Server::start(folder.path(), &[]);
    let ann = Person::new();
    let token = server.first_token.clone().unwrap();
    ann.log_in(&server.address, &token);
    ann.ok(&["publish", text(&first), "--claim"]);
    let (data, copy) = (folder.path().join("registry"), folder.path().join("copy"));
    // While it runs.
    ann.ok(&["registry", "backup", "--data", text(&data), "--to", text(&copy)]);
    assert_eq!(
        ann.refused(&["registry", "backup", "--data", text(&data), "--to", text(&copy)], 6),
        "MPKG-C44"
    );
    assert_eq!(
        ann.refused(&["registry", "serve", "--data", text(&data), "--listen", "127.0.0.1:0"], 6),
        "MPKG-C43"
    );
    server.stop();

    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("registry");
    ann.ok(&["registry", "restore", "--from", text(&copy), "--data", text(&data)]);
    let restored = Server::start(place.path(), &[]);
    assert_eq!(restored.first_token, None);
    ann.log_in(&restored.address, &token);
    assert_eq!(ann.ok(&["info", APP])["newest_seq"], 1);
    assert!(ann.ok(&["status"])["head"]["epoch"].as_u64().unwrap() > 1);
}

#[test]
fn watching_ends_when_nobody_reads_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("registry.json");
    fs::write(&settings, r#"{"heartbeat_every_s": 1}"#).unwrap();
    let server = Server::start(folder.path(), &["--config", text(&settings)]);
    let ann = Person::new();
    ann.log_in(&server.address, &server.first_token.clone().unwrap());
    for format in ["json", "human"] {
        let mut child =
            ann.command(&["status", "--watch", "--format", format]).stdout(Stdio::piped()).spawn().unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        for number in 0..3 {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            assert!(line.contains("1.1") || line.contains("\"epoch\":1"), "{line}");
            assert_eq!(line.contains("connected"), number > 0, "{line}");
            assert_eq!(serde_json::from_str::<Value>(&line).is_ok(), format == "json", "{line}");
        }
        drop(reader);
        assert!(child.wait().unwrap().success());
    }
}

/// The first event comes without a heartbeat, which is an hour away.
#[test]
fn watching_shows_what_happens_when_it_happens() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("registry.json");
    fs::write(&settings, r#"{"heartbeat_every_s": 3600}"#).unwrap();
    let server = Server::start(folder.path(), &["--config", text(&settings)]);
    let ann = Person::new();
    ann.log_in(&server.address, &server.first_token.clone().unwrap());
    let mut child =
        ann.command(&["status", "--watch", "--format", "json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap_or_else(|_| panic!("{line:?}"))
    };
    // Once at first, and once when the stream is open.
    next();
    assert!(next()["connected_s"].is_u64());
    let kill = ann.ok(&["kill", APP, "--reason", "spam"]);
    while next()["kills"][0]["id"] != kill["id"] {}
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_registrys_root_is_fetched_changed_and_set() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let ann = Person::new();
    ann.log_in(&server.address, &server.first_token.clone().unwrap());
    let shown = ann.ok(&["registry", "root", "show"]);
    let id = shown["publisher"].as_str().unwrap();
    assert_eq!(
        (id, &shown["root"]["version"]),
        (ann.ok(&["status"])["registry"].as_str().unwrap(), &json!(1))
    );

    let file = folder.path().join("registry.root.json");
    let fetch = ["registry", "root", "fetch", "--out", text(&file), "--trust"];
    let stranger = format!("mp1{}", "a".repeat(52));
    assert_eq!(ann.refused(&[&fetch[..], &[&stranger]].concat(), 3), "MPKG-R09");
    assert!(!file.exists());
    ann.ok(&[&fetch[..], &[id]].concat());
    let old = fs::read(&file).unwrap();

    // One more key that may stop.
    let key = folder.path().join("stop.pem");
    ann.ok(&["keys", "generate", "--out", text(&key)]);
    ann.ok(&["root", "add-key", text(&file), "--key", &format!("{}.pub", text(&key)), "--role", "stop"]);
    let set = ["registry", "root", "set", text(&file), "--confirm", "fleet"];
    ann.refused(&set, 2);
    let root_key = folder.path().join("registry/keys/root.pem");
    ann.ok(&["root", "sign", text(&file), "--key", text(&root_key)]);
    assert_eq!(ann.refused(&set[..4], 2), "MPKG-C55");
    ann.ok(&set);
    let shown = ann.ok(&["registry", "root", "show"]);
    let stop = shown["root"]["roles"].as_array().unwrap().iter().find(|role| role["name"] == "stop").unwrap();
    assert_eq!((&shown["root"]["version"], stop["key_ids"].as_array().unwrap().len()), (&json!(2), 2));
    assert!(ann.human(&["registry", "root", "show"]).contains(id));

    // Never back.
    fs::write(&file, old).unwrap();
    assert_eq!(ann.refused(&set, 6), "MPKG-P31");
}

/// What somebody sees who sits at a terminal, and the exit status: whenever the first of a pair comes up, the second is
/// typed. None where there is no `script`, which makes the terminal.
#[cfg(target_os = "linux")]
fn at_a_terminal(ann: &Person, arguments: &[&str], dialogue: &[(&str, &str)]) -> Option<(String, i32)> {
    use std::io::Read;
    let command = ann.command(arguments);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut script = Command::new("script");
    script.args(["-qefc", &line.join(" "), "/dev/null"]).current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    let mut child = match script.env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("SKIPPED: a terminal is made by `script`, and there is none");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    // Open until the end: otherwise nobody sits there any more.
    let mut keys = child.stdin.take().unwrap();
    let mut screen = child.stdout.take().unwrap();
    let (mut seen, mut from, mut byte) = (Vec::new(), 0, [0]);
    let mut dialogue = dialogue.iter().peekable();
    while screen.read(&mut byte).unwrap() == 1 {
        seen.push(byte[0]);
        if let Some((prompt, typed)) = dialogue.peek()
            && seen[from..].ends_with(prompt.as_bytes())
        {
            keys.write_all(typed.as_bytes()).unwrap();
            from = seen.len();
            dialogue.next();
        }
    }
    let seen = String::from_utf8(seen).unwrap();
    assert!(dialogue.next().is_none(), "{seen}");
    Some((seen, child.wait().unwrap().code().unwrap()))
}

#[cfg(target_os = "linux")]
#[test]
fn at_a_terminal_it_asks_and_takes_only_the_right_answer() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let (ann, token) = (Person::new(), server.first_token.clone().unwrap());

    // A token is asked for, never shown, and kept if it counts.
    let login = ["login", &server.address];
    let Some((seen, exit)) = at_a_terminal(&ann, &login, &[("Token", "correct horse battery\r")]) else {
        return;
    };
    assert_eq!((exit, seen.contains("horse")), (1, false), "{seen}");
    assert_eq!(ann.refused(&["status", "--registry", &server.address], 4), "MPKG-C51");
    let (seen, exit) = at_a_terminal(&ann, &login, &[("Token", &format!("{token}\r"))]).unwrap();
    assert!(exit == 0 && seen.contains("first admin") && !seen.contains(&token), "{exit} {seen}");

    // What goes is confirmed by typing what it is about.
    let kill = ann.ok(&["kill", APP, "--reason", "spam"])["id"].as_str().unwrap().to_owned();
    let lift = ["lift", &kill, "--reason", "mended"];
    let prompt = format!("type {APP}");
    for wrong in ["yes\r", "\r", "com.example.other\r"] {
        let (seen, exit) = at_a_terminal(&ann, &lift, &[(&prompt, wrong)]).unwrap();
        assert!(exit == 2 && seen.contains("MPKG-C55"), "{exit} {seen}");
        assert_eq!(ann.ok(&["status"])["kills"][0]["id"], kill.as_str());
    }
    // A program that has a terminal is not asked.
    let (seen, exit) = at_a_terminal(&ann, &[&lift[..], &["--format", "json"]].concat(), &[]).unwrap();
    assert!(exit == 2 && seen.contains("MPKG-C55") && !seen.contains("type "), "{exit} {seen}");
    let (seen, exit) = at_a_terminal(&ann, &lift, &[(&prompt, &format!("{APP}\r"))]).unwrap();
    assert_eq!(exit, 0, "{seen}");
    assert_eq!(ann.ok(&["status"])["kills"], json!([]));

    // What stops asks nothing.
    let (seen, exit) = at_a_terminal(&ann, &["kill", APP, "--reason", "spam"], &[]).unwrap();
    assert!(exit == 0 && !seen.contains("type "), "{exit} {seen}");
}
