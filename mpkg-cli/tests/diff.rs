//! `mpkg diff`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use common::{MANIFEST, Place, component, pack, settings, transcript};
use serde_json::Value;

/// What the permissions of two manifests come to.
fn grew(place: &Place, before: &str, after: &str) -> (i32, Value) {
    place.write("before.mpkg", pack(before, &component()));
    place.write("after.mpkg", pack(after, &component()));
    let args = ["diff", "before.mpkg", "after.mpkg", "--format", "json"];
    let output = place.mpkg().args(args).output().unwrap();
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", transcript(&output)));
    assert!(output.stderr.is_empty());
    (output.status.code().unwrap(), report)
}

#[test]
fn one_means_that_permissions_grew() {
    let place = Place::new();
    let add = |name: &str| {
        MANIFEST.replace("\"cart.write\" }", &format!("\"cart.write\" }}, {{ \"name\": \"{name}\" }}"))
    };
    let quota = |bytes: u64| MANIFEST.replace("65536", &bytes.to_string());
    let hosts = |hosts: &str| {
        let network = format!("\"network\": {{ \"allow\": [{hosts}] }}, \"storage\"");
        add("network").replace("\"storage\": {", &format!("{network}: {{"))
    };
    let optional = MANIFEST.replace("\"abi\": 1,", "\"abi\": 1, \"optional_permissions\": [\"cart.write\"],");
    let cases: &[(&str, String, String, i32)] = &[
        ("nothing", MANIFEST.into(), MANIFEST.into(), 0),
        ("a permission more", MANIFEST.into(), add("clipboard"), 1),
        ("a permission less", add("clipboard"), MANIFEST.into(), 0),
        ("a host's own permission more", MANIFEST.into(), add("host.loyalty"), 1),
        ("a greater quota", MANIFEST.into(), quota(65537), 1),
        ("a smaller quota", MANIFEST.into(), quota(65535), 0),
        ("a host more", hosts("\"a.example.com\""), hosts("\"a.example.com\", \"b.example.com\""), 1),
        ("a host less", hosts("\"a.example.com\", \"b.example.com\""), hosts("\"b.example.com\""), 0),
        ("a wider pattern", hosts("\"a.example.com\""), hosts("\"*.example.com\""), 1),
        ("a narrower pattern", hosts("\"*.example.com\""), hosts("\"a.example.com\""), 0),
        ("one for another", add("clipboard"), add("events"), 1),
        ("required instead of optional", optional.clone(), MANIFEST.into(), 0),
        ("a version more", MANIFEST.into(), MANIFEST.replace("\"code\": 3", "\"code\": 4"), 0),
    ];
    for (name, before, after, status) in cases {
        let (code, report) = grew(&place, before, after);
        assert_eq!(code, *status, "{name}: {report:#}");
        assert_eq!(report["permissions_grew"], *status == 1, "{name}: {report:#}");
        assert_eq!(report["identical"], before == after, "{name}");
        let any =
            report["permissions"].as_array().unwrap().iter().any(|permission| permission["grew"] == true);
        assert_eq!(any, *status == 1, "{name}: {report:#}");
    }
}

#[test]
fn signing_is_no_difference() {
    let place = Place::with_package();
    place.ok(&["sign", "app.mpkg", "--key", "key.pem", "--out", "signed.mpkg"]);
    insta::assert_snapshot!("identical", place.ok(&["diff", "app.mpkg", "signed.mpkg"]));
}

#[test]
fn what_people_and_programs_see() {
    let place = Place::new();
    place.write("old.mpkg", pack(MANIFEST, &component()));
    let manifest = MANIFEST
        .replace("\"code\": 3, \"name\": \"1.2.0\"", "\"code\": 4, \"name\": \"1.3.0\"")
        .replace("65536", "1048576")
        .replace("\"abi\": 1,", "\"abi\": 1, \"limits\": { \"memory_bytes\": 1048576 },")
        .replace(
            "\"cart.write\" }",
            "\"cart.write\" }, { \"name\": \"clipboard\", \"reason\": \"Copies the order.\" }",
        );
    let component = component();
    let entries: [(&str, &[u8]); 4] = [
        ("manifest.json", manifest.as_bytes()),
        ("app.wasm", &component),
        ("assets/icon.svg", b"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\"/>\n"),
        ("assets/new.txt", b"new\n"),
    ];
    place.write("new.mpkg", mpkg_package::container::write(&entries).unwrap());
    let mut settings = settings();
    settings.add_filter(r"\d+\.\d KiB", "[SIZE]");
    settings.add_filter(r#""size": \d{4,}"#, r#""size": [SIZE]"#);
    for (name, args) in [("human", &[][..]), ("json", &["--format", "json"])] {
        let output = place.mpkg().args(["diff", "old.mpkg", "new.mpkg"]).args(args).output().unwrap();
        settings.bind(|| insta::assert_snapshot!(name, transcript(&output)));
    }
}

#[test]
fn bad_input() {
    let place = Place::with_package();
    place.write("text.mpkg", "this is not a package\n");
    let cases: &[(&str, &[&str])] = &[
        ("missing", &["diff", "app.mpkg", "nowhere.mpkg"]),
        ("text", &["diff", "text.mpkg", "app.mpkg"]),
        ("one-file", &["diff", "app.mpkg"]),
    ];
    for (name, args) in cases {
        settings().bind(|| insta::assert_snapshot!(format!("bad-{name}"), place.both(args)));
    }
}
