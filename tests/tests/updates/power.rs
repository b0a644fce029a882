//! The power goes out at each step of an update. Whatever was half done, the app runs, in a release that was verified.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use miniapp_runtime::updates::{Agent, Settings};
use miniapp_runtime::{Host, StaticPermissions};
use mpkg_package::{Root, Time, Trust, container, sign};
use mpkg_registry_client::Client;
use serde_json::{Value, json};

use crate::common::{APP, TestRegistry, key, start};
use crate::device::app;
use crate::puppet;

const FOLDER: &str = "MPKG_TEST_POWER_FOLDER";
const REGISTRY: &str = "MPKG_TEST_POWER_REGISTRY";
const TOKEN: &str = "MPKG_TEST_POWER_TOKEN";
const ID: &str = "MPKG_TEST_POWER_ID";
const STEP: &str = "MPKG_TEST_POWER_STEP";

/// A package of a guest that answers.
fn package(code: u64) -> Vec<u8> {
    let manifest = json!({
        "app_id": APP,
        "name": "Puppet",
        "icons": [{ "src": "icon.svg" }],
        "pages": ["pages/main"],
        "platform_version": { "min_code": 1 },
        "version": { "code": code, "name": format!("1.0.{code}") },
        "mpkg": { "component": "app.wasm", "abi": 1, "storage": { "schema": code } },
    });
    let component = wat::parse_str(puppet::component(&[])).unwrap();
    let (manifest, filler) = (manifest.to_string(), vec![code as u8; 200 << 10]);
    let files: [(&str, &[u8]); 4] = [
        ("manifest.json", manifest.as_bytes()),
        ("app.wasm", &component),
        ("filler", &filler),
        ("icon.svg", b"<svg/>"),
    ];
    let unsigned = container::write(&files).unwrap();
    let (key, created) = (key(1), Time::from_unix(1_767_225_600).unwrap());
    sign(&unsigned, &key, &Root::single(&key.public()), created).unwrap().embed(&unsigned).unwrap()
}

/// Where a host logs: at the step that it is to be cut off at it says so, and goes no further.
#[derive(Clone)]
struct Cut(Option<String>);

impl Write for Cut {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        if self.0.as_ref().is_some_and(|step| text.contains(step.as_str())) {
            println!("\nat the step");
            std::io::stdout().flush().unwrap();
            loop {
                std::thread::park();
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The child: a host that follows the registry and launches the app again and again, until it is killed. By itself it
/// does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let given = |name: &str| std::env::var(name).unwrap();
    let cut = Cut(std::env::var(STEP).ok().map(|step| format!("step=\"{step}\"")));
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_writer(move || cut.clone())
        .init();
    let folder = Path::new(&folder);
    let builder = Host::builder(folder).supervised(true);
    let host = builder.permissions(StaticPermissions::allow_all()).build().unwrap();
    let client = Client::new(&given(REGISTRY), Some(&given(TOKEN))).unwrap();
    let context = crate::device::context("unit");
    let settings = Settings {
        spread: Duration::ZERO,
        look_every: Duration::from_millis(50),
        ..Settings::new(Trust::publisher(given(ID).parse().unwrap()), context, folder.join("updates"))
    };
    let agent = Agent::start(settings.registry(client), host.clone()).await.unwrap();
    agent.want(app()).await.unwrap();
    loop {
        match host.launch(APP, "ann").await {
            Ok(instance) => {
                let answer: Value = instance.call("echo", &json!([1])).await.unwrap();
                assert_eq!(answer, json!([1]));
                println!("\nruns {}", instance.version());
                instance.kill("once more");
                instance.stopped().await;
            }
            Err(error) => println!("\nfails {}", error.code()),
        }
        std::io::stdout().flush().unwrap();
    }
}

struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(folder: &Path, registry: &TestRegistry, token: &str, step: Option<&str>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "power::child", "--nocapture", "--test-threads", "1"]);
        command.env(FOLDER, folder).env(REGISTRY, &registry.base).env(TOKEN, token);
        command.env(ID, registry.registry.id().to_string()).env_remove(STEP);
        if let Some(step) = step {
            command.env(STEP, step);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line that tells something, for as long as the child lives.
    fn line(&mut self) -> String {
        loop {
            match self.lines.next() {
                Some(line) => {
                    let line = line.unwrap();
                    if ["runs ", "fails ", "at the step"].iter().any(|told| line.starts_with(told)) {
                        return line;
                    }
                }
                None => {
                    let mut said = String::new();
                    self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                    panic!("the child ended: {said}");
                }
            }
        }
    }

    fn until(&mut self, wanted: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let line = self.line();
            if line == wanted {
                return before;
            }
            before.push(line);
        }
    }
}

impl Drop for Running {
    /// Without a word to it, as the power goes.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_at_any_step_leaves_an_app_that_runs() {
    let registry = start().await;
    registry.claim().await;
    registry.upload(&registry.admin, APP, package(1)).await.ok();
    registry.everywhere(1).await;
    let token = registry.host("unit").await;
    let work = tempfile::tempdir().unwrap();
    let before = work.path().join("before");
    fs::create_dir(&before).unwrap();
    tokio::task::block_in_place(|| Running::start(&before, &registry, &token, None).until("runs 1.0.1"));
    registry.upload(&registry.admin, APP, package(2)).await.ok();
    registry.everywhere(2).await;

    for step in STEPS {
        let folder = work.path().join(step);
        copy(&before, &folder);
        tokio::task::block_in_place(|| {
            let mut cut = Running::start(&folder, &registry, &token, Some(step));
            let lines = cut.until("at the step");
            assert!(lines.iter().all(|line| line.starts_with("runs ")), "{step}: {lines:?}");
            drop(cut);
            let mut again = Running::start(&folder, &registry, &token, None);
            let lines = again.until("runs 1.0.2");
            assert!(lines.iter().all(|line| line == "runs 1.0.1"), "{step}: {lines:?}");
        });
    }
}

/// What an update logs, in its order.
const STEPS: [&str; 11] = [
    "fetch",
    "verify",
    "written",
    "recorded",
    "installed",
    "prepare",
    "prepared",
    "switch",
    "turned",
    "begun",
    "beacon",
];
