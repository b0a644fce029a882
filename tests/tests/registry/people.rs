//! The registry, somebody at a terminal, and what they publish.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use mpkg_package::container;
use mpkg_tests::workspace::{built, mpkg, run_mpkg};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const APP: &str = "com.example.stockalert";

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `mpkg registry serve`, stopped when the test ends, however it ends.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    pub(crate) first_token: Option<String>,
    log: PathBuf,
}

impl Server {
    /// Starts one, and waits until it says where it listens. It logs all that it can.
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::start_at(folder, "127.0.0.1:0", arguments)
    }

    pub(crate) fn start_at(folder: &Path, listen: &str, arguments: &[&str]) -> Self {
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

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Asks it to stop as a service manager does, and gives its exit status.
    pub(crate) fn stop(&mut self) -> Option<i32> {
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
pub(crate) struct Person {
    home: TempDir,
}

impl Person {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = mpkg(arguments).unwrap();
        command.env("HOME", self.home.path()).env("XDG_CONFIG_HOME", self.home.path().join("config"));
        command.current_dir(self.home.path());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str], exit: i32) -> Output {
        let output = self.command(arguments).output().unwrap();
        let all = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        let said = String::from_utf8_lossy(&all);
        assert_eq!(output.status.code(), Some(exit), "mpkg {}\n{said}", arguments.join(" "));
        output
    }

    /// What a person sees.
    pub(crate) fn human(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.run(arguments, 0).stdout).unwrap()
    }

    /// What a program gets, at this exit status.
    pub(crate) fn json(&self, arguments: &[&str], exit: i32) -> Value {
        let output = self.run(&[arguments, &["--format", "json"]].concat(), exit);
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn ok(&self, arguments: &[&str]) -> Value {
        self.json(arguments, 0)
    }

    /// The code that something is refused with.
    pub(crate) fn refused(&self, arguments: &[&str], exit: i32) -> String {
        let error = self.json(arguments, exit);
        assert!(error["error"]["hint"].is_string(), "{error:#}");
        error["error"]["code"].as_str().unwrap().to_owned()
    }

    /// Logs in with a token from standard input.
    pub(crate) fn log_in(&self, address: &str, token: &str) -> Value {
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
pub(crate) fn releases(folder: &Path) -> [PathBuf; 2] {
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
