//! What the tests share: a folder of their own, packages made without a compiler, and snapshots of whole runs.

#![allow(dead_code, reason = "each test file uses a part of it")]

mod guest;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

pub(crate) use guest::{MANIFEST, component};

const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\"/>\n";

/// A package of these parts.
pub(crate) fn pack(manifest: &str, component: &[u8]) -> Vec<u8> {
    let entries: [(&str, &[u8]); 3] = [
        ("manifest.json", manifest.as_bytes()),
        ("app.wasm", component),
        ("assets/icon.svg", ICON.as_bytes()),
    ];
    mpkg_package::container::write(&entries).unwrap()
}

/// A folder to work in, gone afterwards.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// `mpkg` in this folder, with none of the developer's own settings.
    pub(crate) fn mpkg(&self) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("mpkg"));
        command.current_dir(self.dir.path()).stdin(std::process::Stdio::null());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("MPKG_") || text.starts_with("CLICOLOR") || text == "RUST_BACKTRACE" {
                command.env_remove(&name);
            }
        }
        command.env("NO_COLOR", "1").env("COLUMNS", "100");
        command
    }

    /// Runs and expects success.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.mpkg().args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}\n{}", transcript(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs and gives the exit status.
    pub(crate) fn status(&self, args: &[&str]) -> i32 {
        self.mpkg().args(args).output().unwrap().status.code().unwrap()
    }

    /// Runs in both formats; what a person and a program get to see.
    pub(crate) fn both(&self, args: &[&str]) -> String {
        let human = self.mpkg().args(args).output().unwrap();
        let json = self.mpkg().args(args).args(["--format", "json"]).output().unwrap();
        assert_eq!(human.status.code(), json.status.code(), "the format must not change the exit status");
        assert!(json.stderr.is_empty(), "{}", transcript(&json));
        let value: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        if !json.status.success() {
            assert!(value["error"]["code"].is_string() && value["error"]["message"].is_string(), "{value:#}");
            assert!(human.stdout.is_empty(), "{}", transcript(&human));
        }
        let args = args.join(" ");
        format!("$ mpkg {args}\n{}\n$ mpkg {args} --format json\n{}", transcript(&human), transcript(&json))
    }

    /// A package, `app.mpkg`, that asks for `permission` instead of `cart.write`.
    pub(crate) fn with_permission(permission: &str) -> Self {
        let place = Self::new();
        let manifest = MANIFEST.replace("cart.write", permission);
        place.write("app.mpkg", pack(&manifest, &guest::component_for(&permission.replace('.', "-"))));
        place
    }

    /// A package, `app.mpkg`, and the key `key.pem` with its public parts.
    pub(crate) fn with_package() -> Self {
        let place = Self::new();
        place.write("app.mpkg", pack(MANIFEST, &component()));
        place.ok(&["keys", "generate", "--out", "key.pem"]);
        place
    }
}

/// Status and both streams of a run.
pub(crate) fn transcript(output: &Output) -> String {
    let mut text =
        format!("status {}\n", output.status.code().map_or("none".to_owned(), |code| code.to_string()));
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        if !bytes.is_empty() {
            text.push_str(&format!("--- {name}\n{}", String::from_utf8_lossy(bytes)));
        }
    }
    text
}

/// Snapshot settings that hide what differs from run to run.
pub(crate) fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"[0-9a-f]{64}", "[HEX]");
    settings.add_filter(r"mp1[a-z2-7]{52}", "[PUBLISHER]");
    // Where a file was cut off depends on its length, which is that of signatures and tools.
    settings.add_filter(r"byte \d{3,}", "byte [N]");
    settings.add_filter(r#""offset": \d{3,}"#, r#""offset": [N]"#);
    settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "[TIME]");
    settings.add_filter(r"-----BEGIN PUBLIC KEY-----[\s\S]*?-----END PUBLIC KEY-----(\\n)?", "[PUBLIC KEY]");
    settings
}
