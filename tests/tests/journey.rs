//! The main job with the real binary on the real examples: build, sign, verify, tamper, run.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use mpkg_package::{Trust, verify};
use mpkg_tests::workspace::{binary, built, has_node, mpkg, root, run_mpkg};
use serde_json::Value;

/// A package of an example, signed with a fresh key.
struct Signed {
    _folder: tempfile::TempDir,
    package: PathBuf,
    publisher: PathBuf,
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn sign(project: &str) -> Signed {
    let folder = tempfile::tempdir().unwrap();
    let (package, key) = (folder.path().join("app.mpkg"), folder.path().join("key.pem"));
    run_mpkg(&["keys", "generate", "--out", text(&key)], 0).unwrap();
    let unsigned = built(project).unwrap();
    run_mpkg(&["sign", text(&unsigned), "--key", text(&key), "--out", text(&package)], 0).unwrap();
    let publisher = folder.path().join("key.pem.pub");
    Signed { _folder: folder, package, publisher }
}

impl Signed {
    fn verify(&self) -> i32 {
        let output =
            mpkg(&["verify", text(&self.package), "--trust", text(&self.publisher)]).unwrap().output();
        output.unwrap().status.code().unwrap()
    }

    /// Feeds JSON-RPC lines to `mpkg run` and gives the answers.
    fn run(&self, lines: &str, extra: &[&str]) -> Vec<Value> {
        let mut arguments = vec!["run", text(&self.package), "--trust", text(&self.publisher)];
        arguments.extend_from_slice(extra);
        let mut child = mpkg(&arguments)
            .unwrap()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let lines = lines.to_owned();
        // From a thread: a run that ends early must not leave this test writing into a full pipe.
        let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
        let output = child.wait_with_output().unwrap();
        let _ = writer.join().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        let stdout = String::from_utf8(output.stdout).unwrap();
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Feeds requests to a signed example and gives, for each, its method and what kind of answer it got.
fn outcomes(signed: &Signed, lines: &str) -> String {
    let answers = signed.run(lines, &["--allow", "all"]);
    let requests = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let asked: Vec<_> = requests.filter(|request| request.get("id").is_some()).collect();
    assert_eq!(asked.len(), answers.len());
    let outcome = |(request, answer): (&Value, &Value)| {
        assert_eq!(request["id"], answer["id"]);
        let kind = match answer.get("error") {
            Some(error) => format!("error {}", error["code"]),
            None => "ok".to_owned(),
        };
        format!("{} {} -> {kind}\n", request["id"], request["method"].as_str().unwrap())
    };
    asked.iter().zip(&answers).map(outcome).collect()
}

fn demonstration(project: &str, file: &str) -> String {
    let signed = sign(project);
    assert_eq!(signed.verify(), 0);
    outcomes(&signed, &fs::read_to_string(root().join(project).join("demo").join(file)).unwrap())
}

#[test]
fn stock_alert_runs_its_demonstration() {
    insta::assert_snapshot!("stock-alert", demonstration("examples/stock-alert", "shop.jsonl"));
}

/// Signed at this moment by the example's own sender: an inbox takes no webhook that is older than five minutes.
#[test]
fn webhook_inbox_takes_what_was_signed_just_now() {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let sender = std::process::Command::new(cargo)
        .args(["run", "-q", "-p", "webhook-inbox", "--example", "sign"])
        .current_dir(root().join("sdk/rust"))
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .unwrap();
    assert!(sender.status.success(), "{}", String::from_utf8_lossy(&sender.stderr));
    let lines = String::from_utf8(sender.stdout).unwrap();
    insta::assert_snapshot!("webhook-inbox", outcomes(&sign("examples/webhook-inbox"), &lines));
}

#[test]
fn webhook_inbox_refuses_what_was_signed_long_ago() {
    insta::assert_snapshot!("webhook-inbox-late", demonstration("examples/webhook-inbox", "orders.jsonl"));
}

#[test]
fn shopping_cart_runs_its_demonstration() {
    if has_node() {
        let shopping = demonstration("examples/shopping-cart", "shopping.jsonl");
        insta::assert_snapshot!("shopping-cart", shopping);
        let mistakes = demonstration("examples/shopping-cart", "mistakes.jsonl");
        insta::assert_snapshot!("shopping-cart-mistakes", mistakes);
    }
}

#[test]
fn any_byte_changed_is_refused() {
    let signed = sign("examples/stock-alert");
    let good = fs::read(&signed.package).unwrap();
    let trust = Trust::parse(&fs::read(&signed.publisher).unwrap()).unwrap();
    assert!(verify(good.clone(), &trust).is_ok());
    let mut bytes = good.clone();
    // Every byte of both ends, where all that is not content lies, and every seventh between; the package crate's
    // own tests flip every bit of a small package.
    let ends = |at: &usize| *at < 4096 || *at + 8192 > good.len();
    for at in (0..good.len()).filter(|at| ends(at) || at % 7 == 0) {
        bytes[at] ^= 1 << (at % 8);
        assert!(verify(bytes.clone(), &trust).is_err(), "byte {at}");
        bytes[at] = good[at];
    }
    // The binary says the same; a process for each byte would take too long.
    for at in (0..good.len()).step_by(good.len() / 40) {
        bytes[at] ^= 0x80;
        fs::write(&signed.package, &bytes).unwrap();
        assert_eq!(signed.verify(), 3, "byte {at}");
        bytes[at] = good[at];
    }
    fs::write(&signed.package, &good).unwrap();
    assert_eq!(signed.verify(), 0);
}

#[test]
fn a_stranger_s_signature_is_refused() {
    let (ours, theirs) = (sign("examples/stock-alert"), sign("examples/stock-alert"));
    let stranger = Signed { publisher: theirs.publisher.clone(), ..ours };
    assert_eq!(stranger.verify(), 3);
}

#[test]
fn a_permission_denied_then_granted() {
    if !has_node() {
        return;
    }
    let cart = sign("examples/shopping-cart");
    let lines = concat!(
        r#"{"jsonrpc":"2.0","id":1,"method":"cart.add","params":{"sku":"sencha-100","quantity":1}}"#,
        "\n",
        r#"{"jsonrpc":"2.0","id":2,"method":"cart.checkout","params":{}}"#,
        "\n",
    );
    let denied = cart.run(lines, &["--allow", "storage,events", "--deny", "cart.write"]);
    assert_eq!(denied[1]["error"]["data"]["permission"], "cart.write", "{denied:?}");
    let granted = cart.run(lines, &["--allow", "all"]);
    assert!(granted[1].get("result").is_some(), "{granted:?}");
}

#[test]
fn the_embedding_example_runs() {
    let signed = sign("examples/stock-alert");
    let output = std::process::Command::new(binary("embed").unwrap())
        .args([&signed.package, &signed.publisher])
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("event stock.alert"), "{stdout}");
    assert!(stdout.contains("[com.example.stockalert]"), "the bridge was called: {stdout}");
    assert!(stdout.contains("killed: the demonstration is over"), "{stdout}");
}
