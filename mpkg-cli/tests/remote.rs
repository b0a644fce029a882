//! The verbs that talk to a registry, where none answers or a strange one does: what is refused before anything is sent,
//! what is never sent, and what people are told. `tests/tests/registry/` has the real thing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use common::{Place, settings, transcript};
use serde_json::{Value, json};

/// A token as a registry makes it, which no scanner of this repository shall find.
fn token() -> String {
    format!("mpkg{}abcdefgh{}", "_", "k7".repeat(16))
}

/// Whatever is asked, it gives this answer, and tells what it was asked.
struct Stranger {
    address: String,
    asked: Receiver<String>,
}

impl Stranger {
    fn answering(status: &'static str, body: &'static str) -> Self {
        Self::answering_by(move |_| (status, body.into()))
    }

    /// As [`Self::answering`], by the first line of the question.
    fn answering_by(answer: impl Fn(&str) -> (&'static str, Vec<u8>) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (tell, asked) = channel();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let Ok(mut socket) = socket else { return };
                let asked = head(&mut socket);
                let (status, body) = answer(asked.lines().next().unwrap_or_default());
                let _ = tell.send(asked);
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                let _ = socket.write_all(&[head.as_bytes(), &body].concat());
            }
        });
        Self { address, asked }
    }

    /// Tells a token that it is a host's, which may do nothing that people do.
    fn who_logs_in_a_host() -> Self {
        let host = json!({
            "id": "abcdefgh", "owner": "device-1", "roles": ["host"], "apps": [], "publishers": [],
            "created": "2026-11-21T03:00:00Z", "created_by": "ann", "expires": null, "revoked": null,
        });
        let host = host.to_string().into_bytes();
        Self::answering_by(move |asked| match asked.contains(" /v1/token ") {
            true => ("200 OK", host.clone()),
            false => ("403 Forbidden", REFUSED.into()),
        })
    }

    fn was_asked(&self) -> bool {
        self.asked.try_recv().is_ok()
    }
}

