//! Runs Node, with the driver that mpkg carries.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ops::build::BuildError;

const DRIVER: &str = include_str!("../../../../../sdk/js/toolchain/componentize.mjs");
/// The oldest major version that the driver and the bundler run on.
const OLDEST: u32 = 20;
const HINT: &str = "Install Node 20 or newer (https://nodejs.org) and see that `node` is on the PATH.";

/// A Node that is new enough.
#[derive(Debug)]
pub(super) struct Node;

/// Node with the driver script and the folder of the toolchain.
#[derive(Debug)]
pub(super) struct Driver {
    script: PathBuf,
    toolchain: PathBuf,
}

/// What every step is told.
#[derive(Serialize)]
struct Job<'a, T> {
    toolchain: &'a Path,
    #[serde(flatten)]
    step: &'a T,
}

impl Node {
    /// The `node` on the path.
    pub(super) fn find() -> Result<Self, BuildError> {
        let missing = |_| BuildError::ToolMissing { tool: "node", hint: HINT.into() };
        let output = Command::new("node").arg("--version").output().map_err(missing)?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let major =
            version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_some_and(|major| major >= OLDEST) {
            return Ok(Self);
        }
        Err(BuildError::ToolFailed {
            tool: "node --version".into(),
            status: format!("Node {OLDEST} or newer is needed, this is {version}"),
            output: HINT.into(),
        })
    }

    /// Writes the driver script into `work`, for the toolchain in `toolchain`.
    pub(super) fn with_driver(self, work: &Path, toolchain: &Path) -> Result<Driver, BuildError> {
        let script = work.join("componentize.mjs");
        std::fs::write(&script, DRIVER).map_err(BuildError::io("write", &script))?;
        let toolchain = toolchain.canonicalize().map_err(BuildError::io("open", toolchain))?;
        Ok(Driver { script, toolchain })
    }
}

impl Driver {
    /// Runs one step of the driver.
    pub(super) fn step<R: DeserializeOwned>(
        &self,
        step: &str,
        job: &impl Serialize,
    ) -> Result<R, BuildError> {
        let failed = |status: String, output: String| BuildError::ToolFailed {
            tool: format!("the {step} step"),
            status,
            output,
        };
        let job = serde_json::to_vec(&Job { toolchain: &self.toolchain, step: job })
            .map_err(|error| failed("its job cannot be written".into(), error.to_string()))?;
        let mut command = Command::new("node");
        // A user's options for Node may load code of their own into every process.
        command.arg(&self.script).arg(step).env_remove("NODE_OPTIONS").env_remove("NODE_PATH");
        let output =
            feed(command, &job).map_err(|error| failed("node cannot be run".into(), error.to_string()))?;
        let stderr = || String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            return Err(failed(output.status.to_string(), stderr()));
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| failed(format!("its answer is broken: {error}"), stderr()))
    }
}

fn feed(mut command: Command, input: &[u8]) -> std::io::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A child that dies early says why on its stderr; the broken pipe says less.
        let _ = stdin.write_all(input);
    }
    child.wait_with_output()
}
