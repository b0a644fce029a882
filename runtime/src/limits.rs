//! The limits an app runs under, and what is said when it meets one.

use std::time::Duration;

use mpkg_manifest::Manifest;
use serde::Serialize;

use crate::error::LaunchError;
use crate::policy::Policy;

/// What one instance may use. A [`Policy`] has two of these: what an app gets that asks for nothing, and the most that
/// a manifest may ask for under `mpkg.limits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Memories, tables and the host's copies of messages together, in bytes.
    pub memory_bytes: u64,
    /// Guest CPU time of a single call; waiting in host calls is not charged.
    pub cpu_per_call: Duration,
    /// CPU time in each second, of the guest and of what the host computes for it meanwhile. An app that uses more is made
    /// to wait, not ended; it can save up four seconds' worth.
    pub cpu_per_second: Duration,
    /// Time of a single call in all.
    pub wall_per_call: Duration,
    /// Longest message in either direction, in bytes; a longer one is refused, one many times as long ends the
    /// instance.
    pub message_bytes: usize,
    /// Calls that may wait for the instance at a time; and as many of its page that wait for the host.
    pub calls_in_flight: u32,
    /// How deep in calls that wait for each other a call into the app may be: an app calls a bridge, which calls an app.
    /// 1 is a call that is in none. One that the app itself would have to wait for is refused in any case.
    ///
    /// How deeply an app's own functions call each other is bounded by [`Policy::stack_bytes`].
    pub call_depth: u32,
    /// Log lines per second; more are dropped and counted.
    pub log_lines_per_second: u32,
}

impl Limits {
    /// What suits a phone.
    pub const PHONE: Self = Self {
        memory_bytes: 64 << 20,
        cpu_per_call: Duration::from_secs(5),
        cpu_per_second: Duration::from_millis(500),
        wall_per_call: Duration::from_secs(30),
        message_bytes: 1 << 20,
        calls_in_flight: 64,
        call_depth: 8,
        log_lines_per_second: 100,
    };

    /// The limits of an app: its manifest's wishes within `policy`.
    pub(crate) fn of(manifest: &Manifest, policy: &Policy) -> Result<Self, LaunchError> {
        let (asked, defaults, most) = (&manifest.mpkg.limits, &policy.limits, &policy.ceilings);
        let app_id = manifest.app_id.as_str();
        let within = |what: &'static str, asked: Option<u64>, default: u64, allowed: u64| match asked {
            Some(asked) if asked > allowed => {
                Err(LaunchError::OverPolicy { app_id: app_id.to_owned(), what: what.into(), asked, allowed })
            }
            Some(asked) => Ok(asked),
            None => Ok(default.min(allowed)),
        };
        let time = |what, asked: Option<u32>, default: Duration, allowed: Duration| {
            let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            within(what, asked.map(u64::from), millis(default), millis(allowed)).map(Duration::from_millis)
        };
        let count = |what, asked: Option<u32>, default: u32, allowed: u32| {
            let within = within(what, asked.map(u64::from), default.into(), allowed.into())?;
            Ok::<_, LaunchError>(u32::try_from(within).unwrap_or(u32::MAX))
        };
        let (message, message_most) = (defaults.message_bytes as u64, most.message_bytes as u64);
        let message = within("message length", asked.message_bytes.map(u64::from), message, message_most)?;
        let storage = manifest.mpkg.storage.quota_bytes;
        within("storage", Some(storage), storage, policy.storage_ceiling)?;
        let files = manifest.mpkg.files.quota_bytes;
        within("files", Some(files), files, policy.files_ceiling)?;
        Ok(Self {
            memory_bytes: within("memory", asked.memory_bytes, defaults.memory_bytes, most.memory_bytes)?,
            cpu_per_call: time(
                "CPU time per call",
                asked.cpu_ms_per_call,
                defaults.cpu_per_call,
                most.cpu_per_call,
            )?,
            cpu_per_second: time(
                "CPU time per second",
                asked.cpu_ms_per_second,
                defaults.cpu_per_second,
                most.cpu_per_second,
            )?,
            wall_per_call: time(
                "time per call",
                asked.wall_ms_per_call,
                defaults.wall_per_call,
                most.wall_per_call,
            )?,
            message_bytes: usize::try_from(message).unwrap_or(usize::MAX),
            calls_in_flight: count(
                "calls in flight",
                asked.calls_in_flight,
                defaults.calls_in_flight,
                most.calls_in_flight,
            )?,
            call_depth: count("call depth", asked.call_depth, defaults.call_depth, most.call_depth)?,
            log_lines_per_second: count(
                "log lines per second",
                asked.log_lines_per_second,
                defaults.log_lines_per_second,
                most.log_lines_per_second,
            )?,
        })
    }
}

/// A limit that was met, as metrics and [`RpcError`](crate::rpc::RpcError)s name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::memory_bytes`].
    Memory,
    /// [`Policy::memory_bytes`], the host's total.
    HostMemory,
    /// [`Limits::cpu_per_call`].
    CpuPerCall,
    /// [`Limits::cpu_per_second`].
    CpuPerSecond,
    /// [`Limits::wall_per_call`].
    Wall,
    /// [`Policy::stack_bytes`].
    Stack,
    /// [`Limits::message_bytes`].
    Message,
    /// [`Limits::calls_in_flight`].
    CallsInFlight,
    /// [`Limits::call_depth`].
    CallDepth,
    /// [`Limits::log_lines_per_second`].
    LogLines,
    /// A method's rate.
    Rate,
}

impl Limit {
    /// All there are.
    pub const ALL: [Self; 11] = [
        Self::Memory,
        Self::HostMemory,
        Self::CpuPerCall,
        Self::CpuPerSecond,
        Self::Wall,
        Self::Stack,
        Self::Message,
        Self::CallsInFlight,
        Self::CallDepth,
        Self::LogLines,
        Self::Rate,
    ];

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::HostMemory => "host_memory",
            Self::CpuPerCall => "cpu_per_call",
            Self::CpuPerSecond => "cpu_per_second",
            Self::Wall => "wall",
            Self::Stack => "stack",
            Self::Message => "message",
            Self::CallsInFlight => "calls_in_flight",
            Self::CallDepth => "call_depth",
            Self::LogLines => "log_lines",
            Self::Rate => "rate",
        }
    }
}