fn head(socket: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && socket.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// `mpkg` of somebody who has a home folder in this place.
fn mpkg(place: &Place, args: &[&str]) -> Command {
    let mut command = place.mpkg();
    command.args(args).env("HOME", place.path("home")).env("XDG_CONFIG_HOME", place.path("home/config"));
    command
}

fn both(place: &Place, args: &[&str]) -> String {
    let human = mpkg(place, args).output().unwrap();
    let json = mpkg(place, &[args, &["--format", "json"]].concat()).output().unwrap();
    assert_eq!(human.status.code(), json.status.code());
    assert!(json.stderr.is_empty() && human.stdout.is_empty(), "{}{}", transcript(&human), transcript(&json));
    let value: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(value["error"]["code"].is_string());
    let args = args.join(" ");
    format!("$ mpkg {args}\n{}\n$ mpkg {args} --format json\n{}", transcript(&human), transcript(&json))
}

fn log_in(place: &Place, address: &str) -> std::process::Output {
    let mut child = mpkg(place, &["login", address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{}", token()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn refusals_before_anything_is_asked() {
    let place = Place::new();
    place.write("empty", "");
    place.write("password", "correct horse battery staple\n");
    place.write("token", token());
    place.write("app.mpkg", "no package");
    place.write("settings.json", r#"{"lisen": "127.0.0.1:0"}"#);
    let closed = {
        // A port that was free a moment ago, and that nothing listens on.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let app = "com.example.app";
    let cases: &[(&str, i32, &[&str])] = &[
        ("no-registry", 2, &["status"]),
        ("not-logged-in", 4, &["status", "--registry", "https://registry.example"]),
        ("unencrypted", 2, &["status", "--registry", "http://registry.example", "--token-file", "token"]),
        ("no-address", 2, &["status", "--registry", "registry", "--token-file", "token"]),
        ("unreachable", 5, &["status", "--registry", &closed, "--token-file", "token"]),
        ("lost", 5, &["kill", app, "--reason", "spam", "--registry", &closed, "--token-file", "token"]),
        ("empty-token", 1, &["login", "https://registry.example", "--token-file", "empty"]),
        ("no-token", 1, &["login", "https://registry.example", "--token-file", "password"]),
        ("missing-token", 1, &["login", "https://registry.example", "--token-file", "missing"]),
        ("publish-text", 1, &["publish", "app.mpkg", "--registry", &closed, "--token-file", "token"]),
        ("start-unconfirmed", 2, &["rollout", "start", app, "--registry", &closed, "--token-file", "token"]),
        ("yank-what", 2, &["yank", app, "--reason", "bad", "--registry", &closed, "--token-file", "token"]),
        ("lift-what", 2, &["lift", "3f2a", "--reason", "ok", "--registry", &closed, "--token-file", "token"]),
        ("plan-falls", 2, &["rollout", "plan", "--steps", "25,5,100", "--devices-per-day", "1"]),
        ("serve-settings", 2, &["registry", "serve", "--config", "settings.json"]),
        ("serve-approvals", 2, &["registry", "serve", "--approvals", "stop=2"]),
        ("restore-nothing", 1, &["registry", "restore", "--from", "home", "--data", "new"]),
    ];
    for (name, status, args) in cases {
        let output = mpkg(&place, args).output().unwrap();
        assert_eq!(output.status.code(), Some(*status), "{name}: {}", transcript(&output));
        let mut settings = settings();
        settings.add_filter(r"127\.0\.0\.1:\d{4,}", "127.0.0.1:[PORT]");
        settings.bind(|| insta::assert_snapshot!(format!("bad-{name}"), both(&place, args)));
    }
}

#[test]
fn usage_is_told_by_example() {
    let place = Place::new();
    let cases: &[&[&str]] = &[
        &["kill"],
        &["kill", "com.example.app"],
        &["kill", "com.example.app@x", "--reason", "r"],
        &["kill", "com.example.app", "--fleet", "--reason", "r"],
        &["kill", "com.example.app", "--reason", ""],
        &["kill", "com.example.app", "--method", "net.fetch", "--reason", "r"],
        &["rollout", "halt", "com.example.app"],
        &["rollout", "status", "app"],
        &["rollout", "start", "com.example.app", "--steps", "5,x"],
        &["rollout", "start", "com.example.app", "--bake", "1w"],
        &["rollout", "plan"],
        &["token", "create", "--owner", "ann"],
        &["token", "create", "--owner", "ann", "--role", "king"],
        &["fetch", "com.example.app"],
        &["approve", "rollout", "12", "stop"],
    ];
    for args in cases {
        let output = mpkg(&place, args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?} {}", transcript(&output));
    }
}

#[test]
fn a_token_on_the_command_line_is_refused_and_not_repeated() {
    let place = Place::new();
    let token = token();
    let secret = &token[13..];
    for args in [
        &["login", &token][..],
        &["login", "https://registry.example", "--token-file", &token],
        &["kill", "com.example.app", "--reason", &format!("{token} was leaked")],
        &["status", "--registry", &format!("https://{token}@registry.example")],
        &["nonsense", &token],
    ] {
        let output = mpkg(&place, args).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = transcript(&output);
        assert!(said.contains("MPKG-C52") && !said.contains(secret), "{said}");
    }
    // From the environment too, where clap and the client would repeat what they were given.
    for name in ["MPKG_REGISTRY", "MPKG_TOKEN_FILE"] {
        let output = mpkg(&place, &["status"]).env(name, &token).env("MPKG_TOKEN", &token).output().unwrap();
        assert!(!output.status.success() && !transcript(&output).contains(secret), "{}", transcript(&output));
    }
}

#[test]
fn a_token_goes_where_it_was_given_for_and_nowhere_else() {
    let place = Place::new();
    let (ours, theirs) = (Stranger::who_logs_in_a_host(), Stranger::who_logs_in_a_host());
    let output = log_in(&place, &ours.address);
    assert!(output.status.success(), "{}", transcript(&output));
    let said = ours.asked.recv().unwrap();
    assert!(said.contains(&format!("Bearer {}", token())), "{said}");

    // A project that came with a stranger's address: neither the login nor the environment's token is for it.
    place.write("mpkg.json", format!(r#"{{"registry": "{}"}}"#, theirs.address));
    let status = |with: &[(&str, &str)], args: &[&str]| {
        let mut command = mpkg(&place, &[&["status"], args].concat());
        command.envs(with.iter().copied());
        command.output().unwrap().status.code()
    };
    assert_eq!(status(&[], &[]), Some(4));
    assert_eq!(status(&[("MPKG_TOKEN", &token())], &[]), Some(4));
    assert!(!theirs.was_asked());

    // The environment is stronger than the project, a flag than the environment.
    assert_eq!(status(&[("MPKG_REGISTRY", &ours.address)], &[]), Some(4));
    assert!(ours.was_asked() && !theirs.was_asked());
    assert_eq!(status(&[("MPKG_REGISTRY", &theirs.address)], &["--registry", &ours.address]), Some(4));
    assert!(ours.was_asked() && !theirs.was_asked());
    // Whoever names an address and a token means them.
    assert_eq!(status(&[("MPKG_REGISTRY", &theirs.address), ("MPKG_TOKEN", &token())], &[]), Some(4));
    assert!(theirs.was_asked());

    // A project's registry that one is logged in to.
    place.write("mpkg.json", format!(r#"{{"registry": "{}/"}}"#, ours.address));
    assert_eq!(status(&[], &[]), Some(4));
    assert!(ours.was_asked());
    place.write("mpkg.json", r#"{"registri": "x"}"#);
    assert_eq!(status(&[], &[]), Some(1));
}

const REFUSED: &str =
    r#"{"error":{"code":"MPKG-P03","message":"this takes a token with the role admin","hint":"h"}}"#;

#[test]
fn a_token_that_does_not_count_is_not_kept() {
    let place = Place::new();
    let body =
        r#"{"error":{"code":"MPKG-P02","message":"the token is unknown, expired or revoked","hint":"h"}}"#;
    let registry = Stranger::answering("401 Unauthorized", body);
    assert_eq!(log_in(&place, &registry.address).status.code(), Some(4));
    let web_site = Stranger::answering("200 OK", "<html>Log in to the Wi-Fi</html>");
    let output = log_in(&place, &web_site.address);
    assert_eq!(output.status.code(), Some(5));
    assert!(transcript(&output).contains("MPKG-C54"), "{}", transcript(&output));
    assert!(!place.path("home/config/mpkg").exists());
}

#[test]
fn what_a_registry_says_cannot_move_the_cursor() {
    let place = Place::new();
    place.write("token", token());
    let body = r#"{"error":{"code":"\u001b[2J","message":"\u001b]0;x\u0007","hint":"\u001b[1A"}}"#;
    let registry = Stranger::answering("409 Conflict", body);
    let args = ["status", "--registry", &registry.address, "--token-file", "token"];
    let output = mpkg(&place, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(6));
    assert!(!output.stderr.contains(&0x1b), "{}", transcript(&output));
}

/// A rollout as a registry tells it.
fn rollout() -> Value {
    let release = |seq: u64| {
        let package = json!({"sha256": "ab".repeat(32), "size": 1000});
        json!({"package": package, "release_seq": seq, "version": format!("1.{seq}.0")})
    };
    let rollout = json!({
        "app": "com.example.app", "release": release(2), "baseline": release(1), "salt": "salt",
        "plan": [{"percent": 10000, "bake_s": 0, "min_votes": 0}], "phase": {"phase": "superseded", "by": 3},
        "since": "2026-11-21T03:00:00Z", "revision": 2,
    });
    let targeting = mpkg_fleet::Targeting::default();
    json!({"id": 1, "rollout": rollout, "targeting": targeting, "automatic": true, "started": null, "author": "ann"})
}

#[test]
fn evidence_that_was_changed_is_found_out_here() {
    let inputs = json!({
        "app": "com.example.app", "release_seq": 2, "at": "2026-11-21T03:00:00Z", "step": 0,
        "plan": {"percent": 500, "bake_s": 0, "min_votes": 0}, "elapsed_s": 60, "control_share": 500,
        "treatment": mpkg_fleet::ArmVotes { devices: 20, ..Default::default() },
        "control": mpkg_fleet::ArmVotes { devices: 20, ..Default::default() },
    });
    let right = serde_json::to_value(mpkg_fleet::evaluate(serde_json::from_value(inputs).unwrap())).unwrap();
    let mut wrong = right.clone();
    wrong["inputs"]["treatment"]["errors"]["good"] = json!(500);
    for (evidence, status) in [(right, 0), (wrong, 3)] {
        // The registry says that it replays, either way.
        let item = json!({"id": 7, "at": "2026-11-21T03:00:00Z", "decision": "hold", "action": "none",
            "evidence": evidence, "replays": true});
        let page = json!({"items": [item], "next": null}).to_string();
        let registry = Stranger::answering_by(move |asked| {
            ("200 OK", if asked.contains("/evidence") { page.clone() } else { rollout().to_string() }.into())
        });
        let place = Place::new();
        place.write("token", token());
        let args = ["rollout", "replay", "1", "--registry", &registry.address, "--token-file", "token"];
        let output = mpkg(&place, &args).output().unwrap();
        let said = transcript(&output);
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert_eq!(said.contains("MPKG-F61") && said.contains("decision 7"), status == 3, "{said}");
    }
}

/// A registry that has the package in this place as every release of every app that it is asked about.
fn with_the_package(place: &Place, damaged: bool) -> Stranger {
    let split = mpkg_package::signing::split(place.read("app.mpkg")).unwrap();
    let digest = mpkg_package::identity(&split.unsigned);
    let (mut package, signature) = (split.unsigned, split.block.unwrap().to_bytes());
    if damaged {
        package[100] ^= 1;
    }
    let roots = place.read("key.pem.root.json");
    let publisher = mpkg_package::RootFile::parse(&roots).unwrap().chain().publisher().to_string();
    Stranger::answering_by(move |asked| {
        let path = asked.split(' ').nth(1).unwrap().to_owned();
        let app = path.split('/').nth(3).unwrap_or_default();
        let body = if path.ends_with("/signature") {
            signature.clone()
        } else if path.starts_with("/v1/packages/") {
            package.clone()
        } else if path.ends_with("/roots") {
            roots.clone()
        } else if path.contains("/releases/") {
            let seq: u64 = path.rsplit('/').next().unwrap().parse().unwrap();
            let release = json!({"package": digest, "release_seq": seq, "version": "1.0.0"});
            json!({"app_id": app, "release": release, "name": "App", "description": "", "permissions": {},
                "review": "approved", "review_reason": null, "yanked": null, "published": "2026-11-21T03:00:00Z",
                "published_by": "ann"})
            .to_string()
            .into()
        } else {
            json!({"app_id": app, "publisher": publisher, "claimed": "2026-11-21T03:00:00Z", "newest_seq": 1,
                "in_charge": null})
            .to_string()
            .into()
        };
        ("200 OK", body)
    })
}

#[test]
fn only_what_was_asked_for_and_verified_is_written() {
    let place = Place::with_package();
    place.write("token", token());
    place.ok(&["sign", "app.mpkg", "--key", "key.pem"]);
    let manifest: Value = serde_json::from_str(common::MANIFEST).unwrap();
    let app = manifest["app_id"].as_str().unwrap();
    let ours = format!("{app}@{}", manifest["version"]["code"]);
    let fetch = |registry: &Stranger, app: &str| {
        let args =
            ["fetch", app, "--trust", "key.pem.pub", "--out", "got.mpkg", "--registry", &registry.address];
        mpkg(&place, &[&args[..], &["--token-file", "token"]].concat()).output().unwrap()
    };
    let damaged = fetch(&with_the_package(&place, true), &ours);
    assert_eq!(damaged.status.code(), Some(5), "{}", transcript(&damaged));
    let registry = with_the_package(&place, false);
    // Signed by the right publisher, and not what was asked for.
    for other in ["com.example.other@3", &format!("{app}@1")] {
        let other = fetch(&registry, other);
        assert_eq!(other.status.code(), Some(3), "{}", transcript(&other));
        assert!(transcript(&other).contains("MPKG-C54"), "{}", transcript(&other));
    }
    assert!(!place.path("got.mpkg").exists());
    let right = fetch(&registry, &ours);
    assert!(right.status.success(), "{}", transcript(&right));
    assert_eq!(place.read("got.mpkg"), place.read("app.mpkg"));
}

#[test]
fn a_stop_that_reaches_nothing_is_an_error() {
    let place = Place::new();
    place.write("token", token());
    let events = json!([{"event": "not_in_charge", "by": 3}]);
    let body = json!({"rollout": rollout(), "events": events, "head": {"epoch": 1, "seq": 9}}).to_string();
    let registry = Stranger::answering_by(move |_| ("200 OK", body.clone().into()));
    for stop in ["hold", "halt", "rollback"] {
        let args = [
            "rollout",
            stop,
            "1",
            "--reason",
            "bad",
            "--registry",
            &registry.address,
            "--token-file",
            "token",
        ];
        let output = mpkg(&place, &args).output().unwrap();
        assert_eq!(output.status.code(), Some(6), "{}", transcript(&output));
        assert!(transcript(&output).contains("MPKG-C57"), "{}", transcript(&output));
        // A number is all that a stop takes: nothing is asked before it.
        assert!(registry.asked.recv().unwrap().starts_with("POST "));
    }
}

#[cfg(unix)]
#[test]
fn logins_that_others_can_read_are_warned_about() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let registry = Stranger::who_logs_in_a_host();
    log_in(&place, &registry.address);
    let file = place.path("home/config/mpkg/logins.json");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = mpkg(&place, &["status"]).output().unwrap();
    assert!(transcript(&output).contains("chmod 600"), "{}", transcript(&output));
    // What is damaged is told without repeating any of it.
    std::fs::write(&file, format!("{{\"tokens\": [\"{}\"]}}", token())).unwrap();
    let output = mpkg(&place, &["status"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(!transcript(&output).contains(&token()[13..]), "{}", transcript(&output));
}

#[test]
fn a_plan_needs_no_registry() {
    let place = Place::new();
    let said = mpkg(&place, &["rollout", "plan", "--devices-per-day", "20000", "--devices", "150000"])
        .output()
        .unwrap();
    insta::assert_snapshot!("plan", transcript(&said));
    let few = mpkg(&place, &["rollout", "plan", "--devices-per-day", "30"]).output().unwrap();
    insta::assert_snapshot!("plan-few", transcript(&few));
}
