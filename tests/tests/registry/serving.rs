//! Running it: backup, watching, its root.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::people::{APP, Person, Server, releases, text};

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
